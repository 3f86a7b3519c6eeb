"""How good a run is: scores, metrics, robustness, calibration."""
