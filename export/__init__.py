"""From a run's weights to graphs that are proven equal, and from there into the served repository.

Reads runs/NAME/, writes exports/NAME/ and build/repository/. Nothing here trains or serves.
"""
