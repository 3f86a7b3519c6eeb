"""How a video is scored: which of its frames, and how one number is made of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lnclip.errors import ConfigError
from lnclip.sampling import FrameChoice, Sampling

Rule = Literal["track", "frames", "paper"]


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """Raises ``ConfigError`` where a value cannot be."""

    sampling: Sampling = "uniform"
    """uniform: ``frames`` frames, evenly over the video. stride: every ``stride``-th until ``frames``
    have a face. spread: the farthest from those taken first, until ``frames`` have a face."""

    frames: int = 32
    stride: int = 10

    rule: Rule = "track"
    """track: the largest of the tracks' means. frames: the mean of the frames' p_fake. paper: the
    mean over frames of the largest face's."""

    def __post_init__(self) -> None:
        """Refuse what no video can be scored with."""
        for name, value, known in (("sampling", self.sampling, Sampling), ("rule", self.rule, Rule)):
            if value not in get_args(known):
                raise ConfigError(f"video {name} is {value!r}; it must be one of {', '.join(get_args(known))}")
        for name, number in (("frames", self.frames), ("stride", self.stride)):
            if number < 1:
                raise ConfigError(f"video {name} is {number}; it must be 1 or more")

    @property
    def choice(self) -> FrameChoice:
        """The same, as training says it."""
        return FrameChoice(sampling=self.sampling, count=self.frames, stride=self.stride)
