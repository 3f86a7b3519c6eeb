"""Temperature and threshold: against numbers by hand, scipy and torchmetrics."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import torch
from torchmetrics.classification import BinaryCalibrationError
from typer.testing import CliRunner

from lnclip.artifact import Artifact, Provenance
from lnclip.encoder import load_run
from lnclip.errors import ConfigError
from lnclip.index import read_index, write_index
from lnclip.metrics import auroc
from training.__main__ import app
from training.assessment.calibration import calibrate, choose_threshold, fit_temperature, negative_log_likelihood
from training.assessment.scoring import score_items
from training.provenance import rows_sha256


def margins_of(temperature: float, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn with p = sigmoid(margin / temperature): what that temperature is right for."""
    rng = np.random.default_rng(seed)
    margins = rng.normal(0, 2 * temperature, count)
    return (rng.uniform(size=count) < scipy.special.expit(margins / temperature)).astype(np.int64), margins


@pytest.mark.parametrize("temperature", [0.05, 1.0, 7.0])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    truth, margins = margins_of(temperature, 20_000)
    found = fit_temperature(truth, margins)
    assert found == pytest.approx(temperature, rel=0.05)

    def likelihood(log_temperature: float) -> float:
        p_fake = scipy.special.expit(margins / np.exp(log_temperature))
        return float(-np.log(np.where(truth == 1, p_fake, 1 - p_fake)).mean())

    best = scipy.optimize.minimize_scalar(likelihood, bracket=(np.log(temperature) - 1, np.log(temperature) + 1))
    assert found == pytest.approx(float(np.exp(best.x)), rel=1e-4)
    assert negative_log_likelihood(truth, margins, found) == pytest.approx(best.fun, rel=1e-6)


def test_four_crops_by_hand() -> None:
    """Margins 1, 1, 1, -1 with one mistake in four: p must be 3/4 at margin 1, so T = 1 / ln 3."""
    assert fit_temperature(np.array([1, 1, 0, 0]), np.array([1.0, 1.0, 1.0, -1.0])) == pytest.approx(1 / np.log(3))


def test_scores_without_a_mistake_or_without_information_have_no_temperature() -> None:
    truth = np.array([0, 0, 1, 1])
    with pytest.raises(ConfigError, match="separate these crops without a mistake"):
        fit_temperature(truth, np.array([-2.0, -1.0, 1.0, 2.0]))
    with pytest.raises(ConfigError, match="say nothing of these crops, or the opposite"):
        fit_temperature(truth, np.array([2.0, 1.0, -1.0, -2.0]))


REALS = np.arange(1, 21) / 32
"""Twenty, exact in float32."""


@pytest.mark.parametrize(("fpr", "allowed"), [(0.05, 1), (0.0999, 1), (0.1, 2), (0.5, 10), (0.15, 3)], ids=str)
def test_the_threshold_is_just_above_the_highest_real_that_may_not_pass(fpr: float, allowed: int) -> None:
    threshold = choose_threshold(REALS, fpr)
    assert threshold == np.nextafter(np.float32((20 - allowed) / 32), np.float32(1))
    assert (threshold <= REALS).sum() == allowed


def test_a_rate_that_is_a_whole_number_of_reals_is_used_up() -> None:
    reals = np.arange(100) / 128
    assert (reals >= choose_threshold(reals, 0.29)).sum() == 29  # 0.29 * 100 is 28.999999999999996


def test_equal_scores_are_on_one_side_of_the_threshold() -> None:
    reals = np.array([0.25, 0.5, 0.5, 0.5, 0.75])
    assert (reals >= choose_threshold(reals, 0.4)).sum() == 1  # two may pass, but not two of three equal ones


def test_the_threshold_holds_in_the_float32_that_is_served() -> None:
    for seed in range(200):
        reals = np.random.default_rng(seed).uniform(0, 1, 41)
        threshold = choose_threshold(reals, 0.05)
        assert threshold == float(np.float32(threshold))
        assert (reals >= threshold).sum() == 2
        # One step down lets a third one pass: it is the smallest.
        assert (reals >= np.nextafter(np.float32(threshold), np.float32(0))).sum() == 3


def test_reals_at_one_have_no_threshold() -> None:
    with pytest.raises(ConfigError, match=r"p_fake 1: no threshold keeps to --fpr 0\.1"):
        choose_threshold(np.array([0.5] * 18 + [1.0] * 3), 0.1)


