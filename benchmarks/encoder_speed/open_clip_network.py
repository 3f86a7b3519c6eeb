"""The papers' network as a user of open_clip has it: its own blocks, none of our replacements, a run's weights."""

from __future__ import annotations

from pathlib import Path

from benchmarks.open_clip_tower import open_clip_tower
from lnclip.artifact import Artifact
from lnclip.encoder import FaceEncoder, load_run


def load_open_clip(run: Path) -> tuple[Artifact, FaceEncoder]:
    """A run's weights in open_clip's own tower, under our head.

    Raises:
        ArtifactError: the run cannot be loaded.
        ConfigError: it has no CLIP tower.
    """
    artifact, encoder = load_run(run)
    tower = open_clip_tower(artifact.identity)
    tower.load_state_dict(encoder.visual.state_dict())
    encoder.visual = tower
    return artifact, encoder.eval()
