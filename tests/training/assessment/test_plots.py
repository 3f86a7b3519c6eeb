"""What is drawn is what was measured."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
from matplotlib.figure import Figure
from PIL import Image

from lnclip.evaluation import RobustnessRow
from lnclip.index import Item
from lnclip.measurement import Measurement, measure_sets
from training.assessment import plots
from training.assessment.plots import plot_distributions, plot_robustness, plot_roc
from training.assessment.robustness import PROTOCOL


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lnclip.metrics.RESAMPLES", 20)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures, as they are written."""
    figures: list[Figure] = []
    save = plots._save

    def keep(figure: Figure, path: Path) -> None:
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(plots, "_save", keep)
    return figures


@pytest.fixture
def scored() -> tuple[list[Item], np.ndarray, Measurement]:
    """Data sets a and b, and c of one class; two crops a video."""
    rng, items = np.random.default_rng(0), []
    for dataset, num_videos in (("a", 40), ("b", 30), ("c", 4)):
        for video in range(num_videos):
            label = "real" if video % 2 or dataset == "c" else "fake"
            items += [Item(Path(f"{n}.png"), label, f"v{video}", dataset, "s") for n in range(2)]
    p_fake = 1 / (1 + np.exp(-rng.normal([2 * (item.label == "fake") - 1 for item in items], 1.5)))
    return items, p_fake, measure_sets(items, p_fake, 0.4)


def is_readable_picture(path: Path) -> bool:
    with Image.open(path) as picture:
        return min(picture.size) > 400 and len(picture.convert("RGB").getcolors(10**6) or []) > 20


def test_roc_curves_are_scikit_learns(
    tmp_path: Path, drawn: list[Figure], scored: tuple[list[Item], np.ndarray, Measurement]
) -> None:
    items, p_fake, metrics = scored
    plot_roc(tmp_path / "roc.png", items, p_fake, metrics)
    assert is_readable_picture(tmp_path / "roc.png")
    _, frames = drawn[0].axes
    first, second, diagonal = frames.lines
    members = np.array([item.dataset == "a" for item in items])
    labels = np.array([item.label == "fake" for item in items])
    fpr, tpr, _ = sklearn.metrics.roc_curve(labels[members], p_fake[members], drop_intermediate=False)
    np.testing.assert_allclose(first.get_xydata(), np.column_stack([fpr, tpr]))
    value = metrics["datasets"]["b"]["frame"]["auroc"]["value"]
    assert second.get_label() == f"b: {100 * value:.1f}"
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]


def test_distributions_cross_the_threshold_at_the_false_and_true_positive_rate(
    tmp_path: Path, drawn: list[Figure], scored: tuple[list[Item], np.ndarray, Measurement]
) -> None:
    items, p_fake, _ = scored
    plot_distributions(tmp_path / "scores.png", items, p_fake, 0.4)
    assert is_readable_picture(tmp_path / "scores.png")
    for axes, label, sizes in zip(drawn[0].axes, ("real", "fake"), ((40, 30, 8), (40, 30)), strict=True):
        *lines, threshold = axes.lines
        assert [line.get_label() for line in lines] == [f"{n} ({s})" for n, s in zip("abc", sizes, strict=False)]
        assert threshold.get_xdata() == pytest.approx([0.4, 0.4])
        scores = p_fake[[item.dataset == "a" and item.label == label for item in items]]
        x, y = lines[0].get_data()
        assert lines[0].get_drawstyle() == "steps-pre"
        assert y[np.searchsorted(x, 0.4)] == pytest.approx(100 * (scores >= 0.4).mean())
        assert (y[0], y[-1]) == (100, 0)


def test_robustness_has_a_panel_for_each_distortion(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = [
        RobustnessRow(distortion=row.distortion, level=row.level, frame=0.9 - n / 50, video=0.95 - n / 50, datasets={})
        for n, row in enumerate(PROTOCOL)
    ]
    plot_robustness(tmp_path / "robustness.png", rows)
    assert is_readable_picture(tmp_path / "robustness.png")
    panels = drawn[0].axes
    assert [axes.get_title() for axes in panels] == ["jpeg", "blur", "resize", "noise"]
    assert [axes.get_xlabel() for axes in panels] == ["quality", "sigma in px", "shortest side in px", "sigma"]
    assert [text.get_text() for text in panels[2].get_xticklabels()] == ["224", "112", "64"]
    np.testing.assert_allclose(panels[0].lines[0].get_ydata(), [95 - 2 * n for n in range(6)])


def test_twenty_sets_have_lines_of_their_own() -> None:
    styles = [next(found) for found in [plots._styles()] for _ in range(20)]
    assert len({(style["color"], style["linestyle"]) for style in styles}) == 20
