"""From images to rows: scores files against a Triton server.

``Scorer`` (or ``AsyncScorer``) from Python, ``python -m client score`` from a shell; docs/CLIENT.md.
"""

from client.async_scorer import AsyncScorer
from client.calling import CallPolicy
from client.options import ScoreOptions
from client.readers import read_rows
from client.rows import Face, Row, RowError
from client.scorer import Scorer

__all__ = ["AsyncScorer", "CallPolicy", "Face", "Row", "RowError", "ScoreOptions", "Scorer", "read_rows"]
