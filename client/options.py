"""How to score: everything that the command's flags set, as one frozen value."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from client.calling import CallPolicy, Parameters
from client.video.options import VideoOptions
from lnclip.spec import PreprocessSpec

REPOSITORY = Path("build/repository")
"""Where ``python -m export publish`` puts what is served."""

Way = Literal["ensemble", "two_calls", "local"]


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """What is None is left to the server."""

    concurrency: int | Literal["auto"] = 16
    """Requests in flight."""

    policy: CallPolicy = field(default_factory=CallPolicy)
    parameters: Parameters = field(default_factory=dict)
    """Those of ``lnclip.scoring.RequestParameters`` that are to differ from the server's defaults."""

    way: Way = "ensemble"
    """ensemble: one request for an image. two_calls: faces are cut here and sent to the encoder in
    batches. local: no server at all, the engines run in this process."""

    repository: Path = REPOSITORY
    """With ``local``: the published models."""

    video: VideoOptions = field(default_factory=VideoOptions)
    max_side: int | None = None
    """Larger images and frames are shrunk to it before they are sent, pixels."""

    crops: bool = False
    """The files are faces that were cut before: no detector, straight to the encoder."""

    crop_batch: int = 8
    """Crops in one request; the encoder's own limit applies too."""

    spec: PreprocessSpec | None = None
    """What crops are brought to; None is the default spec at the encoder's input side."""

    reuse_answers: bool = True
    """An image whose content was scored before in this run gets the same answer without being sent."""

    def deciding(self) -> dict[str, JsonValue]:
        """What decides scores, as plain JSON: two runs that agree in it can be one."""
        return {
            "parameters": dict(sorted(self.parameters.items())),
            "crops": self.crops,
            "spec": json.loads(self.spec.model_dump_json()) if self.spec else None,
            "video": asdict(self.video),
            "max_side": self.max_side,
        }
