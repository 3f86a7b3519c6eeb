"""`benchmarks accuracy`: whether the precisions of an export sort labelled crops as the weights do in torch."""
