"""model.json: which weights these are, how they came to be, and how they are run.

``identity`` is all that decides a score; its id travels with every answer. ``provenance`` is for
people. ``runtime`` is there once an artifact is published.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lnclip.architecture import Activation, EncoderArchitecture
from lnclip.errors import ArtifactError
from lnclip.identity import ContentId, content_id
from lnclip.spec import PreprocessSpec

Precision = Literal["fp32", "bf16", "fp16", "int8"]
"""What an engine computes in. bf16 has the FP32 graph and another runtime precision; fp16 and int8 are
graphs of their own types."""

Flavour = Literal["cpu", "gpu"]

FROZEN = ConfigDict(frozen=True, extra="forbid")


class Identity(BaseModel):
    """All that decides a score: equal identities give equal answers."""

    model_config = FROZEN

    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of weights.safetensors."""

    encoder: EncoderArchitecture
    activation: Activation
    head: Literal["linear", "normalised"] = "normalised"
    """Whether the head reads the raw feature or the L2-normalised one."""

    spec: PreprocessSpec
    class_order: tuple[str, str] = ("real", "fake")
    """Meaning of the head's rows."""

    temperature: float = Field(1.0, gt=0)
    """Logits are divided by it."""

    threshold: float = Field(0.5, ge=0, le=1)
    """A face with calibrated p_fake at or above it is called fake."""

    precision: Precision = "fp32"

    @field_validator("class_order")
    @classmethod
    def _both_classes(cls, order: tuple[str, str]) -> tuple[str, str]:
        if sorted(order) != ["fake", "real"]:
            raise ValueError(f"class_order must hold 'real' and 'fake', not {order}")
        return order

    @model_validator(mode="after")
    def _activation_of_the_family(self) -> Identity:
        if self.encoder.family != "clip" and self.activation != self.encoder.activation:
            raise ValueError(f"{self.encoder.name} has {self.encoder.activation}, not {self.activation}")
        return self

    @field_validator("temperature", "threshold")
    @classmethod
    def _finite(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError("must be finite")
        return value

    @property
    def artifact_id(self) -> ContentId:
        """Served with every answer: says which weights gave it."""
        return content_id(self)


class Provenance(BaseModel):
    """Where an artifact came from; changes nothing that is computed."""

    model_config = FROZEN

    name: str
    """The run's name, as people say it."""

    inputs: dict[str, str] = {}
    """SHA-256 of what went in, by role ("train_index", ...)."""

    versions: dict[str, str] = {}
    """Of the packages that computed it."""

    git_revision: str | None = None
    head_trained: bool = True
    """False for an encoder alone, to start training from: its head is random and its scores mean nothing."""

    threshold_source: str = "default 0.5, not calibrated"
    """How temperature and threshold were chosen."""


class Runtime(BaseModel):
    """How a published artifact is run."""

    model_config = FROZEN

    flavour: Flavour
    engine: str
    """E.g. "OpenVINO 2026.4.1"."""


class Artifact(BaseModel):
    """The content of a model.json."""

    model_config = FROZEN

    identity: Identity
    provenance: Provenance
    runtime: Runtime | None = None

    @classmethod
    def load(cls, path: Path) -> Artifact:
        """Read a model.json.

        Raises:
            ArtifactError: it is not there, or not what this class describes.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            issue = error.errors()[0]
            where = ".".join(map(str, issue["loc"]))
            raise ArtifactError(
                f"{path} is not a model.json of this version: {f'{where}: ' if where else ''}{issue['msg']}"
            ) from error

    def save(self, path: Path) -> None:
        """Write it, indented."""
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
