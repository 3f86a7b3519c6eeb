"""A server under load, measured as perf_analyzer measures."""
