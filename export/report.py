"""exports/NAME: its file names, and the content of parity.json, the proof that its graphs are equal.

Data only: what the figures are computed from is in ``parity`` and ``ranking``.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from lnclip.artifact import Precision

PARITY_FILE = "parity.json"
GOLDEN_FILE = "golden.npz"

FROZEN = ConfigDict(frozen=True, extra="forbid")


def onnx_file(precision: Precision) -> str:
    """Name of a graph in an export."""
    return f"face_encoder.{precision}.onnx"


def model_file(precision: Precision) -> str:
    """Name of its model.json."""
    return f"model.{precision}.json"


class Limits(BaseModel):
    """What one precision may differ by from the float32 reference."""

    model_config = FROZEN

    max_dp: float
    """Largest |p - p_reference|; 1 lets everything pass."""

    p99_dp: float
    """99th percentile of the same."""

    max_logit_difference: float | None
    """Of log(p / (1 - p)), where p is not saturated; None is not judged."""

    min_cosine: float
    """Between the embedding and the reference's."""

    batch_dp: float
    """Of p, the same crop alone and in a batch."""

    min_spearman: float | None = None
    """Rank correlation of p, judged where the AUROC cannot be; None is not judged."""

    auroc: float | None = None
    """Largest difference, on at least 1,000 labelled crops; None is not judged."""


LIMITS: dict[Precision, Limits] = {
    # Sums in another order. 1e-5 at p = 0.01 is 1e-3 of log-odds. Embeddings were seen to differ by
    # 1e-6 (cosine 1 - 1e-11); 1e-8 is an angle of 0.008 degrees, below what any change of a weight
    # does. Ranks are not judged: they may change only among scores that are equal for all purposes.
    "fp32": Limits(max_dp=1e-5, p99_dp=1e-5, max_logit_difference=1e-3, min_cosine=1 - 1e-8, batch_dp=1e-5),
    # Factors rounded to 8 bits. 2e-2 at p = 0.1 is 0.22 of log-odds; 0.999 is an angle of 2.6 degrees.
    # Seen with random ViT-B/32 under torch's bf16 autocast: 0.002, 0.02 and 0.99994.
    "bf16": Limits(
        max_dp=2e-2,
        p99_dp=2e-2,
        max_logit_difference=0.25,
        min_cosine=0.999,
        batch_dp=2e-3,
        min_spearman=0.99,
        auroc=0.002,
    ),
    # Factors rounded to 11 bits. 1e-2 at p = 0.1 is 0.11 of log-odds. Seen with every tensor rounded,
    # two random blocks: 5e-4, 3e-3 and 1 - 1e-6.
    "fp16": Limits(
        max_dp=1e-2,
        p99_dp=5e-3,
        max_logit_difference=0.12,
        min_cosine=0.9999,
        batch_dp=2e-3,
        min_spearman=0.999,
        auroc=0.001,
    ),
    # Ranks and AUROC alone decide: the graph that is quantised passes FP32's limits first. Seen with
    # a random ViT-B/32: |dp| up to 0.06, mean 0.009, rank correlation 0.9987, cosine 0.96.
    "int8": Limits(
        max_dp=1.0,
        p99_dp=1.0,
        max_logit_difference=None,
        min_cosine=0.85,
        batch_dp=2e-2,
        min_spearman=0.99,
        auroc=0.005,
    ),
}


class Ranking(BaseModel):
    """How alike two sets of scores sort the same crops."""

    model_config = FROZEN

    spearman: float
    labelled: int
    auroc_reference: float | None
    auroc: float | None
    """None without labels of both classes."""

    auroc_difference_interval: tuple[float, float] | None
    """95 % interval of the difference (paired bootstrap); None when provisional."""

    provisional: bool
    """Too few labelled crops for the AUROC to be judged; the rank correlation is, instead."""


class Comparison(BaseModel):
    """One engine against the reference."""

    model_config = FROZEN

    engine: str
    arithmetic: str
    """What it computed in, here: no processor computes FP16 as a GPU does."""

    precision: Precision
    artifact_id: str
    max_dp: float
    p99_dp: float
    mean_dp: float
    max_logit_difference: float | None
    """None when every reference p is saturated."""

    min_cosine: float
    batch_dp: float
    """Of p, the same crop alone and in batches of several sizes."""

    worst_crop: str
    """Where |dp| is largest."""

    ranking: Ranking
    limits: Limits


class CropsReport(BaseModel):
    """What the engines were compared on."""

    model_config = FROZEN

    source: str
    """"demo", or the index's path and how many of its crops."""

    count: int
    std_p: float
    """How far the reference's p_fake spreads over them."""


class TensorRange(BaseModel):
    """The largest magnitude that a tensor took."""

    model_config = FROZEN

    max_abs: float
    crop: str
    """For which crop."""


class HalfReport(BaseModel):
    """What of the FP16 graph is FP16, and that it can be."""

    model_config = FROZEN

    largest_allowed: float
    islands: list[str]
    """Nodes that are FP32 because FP16 could not hold their numbers, beside those that always are."""

    ranges: dict[str, TensorRange]
    """Of every tensor typed FP16, measured in the FP32 graph."""


class Int8Report(BaseModel):
    """How the INT8 graph was calibrated."""

    model_config = FROZEN

    source: str
    num_crops: int
    quantised_products: int
    """Matrix products between Q/DQ."""

    products: int


class ParityReport(BaseModel):
    """The content of parity.json."""

    model_config = FROZEN

    reference: str
    crops: CropsReport
    comparisons: list[Comparison]
    fp16: HalfReport | None = None
    int8: Int8Report | None = None
    sha256: dict[str, str]
    """Of the graphs that were compared, by file name."""

    versions: dict[str, str]
    processor: str
