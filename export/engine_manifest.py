"""A plan's file names in an export, and its manifest: what it was built from, with what, for what."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lnclip.artifact import Precision
from lnclip.errors import ArtifactError

BuilderName = Literal["tensorrt", "tensorrt_rtx"]

FROZEN = ConfigDict(frozen=True, extra="forbid")


def plan_file(precision: Precision) -> str:
    """Name of a plan in an export."""
    return f"face_encoder.{precision}.plan"


def manifest_file(precision: Precision) -> str:
    """Name of its manifest."""
    return f"{plan_file(precision)}.json"


def log_file(precision: Precision) -> str:
    """Name of what the builder said."""
    return f"{plan_file(precision)}.log"


class BatchProfile(BaseModel):
    """Batch sizes that a plan takes, and the one that it is tuned for."""

    model_config = FROZEN

    min: int = Field(1, ge=1)
    opt: int = Field(ge=1)
    max: int = Field(ge=1)


class EngineManifest(BaseModel):
    """The content of a plan's .json: a plan works with this very builder's runtime and this kind of GPU alone."""

    model_config = FROZEN

    builder: BuilderName
    builder_version: str
    gpu: str | None
    """The GPU that it was built on, by its name; None: ahead of time, without one."""

    compute_capability: str
    """"9.0"."""

    profile: BatchProfile
    refittable: bool
    onnx_sha256: str
    plan_sha256: str
    refitted_from: str | None = None
    """SHA-256 of the plan whose weights were replaced; None: built from the graph."""

    golden_dp: float | None
    """Largest |p - p_reference| on the golden crops; None: no GPU was there to run it on."""

    @classmethod
    def load(cls, path: Path) -> EngineManifest:
        """Read one.

        Raises:
            ArtifactError: it is not there, or not what this class describes.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise ArtifactError(f"{path} is not a plan's manifest: {error}") from error

    def save(self, path: Path) -> None:
        """Write it, indented."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
