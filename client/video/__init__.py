"""Scoring videos: which frames, who is in them, and one number from many."""
