"""The record's picture: speed against batch size under the ceilings, and the ratios to eager FP32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.encoder_speed.rows import Ceiling, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DASHES = ("--", ":", "-.")


def plot(made: Sequence[Row], found: Sequence[Ceiling], flop: int, caption: str) -> Figure:
    """Two panels.

    Args:
        made: all rows.
        found: all ceilings.
        flop: of one image, which turns a ceiling into images/s.
        caption: above them.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure: Figure
    figure, (speed, ratio) = plt.subplots(1, 2, figsize=(12, 4.6), width_ratios=(3, 2), layout="constrained")
    names = list(dict.fromkeys(row.way.name for row in made))
    colours = dict(zip(names, plt.colormaps["tab10"].colors, strict=False))
    _plot_speeds(speed, made, found, flop, colours)
    _plot_ratios(ratio, made, colours)
    figure.suptitle(caption, fontsize=10)
    return figure


def _plot_speeds(
    axes: Any,  # noqa: ANN401 - untyped module
    made: Sequence[Row],
    found: Sequence[Ceiling],
    flop: int,
    colours: dict[str, tuple[float, float, float]],
) -> None:
    for name, colour in colours.items():
        rows = [row for row in made if row.way.name == name]
        sizes, speeds = [row.batch for row in rows], [row.images_per_s for row in rows]
        below = [row.images_per_s - row.spread[0] for row in rows]
        above = [row.spread[1] - row.images_per_s for row in rows]
        axes.errorbar(sizes, speeds, yerr=[below, above], marker="o", markersize=4, capsize=3, color=colour, label=name)
    precisions = dict.fromkeys(ceiling.precision for ceiling in found)
    for precision, dashes in zip(precisions, DASHES, strict=False):
        points = [(each.batch, each.best * 1e12 / flop) for each in found if each.precision == precision]
        axes.plot(*zip(*points, strict=True), dashes, marker="_", color="0.4", label=f"ceiling {precision}")
    sizes = sorted({row.batch for row in made})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set(xlabel="crops in a batch", ylabel="images/s (bars: slowest and fastest round)")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=7)


def _plot_ratios(
    axes: Any,  # noqa: ANN401 - untyped module
    made: Sequence[Row],
    colours: dict[str, tuple[float, float, float]],
) -> None:
    batch = 8 if any(row.batch == 8 for row in made) else max(row.batch for row in made)
    rows = [row for row in made if row.batch == batch][::-1]
    bars = axes.barh(
        [row.way.name for row in rows], [row.to_batched for row in rows], color=[colours[row.way.name] for row in rows]
    )
    shares = [f"{row.to_batched:.2f}x" + _of_ceiling(row) for row in rows]
    axes.bar_label(bars, shares, fontsize=8, padding=3)
    axes.axvline(1, color="0.6", linestyle="--", linewidth=1)
    axes.set_xlim(0, 1.7 * max(row.to_batched for row in rows))  # the labels' room
    axes.tick_params(labelsize=8)
    axes.set_title(f"batch {batch}: images/s over eager FP32 batched", fontsize=9)


def _of_ceiling(row: Row) -> str:
    return "" if row.ceiling_share is None else f", {row.ceiling_share:.0%} of ceiling"
