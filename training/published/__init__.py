"""Weights that others have published, as runs of ours."""
