"""How fast the encoder alone is: every engine and precision here, beside what the machine can multiply at all."""
