"""Evaluate: from a run and crops to metrics.json, predictions.parquet and a table."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import sklearn.metrics
from PIL import Image
from typer.testing import CliRunner

from lnclip.encoder import load_run
from lnclip.errors import ConfigError
from lnclip.evaluation import Evaluation
from lnclip.evaluation_table import summary
from lnclip.index import Item, read_index, write_index
from lnclip.measurement import NAMES
from training.__main__ import app
from training.assessment.evaluation import evaluate
from training.assessment.robustness import PROTOCOL


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """Intervals are not what most of these tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lnclip.metrics.RESAMPLES", 200)
        yield


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time; test_plots looks at it."""
    for name in ("plot_roc", "plot_distributions"):
        monkeypatch.setattr(f"training.assessment.evaluation.{name}", lambda *_: None)


@pytest.fixture(scope="module")
def two_sets(tmp_path_factory: pytest.TempPathFactory, crops_index: Path) -> Path:
    """Those 48 crops as videos of three, in the data sets a (8 videos), b (7) and c, which has one video only."""
    items = []
    for number, item in enumerate(read_index(crops_index, "crop")):
        video = number // 3
        label = ("real", "fake")[video % 2]
        dataset = "a" if video < 8 else "b" if video < 15 else "c"
        items.append(item._replace(label=label, video=f"v{video}", dataset=dataset, source=label))
    index = tmp_path_factory.mktemp("sets") / "index.csv"
    write_index(index, items)
    return index


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, random_run: Path, two_sets: Path) -> tuple[Evaluation, Path]:
    out = tmp_path_factory.mktemp("evaluated")
    return evaluate(random_run, [two_sets], out), out


def test_metrics_follow_from_the_predictions_it_writes(evaluated: tuple[Evaluation, Path]) -> None:
    answer, out = evaluated
    rows = pq.read_table(out / "predictions.parquet").to_pylist()
    assert len(rows) == 48
    for name in ("a", "b"):
        crops = [row for row in rows if row["dataset"] == name]
        found = answer["metrics"]["datasets"][name]
        check([row["label"] for row in crops], [row["p_fake"] for row in crops], found["frame"])
        videos = {row["video"]: row["label"] for row in crops}
        means = [np.mean([row["p_fake"] for row in crops if row["video"] == video]) for video in videos]
        check(list(videos.values()), means, found["video"])
        assert found["frames"] == {"real": 12, "fake": 12 if name == "a" else 9}
        assert found["videos"] == {"real": 4, "fake": 4 if name == "a" else 3}


def check(labels: list[str], scores: list[float], found: dict) -> None:
    """Against scikit-learn; the random run's threshold is 0.45."""
    is_fake, p_fake = np.array(labels) == "fake", np.array(scores)
    assert found["auroc"]["value"] == pytest.approx(sklearn.metrics.roc_auc_score(is_fake, p_fake))
    both = [sklearn.metrics.average_precision_score(*pair) for pair in ((is_fake, p_fake), (~is_fake, -p_fake))]
    assert found["map"]["value"] == pytest.approx(np.mean(both))
    assert found["balanced_accuracy"]["value"] == pytest.approx(
        sklearn.metrics.balanced_accuracy_score(is_fake, p_fake >= 0.45)
    )
    fpr, tpr, _ = sklearn.metrics.roc_curve(is_fake, p_fake)
    assert found["eer"]["value"] == pytest.approx(np.interp(0, fpr + tpr - 1, fpr))
    for name, point in (("tpr@0.1%", 0.001), ("tpr@1%", 0.01), ("tpr@5%", 0.05)):
        assert found[name]["value"] == pytest.approx(np.interp(point, fpr, tpr))
    assert set(found) == set(NAMES)
    for estimate in found.values():
        assert estimate["low"] <= estimate["high"]


def test_predictions_say_where_each_came_from_in_full_precision(
    evaluated: tuple[Evaluation, Path], two_sets: Path
) -> None:
    rows = pq.read_table(evaluated[1] / "predictions.parquet").to_pylist()
    assert list(rows[0]) == ["index", "path", "label", "video", "dataset", "source", "p_fake"]
    assert {row["index"] for row in rows} == {str(two_sets)}
    assert all(Path(row["path"]).is_file() for row in rows)
    assert any(row["p_fake"] != float(np.float32(row["p_fake"])) for row in rows)


def test_a_set_of_one_class_is_named_and_the_others_are_measured(evaluated: tuple[Evaluation, Path]) -> None:
    answer, _ = evaluated
    lonely = answer["metrics"]["datasets"]["c"]
    assert lonely["not_measurable"] == "files of both classes are needed, all 3 are fake"
    assert lonely["frame"] == lonely["video"] == {}
    assert answer["metrics"]["mean"]["of"] == ["a", "b"]
    for level in ("frame", "video"):
        values = [answer["metrics"]["datasets"][name][level]["auroc"]["value"] for name in ("a", "b")]
        assert answer["metrics"]["mean"][level]["auroc"]["value"] == pytest.approx(np.mean(values))
    assert answer["metrics"]["pooled"]["videos"] == {"real": 8, "fake": 8}
    [video, frame] = [line.split(maxsplit=3) for line in summary(answer).splitlines() if line.startswith("c ")]
    assert video == ["c", "0", "1", "not measurable: files of both classes are needed, all 3 are fake"]
    assert frame[:3] == ["c", "0", "3"]


def test_only_one_class_everywhere_is_an_error(random_run: Path, two_sets: Path, tmp_path: Path) -> None:
    write_index(tmp_path / "index.csv", [item for item in read_index(two_sets, "crop") if item.label == "real"][:4])
    with pytest.raises(ConfigError, match="no data set has reals and fakes: a"):
        evaluate(random_run, [tmp_path / "index.csv"], tmp_path / "out")


