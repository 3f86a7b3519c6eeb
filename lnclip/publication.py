"""What lies in a served repository: the encoder's version folders and the model.json in each."""

from __future__ import annotations

from pathlib import Path

from lnclip.artifact import Artifact
from lnclip.errors import ArtifactError
from lnclip.identity import ContentId


def versions(encoder: Path) -> list[int]:
    """Published versions of ``REPOSITORY/face_encoder``, ascending; only whole folders count."""
    return sorted(int(path.parent.name) for path in encoder.glob("*/model.json") if path.parent.name.isdecimal())


def find_artifact(encoder: Path, artifact_id: ContentId) -> Artifact:
    """The published artifact of that id, the newest version first.

    Args:
        encoder: ``REPOSITORY/face_encoder``.
        artifact_id: as the encoder answered it.

    Raises:
        ArtifactError: no version there has it.
    """
    for version in reversed(versions(encoder)):
        artifact = Artifact.load(encoder / str(version) / "model.json")
        if artifact.identity.artifact_id == artifact_id:
            return artifact
    raise ArtifactError(f"artifact {artifact_id.hex} answered, but no version below {encoder} has it: publish it again")
