from pathlib import Path

import numpy as np
import pytest

from lnclip.errors import ConfigError
from lnclip.index import Item, read_index
from lnclip.intake import read_image
from lnclip.preprocess import fit_input, normalise
from training.augmentation import augment
from training.config import Augmentation, TrainConfig
from training.crops import (
    BatchSampler,
    CropDataset,
    Draw,
    EpochSampler,
    groups_of,
    shuffled,
    stream_seed,
    training_batches,
)

ORDER = ("real", "fake")
OFF = Augmentation(flip=0, rotate_deg=0, shift=0, zoom=0, blur=0, brightness=0, contrast=0, jpeg=0)


def dataset_of(config: TrainConfig) -> CropDataset:
    return CropDataset(read_index(config.train_index[0], "crop"), ORDER, config)


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
    items = read_index(config.train_index[0], "crop")
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
    items = read_index(config.train_index[0], "crop")
    order = [draw.position for draw in EpochSampler(groups_of(items, pairs_together=True), seed=0)]
    assert len(order) == len(items)
    assert all(items[a].pair == items[b].pair for a, b in zip(order[::2], order[1::2], strict=True))
    alone = [item._replace(pair="") for item in items]
    assert groups_of(alone, pairs_together=True) == groups_of(items, pairs_together=False)


def test_of_clips_that_are_pairs_the_crops_of_one_frame_are_together(config: TrainConfig) -> None:
    item = read_index(config.train_index[0], "crop")[0]
    videos = ("000", "000_003", "000_017")  # an original and two fakes of it, three frames each; one frame had no face
    items = [
        item._replace(path=Path(video, f"{frame:06d}.png"), pair="000", label="fake" if "_" in video else "real")
        for video in videos
        for frame in (0, 12, 24)
        if (video, frame) != ("000_017", 24)
    ]
    groups = groups_of(items, pairs_together=True)
    assert [[str(items[position].path) for position in group] for group in groups] == [
        ["000/000000.png", "000_003/000000.png", "000_017/000000.png"],
        ["000/000012.png", "000_003/000012.png", "000_017/000012.png"],
        ["000/000024.png", "000_003/000024.png"],
    ]


def test_shuffled_labels_say_nothing_about_the_truth() -> None:
    columns = np.array([0] * 40 + [1] * 60)
    swapped = shuffled(columns, seed=0)
    assert swapped[columns == 0].mean() == 0.5
    assert swapped[columns == 1].mean() == 0.5
    np.testing.assert_array_equal(swapped, shuffled(columns, seed=0))
    assert (swapped != shuffled(columns, seed=1)).any()


def test_a_crop_is_varied_at_its_own_size_and_then_resized(config: TrainConfig) -> None:
    settings = OFF.model_copy(update={"jpeg": 1.0, "rotate_deg": 10.0})
    dataset = dataset_of(config.model_copy(update={"augmentation": settings}))
    own_size = read_image(dataset.items[3].path.read_bytes()).pixels
    assert own_size.shape == (48, 48, 3)
    rng = np.random.default_rng([0, 1, 3])  # seed, epoch, position
    np.testing.assert_array_equal(dataset[Draw(1, 3)][0], fit_input(augment(own_size, settings, rng), config.spec))


def test_going_on_in_mid_epoch_shows_the_rest_of_it_and_then_whole_epochs() -> None:
    config = TrainConfig.model_validate({"train_index": "a.csv", "batch_size": 4, "accumulate_batches": 2})

    def sampler(step: int) -> BatchSampler:
        return BatchSampler(EpochSampler([[n] for n in range(27)], seed=0), config, step=step)

    whole, resumed = sampler(0), sampler(4)  # 3 steps of 2 batches of 4 an epoch; 3 crops over
    assert (len(whole), len(resumed)) == (6, 6)
    epochs = []
    for epoch in range(3):
        whole.sampler.set_epoch(epoch)
        epochs.append(list(whole))
    assert list(resumed) == epochs[1][2:]  # before the trainer says which epoch it is
    resumed.sampler.set_epoch(1)
    assert list(resumed) == epochs[1][2:]
    resumed.sampler.set_epoch(2)
    assert list(resumed) == epochs[2]


def test_streams_differ_by_every_word_and_repeat() -> None:
    words = [(0, 0, 0, 3), (1, 0, 0, 3), (0, 1, 0, 3), (0, 0, 1, 3), (0, 0, 0, 4), (0, 0, 0, 4, 1)]
    assert len({stream_seed(*given) for given in words}) == len(words)
    assert stream_seed(0, 1, 2, 3) == stream_seed(0, 1, 2, 3)


def test_a_crop_that_cannot_be_read_is_named(tmp_path: Path, config: TrainConfig) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    items = [Item(tmp_path / "bad.png", "real", "", "", "")]
    with pytest.raises(ConfigError, match=r"bad\.png is no readable crop \(not_an_image"):
        CropDataset(items, ORDER, config)