def test_what_is_written_says_which_run_and_threshold(evaluated: tuple[Evaluation, Path], random_run: Path) -> None:
    answer, out = evaluated
    assert json.loads((out / "metrics.json").read_text()) == answer
    assert answer["run"] == str(random_run)
    assert answer["artifact_id"] == load_run(random_run)[0].identity.artifact_id.hex
    assert (answer["threshold"], answer["temperature"]) == (0.45, 1.25)
    for name in ("roc.png", "scores.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 400
    assert not (out / "robustness.png").exists()


def test_the_table_has_a_line_of_values_and_one_of_intervals_for_each_set(evaluated: tuple[Evaluation, Path]) -> None:
    answer, _ = evaluated
    lines = summary(answer).splitlines()
    video = answer["metrics"]["datasets"]["a"]["video"]
    [row] = [number for number, line in enumerate(lines) if line.startswith("a ")][:1]
    assert lines[row].split() == ["a", "4", "4", *(f"{100 * video[name]['value']:.1f}" for name in NAMES)]
    assert lines[row + 1].split()[0] == f"{100 * video['auroc']['low']:.1f}-{100 * video['auroc']['high']:.1f}"
    assert sum(line.startswith(("mean of 2", "pooled")) for line in lines) == 4
    assert "balanced accuracy at the run's threshold 0.45" in lines[0]


@pytest.mark.usefixtures("no_plots")
def test_inputs_that_have_no_crop_are_counted(random_run: Path, two_sets: Path, tmp_path: Path) -> None:
    write_index(tmp_path / "index.csv", read_index(two_sets, "crop")[:12])
    (tmp_path / "report.csv").write_text("path,status\na,ok\nb,no_face\nc,error\nd,no_face\n")
    answer = evaluate(random_run, [tmp_path / "index.csv"], tmp_path / "out")
    [note] = answer["notes"]
    assert "3 of 4 videos and images have no crop (1 error, 2 no_face)" in note
    assert f"note: {note}" in summary(answer)


@pytest.mark.usefixtures("no_plots")
def test_a_crop_given_twice_counts_once_in_a_data_set_and_in_each_that_shares_it(
    random_run: Path, two_sets: Path, tmp_path: Path
) -> None:
    items = read_index(two_sets, "crop")[:12]
    write_index(tmp_path / "again.csv", items[:6])
    write_index(tmp_path / "shared.csv", [item._replace(dataset="z") for item in items])
    answer = evaluate(random_run, [two_sets, tmp_path / "again.csv", tmp_path / "shared.csv"], tmp_path / "out")
    sets = answer["metrics"]["datasets"]
    assert sets["a"]["frames"] == {"real": 12, "fake": 12}
    assert sets["z"]["frames"] == {"real": 6, "fake": 6}
    assert answer["notes"] == [f"{tmp_path / 'again.csv'}: 6 crops were given before and count once"]
    swapped = [item._replace(label="fake" if item.label == "real" else "real") for item in items]
    write_index(tmp_path / "other.csv", swapped)
    with pytest.raises(ConfigError, match="is given as real and as fake; take one out"):
        evaluate(random_run, [two_sets, tmp_path / "other.csv"], tmp_path / "out")


@pytest.mark.usefixtures("no_plots")
def test_a_damaged_crop_is_left_out_and_listed_and_many_are_an_error(
    random_run: Path, two_sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    items = [*read_index(two_sets, "crop"), Item(tmp_path / "broken.png", "real", "w", "a", "real")]
    write_index(tmp_path / "index.csv", items)
    with pytest.raises(ConfigError, match=r"1 of 49 crops cannot be read: .*broken\.png"):
        evaluate(random_run, [tmp_path / "index.csv"], tmp_path / "out")
    monkeypatch.setattr("training.assessment.evaluation.MAX_UNREADABLE", 0.1)
    answer = evaluate(random_run, [tmp_path / "index.csv"], tmp_path / "out")
    assert answer["metrics"]["datasets"]["a"]["frames"] == {"real": 12, "fake": 12}
    assert "broken.png" in (tmp_path / "out" / "unreadable.csv").read_text()
    assert any("1 crops cannot be read" in note for note in answer["notes"])


def test_nothing_to_evaluate_is_an_error(random_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is nothing to evaluate: give --index, or --benchmarks"):
        evaluate(random_run, [], tmp_path)


@pytest.mark.usefixtures("no_plots")
def test_the_command_prints_the_table(random_run: Path, two_sets: Path, tmp_path: Path) -> None:
    words = ["evaluate", str(random_run), "--index", str(two_sets), "--out", str(tmp_path / "out")]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == summary(json.loads((tmp_path / "out" / "metrics.json").read_text())) + "\n"


@pytest.mark.slow
def test_robustness_is_reported_and_drawn(random_run: Path, two_sets: Path, tmp_path: Path) -> None:
    items = [item for item in read_index(two_sets, "crop") if item.dataset != "b"][::4]
    write_index(tmp_path / "index.csv", items)
    answer = evaluate(random_run, [tmp_path / "index.csv"], tmp_path / "out", robustness=True)
    assert len(answer["robustness"]) == len(PROTOCOL)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["robustness"] == answer["robustness"]
    assert (tmp_path / "out" / "robustness.png").is_file()
    frame = answer["metrics"]["datasets"]["a"]["frame"]["auroc"]["value"]
    [clean] = [row for row in answer["robustness"] if (row["distortion"], row["level"]) == ("noise", 0)]
    assert clean["frame"] == frame
    [row] = [line for line in summary(answer).splitlines() if line.split()[:3] == ["noise", "sigma", "0"]]
    assert row.split()[3:] == [f"{100 * clean[level]:.1f}" for level in ("video", "frame")]