@pytest.fixture
def run(tmp_path: Path, random_run: Path) -> Path:
    shutil.copytree(random_run, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory, random_run: Path, crops_index: Path) -> Path:
    """24 crops of each class, of which the run's scores tell most apart: every sixth has the wrong label."""
    artifact, encoder = load_run(random_run)
    items = read_index(crops_index, "crop")
    ranks = score_items(encoder, artifact.identity, items).argsort().argsort()
    called_fake = (ranks >= len(items) // 2) ^ (ranks % 6 == 5)
    labels = ["fake" if called else "real" for called in called_fake]
    assert labels.count("real") == 24
    index = tmp_path_factory.mktemp("held_out") / "index.csv"
    write_index(index, [item._replace(label=label) for item, label in zip(items, labels, strict=True)])
    return index


def test_what_is_fitted_goes_into_model_json_and_makes_another_artifact(run: Path, held_out: Path) -> None:
    before, encoder = load_run(run)
    items = read_index(held_out, "crop")
    old_scores = score_items(encoder, before.identity, items)
    answer = calibrate(run, [held_out], 0.05)

    after, encoder = load_run(run)
    assert after.identity.artifact_id != before.identity.artifact_id
    changed = {"temperature": answer["temperature"], "threshold": answer["threshold"]}
    assert after.identity == before.identity.model_copy(update=changed)
    said = after.provenance.threshold_source
    assert "24 real and 24 fake crops of 48 videos" in said
    assert "at most 0.05 per crop" in said
    assert rows_sha256(items) in said
    assert {path.name for path in run.iterdir()} == {"weights.safetensors", "model.json"}

    scores = score_items(encoder, after.identity, items)
    truth = np.array([item.label == "fake" for item in items], int)
    assert auroc(truth, scores) == auroc(truth, old_scores)
    assert (scores[truth == 0] >= answer["threshold"]).sum() == 1 == answer["fpr"] * 24
    assert answer["tpr"] == (scores[truth == 1] >= answer["threshold"]).mean()
    for key, p_fake in (("ece_before", old_scores), ("ece_after", scores)):
        independent = BinaryCalibrationError(n_bins=15, norm="l1")(torch.from_numpy(p_fake), torch.from_numpy(truth))
        assert answer[key] == pytest.approx(float(independent), abs=1e-6)
    assert answer["nll_after"] < answer["nll_before"]
    json.dumps(answer)


def test_calibrating_twice_changes_nothing_more(run: Path, held_out: Path) -> None:
    first = calibrate(run, [held_out], 0.05)
    text = (run / "model.json").read_text()
    again = calibrate(run, [held_out], 0.05)
    assert (run / "model.json").read_text() == text
    assert again["ece_before"] == again["ece_after"] == first["ece_after"]


def test_too_few_reals_for_the_rate_are_refused_with_the_number_needed(run: Path, held_out: Path) -> None:
    text = (run / "model.json").read_text()
    with pytest.raises(ConfigError, match=r"--fpr 0\.01 needs at least 100 real crops to show, there are 24"):
        calibrate(run, [held_out], 0.01)
    assert (run / "model.json").read_text() == text


@pytest.mark.parametrize("fpr", [0.0, 1.0])
def test_a_rate_of_nothing_or_all_is_refused(run: Path, held_out: Path, fpr: float) -> None:
    with pytest.raises(ConfigError, match="must be above 0 and below 1"):
        calibrate(run, [held_out], fpr)


def test_reals_alone_are_refused(run: Path, held_out: Path, tmp_path: Path) -> None:
    write_index(tmp_path / "index.csv", [item for item in read_index(held_out, "crop") if item.label == "real"])
    with pytest.raises(ConfigError, match="all 24 crops are real: the temperature needs fakes too"):
        calibrate(run, [tmp_path / "index.csv"], 0.05)


def test_the_crops_of_the_training_are_refused(run: Path, held_out: Path, tmp_path: Path) -> None:
    items = read_index(held_out, "crop")
    artifact = Artifact.load(run / "model.json")
    provenance = Provenance(name="known", inputs={"train_index": rows_sha256(items[:40]), "val_index": "0" * 64})
    artifact.model_copy(update={"provenance": provenance}).save(run / "model.json")
    for name, rows in (("train.csv", items[:40]), ("other.csv", items[40:])):
        write_index(tmp_path / name, rows)
    with pytest.raises(ConfigError, match=r"train\.csv is what known was trained on.*give held-out crops"):
        calibrate(run, [tmp_path / "other.csv", tmp_path / "train.csv"], 0.05)


def test_the_command_prints_what_changed_and_says_to_export_again(
    run: Path, held_out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        answer = CliRunner().invoke(app, ["calibrate", str(run), "--index", str(held_out), "--fpr", "0.1"])
    assert answer.exit_code == 0, answer.output
    printed = json.loads(answer.stdout)
    assert printed["threshold"] == Artifact.load(run / "model.json").identity.threshold
    assert printed["fpr"] == 2 / 24
    assert "graphs exported before carry the old temperature and threshold: export again" in caplog.text
