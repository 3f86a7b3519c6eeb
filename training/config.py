"""What a training run is told: a frozen value, read from a TOML file.

Paths are relative to the folder that the command runs in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lnclip.architecture import KNOWN, Activation
from lnclip.spec import PreprocessSpec

Tune = Literal["head", "layernorm", "lora", "bitfit", "full"]
FROZEN = ConfigDict(frozen=True, extra="forbid")


class Augmentation(BaseModel):
    """How a crop is varied each time it is seen, at its own size; in this order. Zeros switch a step off.

    The defaults are the second paper's. Source: arXiv 2508.06248's code.
    """

    model_config = FROZEN

    flip: float = Field(0.5, ge=0, le=1)
    """Probability of mirroring left and right."""

    rotate_deg: float = Field(10, ge=0, le=180)
    """Rotation is uniform in plus or minus this."""

    shift: float = Field(0.1, ge=0, le=1)
    """Translation per axis, fraction of the side, uniform in plus or minus this."""

    zoom: float = Field(0.1, ge=0, lt=1)
    """Scale is uniform in 1 minus to 1 plus this."""

    interpolation: Literal["nearest", "bilinear"] = "nearest"
    """Of that affine warp; outside is black."""

    blur: float = Field(0.1, ge=0, le=1)
    """Probability of a Gaussian blur."""

    blur_kernel: tuple[int, int] = (7, 7)
    """Its width and height in pixels, odd."""

    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Its standard deviation in pixels, uniform between these."""

    brightness: float = Field(0.1, ge=0, lt=1)
    """All values are multiplied by 1 minus to 1 plus this."""

    contrast: float = Field(0.1, ge=0, lt=1)
    """Distances from the mean grey are multiplied likewise."""

    jpeg: float = Field(1.0, ge=0, le=1)
    """Probability of compressing and decoding again."""

    jpeg_quality: tuple[int, int] = (40, 100)
    """Uniform between these, both included."""


class Lora(BaseModel):
    """Low-rank updates of the attention's matrices, for ``tune = "lora"``; merged when training is done."""

    model_config = FROZEN

    rank: int = Field(1, ge=1)
    alpha: float = Field(32, gt=0)
    """Updates are multiplied by alpha / rank."""

    dropout: float = Field(0.05, ge=0, lt=1)


class Slerp(BaseModel):
    """Mixing of features of one class on the unit sphere. Source: arXiv 2503.19683."""

    model_config = FROZEN

    mode: Literal["off", "replace", "expand"] = "off"
    """replace: mixtures stand in for the batch's features. expand: they are added up to ``size``."""

    size: int = Field(1024, ge=1)
    """Features in an expanded batch. Source: the first version of arXiv 2508.06248."""

    share: tuple[float, float] = (0.0, 1.0)
    """The way from one feature to the other is uniform between these."""


class TrainConfig(BaseModel):
    """One training run. A key this class does not know is an error, not a default."""

    model_config = FROZEN

    train_index: tuple[Path, ...]
    """Aligned face crops: CSV indices, or the reference's path lists (.txt) and folder trees; one or several."""

    val_index: tuple[Path, ...] = ()
    """Likewise: the crops that choose the best epoch, by video mAP."""

    labels: Path | None = None
    """TOML of ``source = "real"`` or ``"fake"``, for lists and trees: what it does not name is judged by name."""

    val_limit: int | None = Field(None, ge=1)
    """So many validation crops at most: whole videos in a fixed random order, then cut."""

    max_unreadable: float = Field(0.01, ge=0, le=1)
    """Share of crops that may be damaged: they are listed and left out. More stops the run."""

    init: str = "random"
    """Weights to start from: "random", or a run's folder (import makes one of published weights)."""

    encoder: str = "demo-4x192-p32"
    """Name of a known architecture; with ``init`` it must be the run's."""

    activation: Activation
    """By default that of the encoder's published weights."""

    head: Literal["linear", "normalised"] = "normalised"
    spec: PreprocessSpec
    """Keys that are not given are those of the encoder's published weights."""

    tune: Tune = "layernorm"
    """Which encoder parameters learn; the head always does."""

    lora: Lora = Lora()
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(128, ge=1)
    """Crops per batch over all devices; the last, incomplete batch of an epoch is left out."""

    accumulate_batches: int = Field(1, ge=1)
    """Batches per optimiser step."""

    pairs_together: bool = False
    """Crops of one pair (of clips: of one frame of it) go into one batch, as in arXiv 2204.08376: what they
    share cancels out of the gradient. A batch's end may cut one group of more than two."""

    label_smoothing: float = Field(0, ge=0, lt=1)
    alignment_weight: float = Field(0, ge=0)
    uniformity_weight: float = Field(0, ge=0)
    slerp: Slerp = Slerp()
    learning_rate: float = Field(3e-4, gt=0)
    """Peak, after the warm-up."""

    final_learning_rate: float = Field(1e-5, ge=0)
    """Where a cosine ends and the warm-up begins."""

    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: float = Field(1, ge=0)
    restart_epochs: float | None = Field(None, gt=0)
    """Length of a cosine, after which it starts again at the peak; None is one cosine to the end."""

    weight_decay: float = Field(0, ge=0)
    """On matrices only, never on norms and biases. 0 lets the normalised head's rows grow."""

    augmentation: Augmentation = Augmentation()
    seed: int = Field(0, ge=0)
    """Initial weights, order and augmentation follow from it."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 computes under autocast; weights stay fp32."""

    compile: bool = False
    """Compile the encoder: slower to start, faster on a GPU; needs a C++ compiler."""

    devices: int = Field(1, ge=1)
    """GPUs (or CPU processes) of each machine."""

    nodes: int = Field(1, ge=1)
    """Machines, started by torchrun or SLURM."""

    save_every_steps: int = Field(200, ge=1)
    """How much work a killed run can lose: --resume goes on from the last such step."""

    in_memory: bool = False
    """Keep all crops decoded: for small sets."""

    num_workers: int = Field(0, ge=0)
    """Processes per device that read crops; 0 reads in the main one."""

    shuffle_labels: bool = False
    """Control experiment: labels that say nothing, so that a fair test must give AUROC 0.5. Half of
    each class, drawn at random, gets the other label: unlike a plain permutation this leaves no
    chance correlation with the truth for a network to find."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, settings: dict[str, object]) -> dict[str, object]:
        """One path is a list of one; activation and spec follow from the encoder where they are not given."""
        settings = dict(settings)
        for name in ("train_index", "val_index"):
            if isinstance(given := settings.get(name), str | Path):
                settings[name] = (given,)
        architecture = KNOWN.get(str(settings.get("encoder", "demo-4x192-p32")))
        if architecture is None:
            raise ValueError(f"encoder {settings.get('encoder')!r} is not known; there are {', '.join(KNOWN)}")
        settings.setdefault("activation", architecture.activation)
        if isinstance(spec := settings.get("spec", {}), dict):
            settings["spec"] = architecture.spec.model_dump() | spec
        return settings

    @model_validator(mode="after")
    def _agrees(self) -> TrainConfig:
        if KNOWN[self.encoder].family != "clip" and self.activation != KNOWN[self.encoder].activation:
            raise ValueError(f"activation of {self.encoder} is {KNOWN[self.encoder].activation}; leave it out")
        devices = self.devices * self.nodes
        if self.batch_size % devices:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of the {devices} devices")
        return self
