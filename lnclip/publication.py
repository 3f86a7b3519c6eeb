"""What lies in a served repository: the encoder's version folders and the model.json in each."""

from __future__ import annotations

from pathlib import Path

from lnclip.artifact import Artifact
from lnclip.errors import ArtifactError
from lnclip.identity import ContentId

WITHDRAWN = ".withdrawn"
"""Below face_encoder/: a version that the running server could not answer with. Requests may still be
on their way with its answers, so it stays there until the next publish."""


def versions(encoder: Path) -> list[int]:
    """Published versions of ``REPOSITORY/face_encoder``, ascending; only whole folders count."""
    return sorted(int(path.parent.name) for path in encoder.glob("*/model.json") if path.parent.name.isdecimal())


def next_version(encoder: Path) -> int:
    """The number of the next version: above every folder that Triton would take for one, whole or not."""
    return max((int(path.name) for path in encoder.glob("*") if path.name.isdecimal()), default=0) + 1


def find_artifact(encoder: Path, artifact_id: ContentId) -> Artifact:
    """The published artifact of that id, the newest version first.

    Args:
        encoder: ``REPOSITORY/face_encoder``.
        artifact_id: as the encoder answered it.

    Raises:
        ArtifactError: no version there has it.
    """
    for folder in (*map(str, reversed(versions(encoder))), WITHDRAWN):
        path = encoder / folder / "model.json"
        if not path.is_file():  # none was withdrawn, or an old version was removed a moment ago
            continue
        artifact = Artifact.load(path)
        if artifact.identity.artifact_id == artifact_id:
            return artifact
    raise ArtifactError(f"artifact {artifact_id.hex} answered, but no version below {encoder} has it: publish it again")
