"""From an index of labelled face crops to runs/NAME: weights, model.json, metrics. Imports lnclip only."""
