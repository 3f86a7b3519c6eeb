"""Temperature and threshold from held-out crops, written to a run's model.json.

The verdict is per face, so both are fitted per crop. Legend: N crops.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lnclip.artifact import Artifact, Provenance
from lnclip.encoder import load_run
from lnclip.errors import ConfigError
from lnclip.index import Item
from lnclip.metrics import Floats, expected_calibration_error
from lnclip.pooling import clip_numbers, is_fake
from training.assessment.scoring import calibrated, logit_margins, workers_for
from training.data.listing import read_items
from training.provenance import rows_sha256

log = logging.getLogger(__name__)

TEMPERATURES = (1e-3, 1e3)
"""Where an optimum is looked for; beyond lie scores without a mistake, or without information."""

HALVINGS = 100


def calibrate(run: Path, sources: Sequence[Path], fpr: float, *, labels: Path | None = None) -> dict[str, float]:
    """Fit temperature, then threshold; both go into ``run``/model.json, whose artifact id so changes.

    Args:
        run: folder of a run.
        sources: CSV indices, path lists or folder trees of crops that it was not trained on.
        fpr: share of real crops that may be called fake, between 0 and 1.
        labels: TOML of labels by source, for lists and trees.

    Returns:
        What was chosen, on how many crops, and negative log-likelihood and expected calibration
        error (over ``lnclip.metrics.ECE_BINS`` equal-width bins of p_fake) before and after.

    Raises:
        ConfigError: the crops are those of the training, too few are real to show such a rate, one
            class is missing, or no temperature or threshold exists.
        ArtifactError: the run is damaged.
    """
    if not 0 < fpr < 1:
        raise ConfigError(f"--fpr {fpr:g}: must be above 0 and below 1, for example 0.05")
    artifact, encoder = load_run(run)
    items = read_items(sources, "crop", labels)
    for source in sources:
        _refuse_training_crops(artifact.provenance, source, read_items([source], "crop", labels))
    truth = is_fake(items)
    _check_counts(truth, fpr)

    encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    margins = logit_margins(encoder, artifact.identity, items, workers_for(len(items)))
    temperature = fit_temperature(truth, margins)
    before, after = (calibrated(margins, value) for value in (artifact.identity.temperature, temperature))
    threshold = choose_threshold(after[truth == 0], fpr)
    answer = {
        "temperature": temperature,
        "threshold": threshold,
        "num_real": int((truth == 0).sum()),
        "num_fake": int(truth.sum()),
        "num_videos": len(clip_numbers(items)[1]),
        "fpr": float((after[truth == 0] >= threshold).mean()),
        "tpr": float((after[truth == 1] >= threshold).mean()),
        "nll_before": negative_log_likelihood(truth, margins, artifact.identity.temperature),
        "nll_after": negative_log_likelihood(truth, margins, temperature),
        "ece_before": expected_calibration_error(truth, before),
        "ece_after": expected_calibration_error(truth, after),
    }
    _save(run, artifact, answer, f"at most {fpr:g} per crop, index SHA-256 {rows_sha256(items)}")
    return answer


def fit_temperature(truth: NDArray[np.int64], margins: Floats) -> float:
    """The temperature of the least negative log-likelihood.

    That likelihood is convex in 1 / temperature: its slope there is halved upon.

    Args:
        truth: (N,) 1 for fake.
        margins: (N,) logit of fake less that of real.

    Raises:
        ConfigError: the likelihood has no optimum within ``TEMPERATURES``.

    Source: Guo et al. 2017, arXiv 1706.04599.
    """

    def slope(inverse: float) -> float:
        return float((calibrated(margins * inverse, 1.0) - truth) @ margins)

    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if not slope(high) > 0:
        raise ConfigError(
            "no temperature can be fitted: the scores separate these crops without a mistake; give more or harder ones"
        )
    if not slope(low) < 0:
        raise ConfigError("no temperature can be fitted: the scores say nothing of these crops, or the opposite")
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / math.sqrt(low * high)


def choose_threshold(p_fake_of_reals: Floats, fpr: float) -> float:
    """The smallest threshold, a float32 as served, at or above which at most a share ``fpr`` of the reals lies.

    Args:
        p_fake_of_reals: (N,) calibrated.
        fpr: above 0 and below 1.

    Raises:
        ConfigError: so many reals have p_fake 1 that no threshold keeps to it.
    """
    allowed = math.floor(fpr * len(p_fake_of_reals) + 1e-9)  # 0.29 * 100 is 28.999999999999996
    highest_below = np.sort(p_fake_of_reals)[::-1][allowed]
    threshold = np.float32(highest_below)
    if threshold <= highest_below:  # rounding to float32 may have gone up already
        threshold = np.nextafter(threshold, np.float32(2))
    if threshold > 1:
        raise ConfigError(f"more than {fpr:.3g} of the reals have p_fake 1: no threshold keeps to --fpr {fpr:g}")
    return float(threshold)


def negative_log_likelihood(truth: NDArray[np.int64], margins: Floats, temperature: float) -> float:
    """Mean over the crops, natural logarithm."""
    return float(np.logaddexp(0.0, np.where(truth == 1, -margins, margins) / temperature).mean())


def _check_counts(truth: NDArray[np.int64], fpr: float) -> None:
    """One real crop above the threshold must be no more than ``fpr`` of them, or the rate cannot be seen."""
    needed, num_real = math.ceil(1 / fpr), int((truth == 0).sum())
    if num_real < needed:
        raise ConfigError(f"--fpr {fpr:g} needs at least {needed} real crops to show, there are {num_real}; give more")
    if num_real == len(truth):
        raise ConfigError(f"all {num_real} crops are real: the temperature needs fakes too")


def _refuse_training_crops(provenance: Provenance, source: Path, items: Sequence[Item]) -> None:
    if rows_sha256(items) == provenance.inputs.get("train_index"):
        raise ConfigError(
            f"{source} is what {provenance.name} was trained on: scores there say nothing of other faces; "
            "give held-out crops"
        )


def _save(run: Path, artifact: Artifact, answer: dict[str, float], how: str) -> None:
    """Replace model.json in one step."""
    identity = artifact.identity.model_copy(
        update={"temperature": answer["temperature"], "threshold": answer["threshold"]}
    )
    provenance = artifact.provenance.model_copy(
        update={
            "threshold_source": f"calibrated on {answer['num_real']} real and {answer['num_fake']} fake crops of "
            f"{answer['num_videos']} videos: temperature of the least negative log-likelihood, then the smallest "
            f"threshold with a false-positive rate of {how}"
        }
    )
    partial = run / "model.json.partial"
    Artifact(identity=identity, provenance=provenance).save(partial)
    partial.replace(run / "model.json")
    log.info(
        "%s: artifact %s is now %s; graphs exported before carry the old temperature and threshold: export again",
        run / "model.json",
        artifact.identity.artifact_id.hex,
        identity.artifact_id.hex,
    )
