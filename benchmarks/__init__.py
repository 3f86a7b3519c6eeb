"""Figures people can trust, and the demo. May import every stage; no stage imports it."""
