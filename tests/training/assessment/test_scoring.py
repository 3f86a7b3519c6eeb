"""Scores of crops, and of videos as the mean of their crops."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lnclip.encoder import load_run
from lnclip.errors import ConfigError
from lnclip.index import Item, read_index
from lnclip.pooling import by_dataset, pool_videos
from lnclip.preprocess import normalise
from training.assessment import scoring
from training.assessment.scoring import calibrated, score_items, workers_for


def test_scores_are_the_networks_softmax_at_the_runs_temperature(random_run: Path, crops_index: Path) -> None:
    artifact, encoder = load_run(random_run)
    items = read_index(crops_index, "crop")[:3]
    identity = artifact.identity.model_copy(update={"temperature": 2.0})
    crops = np.stack([np.asarray(Image.open(item.path)) for item in items])
    with torch.inference_mode():
        logits = encoder(torch.from_numpy(normalise(crops, identity.spec))).logits.double().numpy()
    by_hand = 1 / (1 + np.exp((logits[:, 0] - logits[:, 1]) / 2))
    np.testing.assert_allclose(score_items(encoder, identity, items), by_hand, atol=1e-6)


def test_fake_is_the_column_that_the_run_says(random_run: Path, crops_index: Path) -> None:
    artifact, encoder = load_run(random_run)
    items = read_index(crops_index, "crop")[:3]
    swapped = artifact.identity.model_copy(update={"class_order": ("fake", "real")})
    np.testing.assert_allclose(
        score_items(encoder, swapped, items), 1 - score_items(encoder, artifact.identity, items), atol=1e-6
    )


@pytest.mark.slow
def test_worker_processes_change_neither_scores_nor_order(
    random_run: Path, crops_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, encoder = load_run(random_run)
    items = read_index(crops_index, "crop")
    alone = score_items(encoder, artifact.identity, items)
    monkeypatch.setattr(scoring, "BATCH_SIZE", 7)
    together = score_items(encoder, artifact.identity, items, num_workers=2)
    assert len(np.unique(alone)) == len(items)
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_damaged_crop_is_named_in_one_line(tmp_path: Path, random_run: Path, num_workers: int) -> None:
    artifact, encoder = load_run(random_run)
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    items = [Item(tmp_path / name, "real", "v", "d", "s") for name in ("a.png", "b.png")]
    with pytest.raises(ConfigError, match=r"b\.png is no readable crop") as caught:
        score_items(encoder, artifact.identity, items, num_workers)
    assert "\n" not in str(caught.value)


def test_no_crops_have_no_scores(random_run: Path) -> None:
    artifact, encoder = load_run(random_run)
    assert score_items(encoder, artifact.identity, []).shape == (0,)


def test_calibrated_is_exact_at_both_ends() -> None:
    found = calibrated(np.array([0.0, 3.0, -3.0, -80.0, 2000.0, -2000.0]), 2.0)
    np.testing.assert_allclose(found[:3], [0.5, 0.8175744761936437, 0.18242552380635635])
    assert found[3] == pytest.approx(4.248354255291589e-18)  # exp(-40)
    assert found[4:].tolist() == [1.0, 0.0]


def crop(video: str, label: str = "fake", dataset: str = "d", source: str = "s", name: str = "0") -> Item:
    return Item(Path(f"{dataset}/{source}/{video}/{name}.png"), label, video, dataset, source)


def test_a_video_is_the_mean_of_its_crops_in_its_own_data_set_and_source() -> None:
    items = [crop("a"), crop("b", "real"), crop("a"), crop("a", source="t"), crop("a", dataset="e"), crop("b", "real")]
    found = pool_videos(items, np.array([0.1, 0.2, 0.5, 0.7, 0.9, 0.4]))
    assert found.items == [items[0], items[1], items[3], items[4]]
    assert found.is_fake.tolist() == [1, 0, 1, 1]
    np.testing.assert_allclose(found.p_fake, [0.3, 0.3, 0.7, 0.9])


def test_a_crop_without_a_video_is_one_of_its_own() -> None:
    found = pool_videos([crop(""), crop("", "real"), crop("a")], np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(found.p_fake, [0.1, 0.2, 0.3])


def test_a_video_with_both_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"video 'a' of source 's', data set 'd' has files of both labels.*1\.png"):
        pool_videos([crop("a"), crop("a", "real", name="1")], np.array([0.1, 0.2]))


def test_data_sets_are_told_apart_in_their_order() -> None:
    items = [crop("a", dataset="y"), crop("b", dataset=""), crop("c", "real", dataset="y")]
    found = by_dataset(items, np.array([0.1, 0.2, 0.3]))
    assert list(found) == ["y", "unnamed"]
    assert found["y"].items == [items[0], items[2]]
    assert found["y"].p_fake.tolist() == [0.1, 0.3]
    assert found["y"].is_fake.tolist() == [1, 0]


def test_few_crops_are_read_without_processes() -> None:
    assert workers_for(30) == 0
    assert workers_for(10**6) <= 16
