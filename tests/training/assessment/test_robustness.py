"""The distortions really distort, and as an independent implementation does."""

import io
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
from PIL import Image

from lnclip.encoder import load_run
from lnclip.index import Item, read_index
from training.assessment.robustness import PROTOCOL, add_noise, blur, compress, measure_robustness, shrink
from training.assessment.scoring import score_items

ITEM = Item(Path("d/s/v/7.png"), "fake", "v", "d", "s")
CROP = np.ascontiguousarray(skimage.data.astronaut()[80:200, 180:330])

ROUNDING = 0.5 + 1e-6
"""Grey levels."""


def test_levels_are_the_papers() -> None:
    assert [(row.distortion, row.level) for row in PROTOCOL] == [
        *(("jpeg", quality) for quality in (100, 80, 60, 40, 20, 10)),
        *(("blur", sigma) for sigma in (0, 0.5, 1, 1.5, 2, 3)),
        *(("resize", side) for side in (224, 112, 64)),
        *(("noise", sigma) for sigma in (0, 0.01, 0.03, 0.05, 0.1, 0.2)),
    ]


def test_every_level_but_the_two_clean_ones_changes_pixels() -> None:
    clean = [row for row in PROTOCOL if row.distort is None]
    assert [(row.distortion, row.level) for row in clean] == [("blur", 0), ("noise", 0)]
    for row in PROTOCOL:
        if row.distort is not None:
            found = row.distort(CROP, ITEM)
            assert found.dtype == np.uint8
            assert found.shape != CROP.shape or (found != CROP).any(), row


@pytest.mark.parametrize(("kernel", "sigma"), [(5, 0.5), (7, 1.0), (11, 1.5), (13, 2.0), (19, 3.0)])
def test_blur_is_a_gaussian_cut_off_at_the_kernel(kernel: int, sigma: float) -> None:
    expected = np.stack(
        [
            scipy.ndimage.gaussian_filter(channel.astype(float), sigma, mode="mirror", radius=kernel // 2)
            for channel in np.moveaxis(CROP, 2, 0)
        ],
        axis=2,
    )
    found = blur(CROP, ITEM, kernel=kernel, sigma=sigma).astype(float)
    assert np.abs(found - expected).max() <= ROUNDING
    assert np.abs(found - CROP).max() > 20


def test_jpeg_is_that_quality_and_lower_is_worse() -> None:
    errors = [np.abs(compress(CROP, ITEM, quality=q).astype(int) - CROP).mean() for q in (100, 80, 60, 40, 20, 10)]
    assert errors == sorted(errors)
    file = io.BytesIO()
    Image.fromarray(CROP).save(file, "JPEG", quality=20)
    np.testing.assert_array_equal(compress(CROP, ITEM, quality=20), np.asarray(Image.open(file)))


@pytest.mark.parametrize(("side", "shape"), [(64, (64, 80, 3)), (224, (224, 280, 3))])
def test_resize_makes_the_shortest_side_that_and_keeps_the_shape(side: int, shape: tuple[int, ...]) -> None:
    assert shrink(CROP, ITEM, shortest_px=side).shape == shape


def test_noise_has_its_deviation_and_is_the_crops_own() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    found = add_noise(grey, ITEM, sigma=0.05)
    assert (found / 255 - 128 / 255).std() == pytest.approx(0.05, rel=0.02)
    assert found.mean() == pytest.approx(128, abs=0.2)
    np.testing.assert_array_equal(found, add_noise(grey, ITEM._replace(path=Path("/moved/7.png")), sigma=0.05))
    assert (found != add_noise(grey, ITEM._replace(video="w"), sigma=0.05)).any()
    assert set(np.unique(add_noise(np.full((64, 64, 3), 255, np.uint8), ITEM, sigma=0.2))) >= {255, 200}


@pytest.mark.slow
def test_every_level_is_measured_and_the_clean_ones_are_the_plain_scores(random_run: Path, crops_index: Path) -> None:
    from lnclip.metrics import auroc
    from training.assessment.robustness import compress

    artifact, encoder = load_run(random_run)
    items = read_index(crops_index, "crop")[:12]
    items = [item._replace(dataset=("x", "y")[number // 6]) for number, item in enumerate(items)]
    rows = measure_robustness(encoder, artifact.identity, items, ["x", "y"], 0)
    assert [(row["distortion"], row["level"]) for row in rows] == [(row.distortion, row.level) for row in PROTOCOL]
    labels = np.array([item.label == "fake" for item in items], int)
    plain = score_items(encoder, artifact.identity, items)
    for row in rows:
        if row["level"] == 0:
            assert row["datasets"]["x"]["frame"] == auroc(labels[:6], plain[:6])
            assert row["frame"] == pytest.approx((auroc(labels[:6], plain[:6]) + auroc(labels[6:], plain[6:])) / 2)
            assert row["video"] == row["frame"]  # each crop is a video
    # One distorted level by another way: files that hold the distorted pixels.
    lossy = [(compress(np.asarray(Image.open(item.path)), item, quality=10), item) for item in items[:6]]
    folder = crops_index.parent / "lossy"
    folder.mkdir()
    moved = []
    for pixels, item in lossy:
        Image.fromarray(pixels).save(folder / item.path.name)
        moved.append(item._replace(path=folder / item.path.name))
    [row] = [row for row in rows if (row["distortion"], row["level"]) == ("jpeg", 10)]
    assert row["datasets"]["x"]["frame"] == auroc(labels[:6], score_items(encoder, artifact.identity, moved))
    assert not np.allclose(score_items(encoder, artifact.identity, moved), plain[:6], atol=1e-3)
