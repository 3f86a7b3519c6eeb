"""What ``client evaluate`` measures of a deployment, held to training's evaluation of the run it serves."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import skimage.data
import sklearn.metrics
from PIL import Image

from client import CallPolicy, ScoreOptions
from client.comparison import compare
from client.evaluate import evaluate
from lnclip.errors import ConfigError, ServerError
from lnclip.evaluation_table import summary
from lnclip.index import Item, read_index, write_index
from lnclip.running import RunningServer
from tests.client.peer import Peer, encoder_answer, ensemble_answer, sent_crops, sent_image, serve
from tests.clips import moving, write_clip
from tests.conftest import encoded

FP32 = 1e-5  # largest difference of p_fake between the served FP32 graph and PyTorch: DESIGN section 6

QUICK = ScoreOptions(policy=CallPolicy(retries=1, patience_s=0.5, timeout_s=5), concurrency=4)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are not what these tests look at."""
    monkeypatch.setattr("lnclip.metrics.RESAMPLES", 50)


@pytest.fixture(scope="module")
def videos_index(tmp_path_factory: pytest.TempPathFactory, crops_index: Path) -> Path:
    """The random run's 48 crops as videos of three in two data sets."""
    items = [
        item._replace(label=("real", "fake")[n // 3 % 2], video=f"v{n // 3}", dataset="ab"[n // 24])
        for n, item in enumerate(read_index(crops_index, "crop"))
    ]
    index = tmp_path_factory.mktemp("videos") / "index.csv"
    write_index(index, items)
    return index


@pytest.fixture(scope="module")
def run_evaluated(tmp_path_factory: pytest.TempPathFactory, random_run: Path, videos_index: Path) -> Path:
    from training.assessment.evaluation import evaluate as evaluate_run

    out = tmp_path_factory.mktemp("run_evaluated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lnclip.metrics.RESAMPLES", 50)
        for name in ("plot_roc", "plot_distributions"):  # seconds of drawing that nobody looks at
            patch.setattr(f"training.assessment.evaluation.{name}", lambda *_: None)
        evaluate_run(random_run, [videos_index], out)
    return out


@pytest.mark.slow
def test_a_served_run_measures_as_training_measures_it(
    triton: RunningServer, run_evaluated: Path, videos_index: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    printed = evaluate(
        videos_index, out, urls=[triton.grpc_url], against=run_evaluated / "metrics.json", options=ScoreOptions()
    )
    ours, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (out, run_evaluated))
    assert ours.keys() == theirs.keys()
    assert (ours["artifact_id"], ours["threshold"]) == (theirs["artifact_id"], theirs["threshold"])
    assert_same_metrics(ours["metrics"], theirs["metrics"])
    left, right = (pq.read_table(folder / "predictions.parquet") for folder in (out, run_evaluated))
    assert left.schema == right.schema
    assert left.drop_columns(["p_fake"]).to_pylist() == right.drop_columns(["p_fake"]).to_pylist()
    gaps = np.abs(left["p_fake"].to_numpy() - right["p_fake"].to_numpy())
    assert 0 < gaps.max() <= FP32
    assert np.std(left["p_fake"].to_numpy()) > 0.2
    assert printed.startswith(summary(ours))
    assert f"both are artifact {ours['artifact_id']}" in printed
    assert "48 files are in both (48 scored here, 48 there)" in printed
    assert f"|dp| worst {gaps.max():.2g} at " in printed
    assert "verdicts that differ: 0 of 48" in printed
    assert not (out / "unscored.csv").exists()


def assert_same_metrics(left: object, right: object) -> None:
    """Numbers to 1e-6 (a rank metric of scores that differ by rounding), everything else exactly."""
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key, value in left.items():
            assert_same_metrics(value, right[key])
    elif isinstance(left, float):
        assert left == pytest.approx(right, abs=1e-6)
    else:
        assert left == right


@pytest.mark.slow
def test_crops_photographs_and_videos_are_measured_together_and_what_has_no_face_is_listed(
    triton: RunningServer, crops_index: Path, tmp_path: Path, astronaut: np.ndarray, grace_hopper: np.ndarray
) -> None:
    (tmp_path / "astronaut.png").write_bytes(encoded(astronaut, "PNG"))
    (tmp_path / "hopper.png").write_bytes(encoded(grace_hopper, "PNG"))
    Image.fromarray(skimage.data.rocket()).save(tmp_path / "rocket.png")
    write_clip(tmp_path / "clip.mp4", moving(astronaut[:256, 100:356], 4))
    crops = [item._replace(path=item.path.resolve()) for item in read_index(crops_index, "crop")[:4]]
    items = [
        *crops,
        Item(tmp_path / "astronaut.png", "real", "p1", "photos", "photos", "", "image"),
        Item(tmp_path / "hopper.png", "fake", "p2", "photos", "photos", "", "image"),
        Item(tmp_path / "rocket.png", "real", "p3", "photos", "photos", "", "image"),
        Item(tmp_path / "clip.mp4", "fake", "p4", "photos", "photos", "", "video"),
    ]
    write_index(tmp_path / "index.csv", items)
    out = tmp_path / "out"
    printed = evaluate(tmp_path / "index.csv", out, urls=[triton.grpc_url], against=None, options=ScoreOptions())
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["metrics"]["pooled"]["frames"] == {"real": 3, "fake": 4}
    rows = pq.read_table(out / "predictions.parquet").to_pylist()
    is_fake, p_fake = [row["label"] == "fake" for row in rows], [row["p_fake"] for row in rows]
    found = metrics["metrics"]["pooled"]["frame"]["auroc"]["value"]
    assert found == pytest.approx(sklearn.metrics.roc_auc_score(is_fake, p_fake))
    [lost] = csv.DictReader((out / "unscored.csv").open())
    assert (Path(lost["path"]).name, lost["label"], lost["reason"]) == ("rocket.png", "real", "no_face")
    assert "note: 1 of 8 files have no score (1 real with no face), so 1 of 8 videos have none either" in printed
    assert "note: 3 images: faces were found and cut by the server" in printed
    assert "note: 1 videos: one score for a video (rule track)" in printed
    assert triton.grpc_url in metrics["run"]


def shaded(folder: Path, levels: list[int], **changed: object) -> Path:
    """Crops of one grey each, whose level the peer answers as p_fake; odd ones are fakes."""
    items = []
    for number, level in enumerate(levels):
        path = folder / f"{number}.png"
        Image.new("RGB", (32, 32), (level,) * 3).save(path)
        items.append(Item(path, ("real", "fake")[number % 2], f"v{number}", "d", "s")._replace(**changed))
    write_index(folder / "index.csv", items)
    return folder / "index.csv"


def encode_only(spec):
    small = spec.model_copy(update={"input_px": 32})
    return lambda request: encoder_answer(sent_crops(request), small)


def test_metrics_are_those_of_the_scores_and_the_served_threshold(tmp_path: Path, spec) -> None:
    """Reals at 0.2 and 0.6, fakes at 0.4 and 1: three of four pairs in order; at 0.5 half of each class is right."""
    index = shaded(tmp_path, [51, 102, 153, 255])
    with serve(Peer(encode_only(spec))) as url:
        printed = evaluate(index, tmp_path / "out", urls=[url], against=None, options=QUICK)
    answer = json.loads((tmp_path / "out" / "metrics.json").read_text())
    found = answer["metrics"]["datasets"]["d"]["frame"]
    assert found["auroc"]["value"] == 0.75
    assert found["balanced_accuracy"]["value"] == 0.5
    assert answer["threshold"] == 0.5
    assert printed == summary(answer)


def test_many_errors_are_refused_and_few_are_listed(tmp_path: Path, spec, monkeypatch: pytest.MonkeyPatch) -> None:
    index = shaded(tmp_path, [10, 200, 20, 220])
    (tmp_path / "0.png").write_text("no picture")
    with serve(Peer(encode_only(spec))) as url:
        with pytest.raises(ConfigError, match=r"1 of 4 files have no score, the first: not_an_image.*at most 1%"):
            evaluate(index, tmp_path / "out", urls=[url], against=None, options=QUICK)
        assert not (tmp_path / "out" / "metrics.json").exists()
        monkeypatch.setattr("client.evaluate.MAX_FAILED", 0.25)
        printed = evaluate(index, tmp_path / "out", urls=[url], against=None, options=QUICK)
    assert "1 of 4 files have no score (1 real with error)" in printed
    assert '0.png,real,v0,d,s,crop,"not_an_image: ' in (tmp_path / "out" / "unscored.csv").read_text()


def test_a_model_that_is_replaced_meanwhile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(np.zeros((32, 32, 3), np.uint8), "PNG"))
    (tmp_path / "b.png").write_bytes(encoded(np.full((32, 32, 3), 9, np.uint8), "PNG"))
    items = [
        Item(tmp_path / f"{n}.png", label, n, "d", "s", "", "image") for n, label in (("a", "real"), ("b", "fake"))
    ]
    write_index(tmp_path / "index.csv", items)
    first = (tmp_path / "a.png").read_bytes()

    def behave(request):
        model = {"name": "m", "artifact_id": "1" * 16 if sent_image(request) == first else "2" * 16, "threshold": 0.5}
        return ensemble_answer() | {"model": np.array([json.dumps(model).encode()], np.object_)}

    with serve(Peer(behave)) as url, pytest.raises(ServerError, match=r"changed meanwhile \(1{16}, 2{16} answered\)"):
        evaluate(tmp_path / "index.csv", tmp_path / "out", urls=[url], against=None, options=QUICK)


def test_what_is_compared_with_is_not_overwritten(tmp_path: Path, crops_index: Path) -> None:
    for against in (tmp_path, tmp_path / "metrics.json"):
        with pytest.raises(ConfigError, match="would overwrite what --against names"):
            evaluate(crops_index, tmp_path, urls=["127.0.0.1:9"], against=against, options=QUICK)


@pytest.fixture
def twice(tmp_path: Path, spec) -> tuple[Path, Path]:
    """The same crops in two folders, brighter in the second; each evaluated."""
    folders = []
    with serve(Peer(encode_only(spec))) as url:
        for name, brighter in (("here", 0), ("there", 51)):
            folder = tmp_path / name
            folder.mkdir()
            index = shaded(folder, [51 + brighter, 102, 153, 204 + brighter])
            evaluate(index, folder / "out", urls=[url], against=None, options=QUICK)
            folders.append(folder / "out")
    return folders[0], folders[1]


def test_differences_are_told_file_by_file_wherever_the_files_lie(twice: tuple[Path, Path]) -> None:
    text = compare(*twice)
    assert "4 files are in both" in text
    assert "|dp| worst 0.2 at " in text
    assert "mean 0.1" in text
    assert "verdicts that differ: 0 of 4" in text
    here, there, difference = text.splitlines()[5:8]  # of the videos: 0.2 0.4 0.6 0.8, and 0.4 0.4 0.6 1
    assert here.split()[:3] == ["d", "here", "75.0"]
    assert there.split()[:2] == ["there", "62.5"]
    assert difference.split()[:2] == ["difference", "+12.50"]


def test_what_makes_the_two_differ_is_told(twice: tuple[Path, Path]) -> None:
    here, there = twice
    changed = json.loads((there / "metrics.json").read_text())
    changed |= {"artifact_id": "f" * 16, "threshold": 0.7, "temperature": 1.25}
    changed["metrics"]["datasets"]["d"]["video"]["auroc"]["value"] = 0.5
    (there / "metrics.json").write_text(json.dumps(changed))
    text = compare(here, there)
    assert f"other artifacts: here 0000000100000002, there {'f' * 16}" in text
    assert "other thresholds: here 0.5, there 0.7" in text
    assert "temperatures: here not told, there 1.25" in text
    assert "verdicts that differ: 1 of 4" in text  # 0.6 is fake here, and real there
    [difference] = [line for line in text.splitlines() if line.strip().startswith("difference")][:1]
    assert difference.split()[1] == "+25.00"


def test_what_is_no_evaluation_is_refused_and_missing_predictions_are_told(twice: tuple[Path, Path]) -> None:
    here, there = twice
    (there / "predictions.parquet").unlink()
    assert "has no predictions.parquet" in compare(here, there)
    (there / "metrics.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"is not a metrics\.json of an evaluation"):
        compare(here, there)
    shutil.rmtree(there)
    with pytest.raises(ConfigError, match="--against is a folder of: python -m training evaluate"):
        compare(here, there)
