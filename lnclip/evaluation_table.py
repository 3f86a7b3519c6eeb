"""An evaluation as plain text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lnclip.evaluation import PARAMETERS, Evaluation, RobustnessRow
from lnclip.measurement import NAMES, Estimate, Metrics

HEADINGS = dict(zip(NAMES, ("AUROC", "mAP", "EER", "TPR@0.1%", "TPR@1%", "TPR@5%", "bal. acc."), strict=True))
COLUMN = 12
"""Characters: an interval as long as 100.0-100.0, and a space."""


def summary(evaluation: Evaluation) -> str:
    """Videos, then frames: a line of values per data set and a line of intervals below it, in per cent."""
    metrics, mean = evaluation["metrics"], evaluation["metrics"]["mean"]
    width = max(map(len, ("mean of 14", *metrics["datasets"]))) + 2
    level: Literal["video", "frame"]
    lines = []
    for level in ("video", "frame"):
        lines += [_heading(level, width, evaluation)]
        for name, found in metrics["datasets"].items():
            counts = found["videos" if level == "video" else "frames"]
            lines += _row(name, width, (counts["real"], counts["fake"]), found[level], found["not_measurable"])
        if len(metrics["datasets"]) > 1:
            pooled = metrics["pooled"]
            counts = pooled["videos" if level == "video" else "frames"]
            lines += _row(f"mean of {len(mean['of'])}", width, ("", ""), mean[level], "no data set counts")
            lines += _row("pooled", width, (counts["real"], counts["fake"]), pooled[level], pooled["not_measurable"])
        lines.append("")
    lines += _robustness(evaluation["robustness"])
    lines += [f"missing: {name}: {why}" for name, why in evaluation["missing"].items()]
    lines += [f"note: {note}" for note in evaluation["notes"]]
    return "\n".join(lines).rstrip()


def _heading(level: str, width: int, evaluation: Evaluation) -> str:
    confidence, threshold = 100 * evaluation["confidence"], evaluation["threshold"]
    return (
        f"{level} level, %, with {confidence:g} % intervals; balanced accuracy at the run's threshold {threshold:.4g}; "
        "TPR at a rate below 1 / reals is interpolated\n"
        f"{'data set':{width}}{'real':>7}{'fake':>7}" + "".join(f"{heading:>{COLUMN}}" for heading in HEADINGS.values())
    )


def _row(
    name: str, width: int, counts: tuple[int | str, int | str], metrics: Metrics, not_measurable: str | None
) -> list[str]:
    """One data set's two lines, or one that says why there is nothing."""
    head = f"{name:{width}}{counts[0]:>7}{counts[1]:>7}"
    if not metrics:
        return [f"{head}  not measurable: {not_measurable}"]
    estimates = [metrics[key] for key in HEADINGS]
    return [
        head + "".join(f"{100 * one['value']:>{COLUMN}.1f}" for one in estimates),
        " " * len(head) + "".join(f"{_interval(one):>{COLUMN}}" for one in estimates),
    ]


def _interval(estimate: Estimate) -> str:
    low, high = estimate["low"], estimate["high"]
    return "-" if low is None or high is None else f"{100 * low:.1f}-{100 * high:.1f}"


def _robustness(rows: Sequence[RobustnessRow]) -> list[str]:
    if not rows:
        return []
    lines = ["robustness: AUROC, %, mean over data sets", f"{'':10}{'level':>28}{'video':>8}{'frame':>8}"]
    for row in rows:
        level = f"{PARAMETERS[row['distortion']]} {row['level']:g}"
        lines.append(f"{row['distortion']:10}{level:>28}{100 * row['video']:8.1f}{100 * row['frame']:8.1f}")
    return [*lines, ""]
