from pathlib import Path

import numpy as np
import pytest

from lnclip.errors import ConfigError
from lnclip.intake import read_image
from lnclip.preprocess import fit_input, normalise
from training.augmentation import augment
from training.config import Augmentation, TrainConfig
from training.crops import CropDataset, Draw, EpochSampler, groups_of, read_crop, shuffled, training_batches
from training.index import read_index

ORDER = ("real", "fake")
OFF = Augmentation(flip=0, rotate_deg=0, shift=0, zoom=0, brightness=0, contrast=0)


def dataset_of(config: TrainConfig) -> CropDataset:
    return CropDataset(read_index(config.train_index, "crop"), ORDER, config)


def test_an_unaugmented_batch_is_what_the_server_computes(config: TrainConfig) -> None:
    dataset = dataset_of(config.model_copy(update={"augmentation": OFF}))
    batch = dataset.collate([dataset[Draw(0, 3)]])
    frame = read_image(dataset.items[3].path.read_bytes()).pixels
    expected = normalise(fit_input(frame, config.spec)[None], config.spec)
    np.testing.assert_array_equal(batch.pixels.numpy(), expected)
    assert (batch.columns.tolist(), batch.indices.tolist()) == ([1], [3])


def test_a_draw_depends_on_seed_epoch_and_position_alone(config: TrainConfig) -> None:
    first, again = dataset_of(config), dataset_of(config.model_copy(update={"in_memory": False}))
    _ = again[Draw(0, 5)]
    np.testing.assert_array_equal(first[Draw(1, 2)][0], again[Draw(1, 2)][0])
    assert (first[Draw(1, 2)][0] != first[Draw(0, 2)][0]).any()
    assert (first[Draw(1, 2)][0] != dataset_of(config.model_copy(update={"seed": 1}))[Draw(1, 2)][0]).any()


def test_workers_draw_what_the_main_process_draws(config: TrainConfig) -> None:
    pixels = []
    for workers in (0, 2):
        batches = training_batches(dataset_of(config.model_copy(update={"num_workers": workers})))
        pixels.append(np.concatenate([batch.pixels.numpy() for batch in batches]))
    np.testing.assert_array_equal(*pixels)


def test_the_class_order_decides_the_column(config: TrainConfig) -> None:
    items = read_index(config.train_index, "crop")
    assert CropDataset(items, ("fake", "real"), config)[Draw(0, 0)][1] == 1
    assert CropDataset(items, ORDER, config)[Draw(0, 0)][1] == 0


def test_every_epoch_shows_every_crop_once_in_another_order() -> None:
    sampler = EpochSampler([[n] for n in range(50)], seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(draw.position for draw in second) == list(range(50))
    assert [draw.position for draw in first] != [draw.position for draw in second]
    assert {draw.epoch for draw in second} == {1}


def test_pairs_stay_side_by_side_when_asked(config: TrainConfig) -> None:
    items = read_index(config.train_index, "crop")
    order = [draw.position for draw in EpochSampler(groups_of(items, pairs_together=True), seed=0)]
    assert len(order) == len(items)
    assert all(items[a].pair == items[b].pair for a, b in zip(order[::2], order[1::2], strict=True))
    alone = [item._replace(pair="") for item in items]
    assert groups_of(alone, pairs_together=True) == groups_of(items, pairs_together=False)


def test_shuffled_labels_say_nothing_about_the_truth() -> None:
    columns = np.array([0] * 40 + [1] * 60)
    swapped = shuffled(columns, seed=0)
    assert swapped[columns == 0].mean() == 0.5
    assert swapped[columns == 1].mean() == 0.5
    np.testing.assert_array_equal(swapped, shuffled(columns, seed=0))
    assert (swapped != shuffled(columns, seed=1)).any()


def test_augmentation_off_changes_nothing() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(augment(crop, OFF, np.random.default_rng(0)), crop)


def test_flip_mirrors_left_and_right_alone() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    flipped = augment(crop, OFF.model_copy(update={"flip": 1.0}), np.random.default_rng(0))
    np.testing.assert_array_equal(flipped, crop[:, ::-1])


def test_augmentation_stays_within_its_limits() -> None:
    settings = OFF.model_copy(update={"brightness": 0.1})
    grey = np.full((16, 16, 3), 100, np.uint8)
    seen = [int(augment(grey, settings, np.random.default_rng(seed))[0, 0, 0]) for seed in range(200)]
    assert 90 <= min(seen) < 92
    assert 108 < max(seen) <= 110


def test_a_crop_that_cannot_be_read_is_named(tmp_path: Path, config: TrainConfig) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(ConfigError, match=r"bad\.png is no readable crop \(not_an_image"):
        read_crop(tmp_path / "bad.png", config.spec)
