"""Every step against torchvision on a PIL image, with the same random numbers, and against numbers by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as torchvisions

from training.augmentation import Draw, augment, blurred, compressed
from training.config import Augmentation

OFF = {"flip": 0, "rotate_deg": 0, "shift": 0, "zoom": 0, "blur": 0, "brightness": 0, "contrast": 0, "jpeg": 0}
BLUR_TOLERANCE = 1
"""torchvision sums the two-dimensional kernel, we one axis after the other: a tie may round the other way."""

AFFINE = {"rotate_deg": 10, "shift": 0.1, "zoom": 0.1}
TONES = {"brightness": 0.1, "contrast": 0.1}


@pytest.fixture(scope="module")
def crop(astronaut):
    """(90, 70, 3): not square, so that a swapped axis shows."""
    return np.ascontiguousarray(astronaut[60:150, 180:250])


def only(**settings):
    return Augmentation.model_validate(OFF | settings)


def drawn(seed):
    return Draw(*np.random.default_rng(seed).random(len(Draw._fields)).tolist())


def plus_minus(limit, share):
    return (2 * share - 1) * limit


def augmented(crop, settings, seed):
    return augment(crop, settings, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_the_affine_warp_is_torchvisions(crop, seed, interpolation):
    draw, (height, width) = drawn(seed), crop.shape[:2]
    expected = torchvisions.affine(
        Image.fromarray(crop),
        angle=plus_minus(10, draw.angle),
        translate=[round(plus_minus(0.1 * width, draw.across)), round(plus_minus(0.1 * height, draw.down))],
        scale=1 + plus_minus(0.1, draw.zoom),
        shear=[0.0, 0.0],
        interpolation=InterpolationMode(interpolation),
    )
    ours = augmented(crop, only(**AFFINE, interpolation=interpolation), seed)
    np.testing.assert_array_equal(ours, np.asarray(expected))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kernel", [(7, 7), (3, 7)])
def test_the_blur_is_torchvisions(crop, seed, kernel):
    """A kernel of 3 and 7 is 3 wide and 7 high; the border's pixels are mirrored."""
    sigma = 0.1 + 1.9 * drawn(seed).sigma
    expected = np.asarray(torchvisions.gaussian_blur(Image.fromarray(crop), list(kernel), [sigma, sigma]))
    ours = augmented(crop, only(blur=1, blur_kernel=kernel), seed)
    difference = np.abs(ours.astype(int) - expected)
    assert difference.max() <= BLUR_TOLERANCE
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("seed", range(10))
def test_brightness_and_contrast_are_torchvisions_in_the_drawn_order(crop, seed):
    draw, image = drawn(seed), Image.fromarray(crop)
    steps = [
        lambda image: torchvisions.adjust_brightness(image, 1 + plus_minus(0.1, draw.brightness)),
        lambda image: torchvisions.adjust_contrast(image, 1 + plus_minus(0.1, draw.contrast)),
    ]
    for step in reversed(steps) if draw.contrast_first < 0.5 else steps:
        image = step(image)
    np.testing.assert_array_equal(augmented(crop, only(**TONES), seed), np.asarray(image))


def test_both_orders_of_brightness_and_contrast_are_drawn():
    assert {drawn(seed).contrast_first < 0.5 for seed in range(10)} == {True, False}


@pytest.mark.parametrize("seed", range(10))
def test_jpeg_is_what_pil_saves_at_the_drawn_quality(crop, seed):
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "JPEG", quality=40 + int(61 * drawn(seed).quality))
    ours = augmented(crop, only(jpeg=1), seed)
    np.testing.assert_array_equal(ours, np.asarray(Image.open(file)))


def test_jpeg_halves_the_resolution_of_colours():
    """Columns of red and blue, of one luminance nearly, come back as one colour even at quality 100."""
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 200, 200
    back = compressed(stripes, 100).astype(int)
    chroma = back[..., 0] - back[..., 2]
    assert np.ptp(chroma[4:12, 4:12]) < 20


def test_both_ends_of_the_quality_are_drawn(crop):
    low, high = compressed(crop, 40), compressed(crop, 41)
    settings = only(jpeg=1, jpeg_quality=(40, 41))
    seen = [augmented(crop, settings, seed) for seed in range(20)]
    assert all(np.array_equal(pixels, low) or np.array_equal(pixels, high) for pixels in seen)
    assert any(np.array_equal(pixels, low) for pixels in seen)
    assert any(np.array_equal(pixels, high) for pixels in seen)


def test_blur_spreads_a_point_by_the_gaussian():
    """Sigma 1: weights 1, 0.6065, 0.1353, 0.0111, over their sum of 2.2131 three wide and 2.5059 seven high."""
    point = np.zeros((9, 9, 3), np.uint8)
    point[4, 4] = 255
    out = blurred(point, (3, 7), 1.0)[..., 0]
    across, along = [0.2741, 0.4519, 0.2741], [0.0044, 0.0540, 0.2420, 0.3991, 0.2420, 0.0540, 0.0044]
    np.testing.assert_allclose(out[1:8, 3:6], 255 * np.outer(along, across), atol=0.55)
    assert not out[:, :3].any()
    assert not out[:, 6:].any()


def test_a_quarter_turn_takes_the_top_right_corner_down():
    """Positive angles turn clockwise, as on the screen: y runs down."""
    crop = np.zeros((4, 4, 3), np.uint8)
    crop[0, 3] = 255
    draws = np.array(list(Draw(**dict.fromkeys(Draw._fields, 0.5))))
    draws[Draw._fields.index("angle")] = 1

    class Fixed:
        def random(self, count):
            return draws

    turned = augment(crop, only(rotate_deg=90), Fixed())
    assert np.argwhere(turned[..., 0]).tolist() == [[3, 3]]


def test_outside_is_black(crop):
    white = np.full_like(crop, 255)
    corners = [augmented(white, only(**AFFINE), seed)[[0, 0, -1, -1], [0, -1, 0, -1], 0] for seed in range(10)]
    assert set(np.ravel(corners).tolist()) == {0, 255}


def test_a_mirrored_crop_is_mirrored_left_to_right(crop):
    np.testing.assert_array_equal(augmented(crop, only(flip=1), 0), crop[:, ::-1])


def test_everything_off_changes_nothing(crop):
    np.testing.assert_array_equal(augmented(crop, only(), 0), crop)


@pytest.mark.parametrize("settings", [{}, {"flip": 1}, {"blur": 1}, {"jpeg": 1}, AFFINE, TONES], ids=str)
def test_a_step_never_changes_what_the_generator_gives_next(crop, settings):
    """One number per field, whatever is on."""
    used, counted = np.random.default_rng(7), np.random.default_rng(7)
    augment(crop, only(**settings), used)
    counted.random(len(Draw._fields))
    assert used.random() == counted.random()


def test_the_steps_follow_one_another_in_the_papers_order(crop):
    settings, seed = only(flip=1, **AFFINE, blur=1, **TONES, jpeg=1), 3
    expected = crop
    for step in ({"flip": 1}, AFFINE, {"blur": 1}, TONES, {"jpeg": 1}):
        expected = augmented(expected, only(**step), seed)
    np.testing.assert_array_equal(augmented(crop, settings, seed), expected)


@pytest.mark.parametrize(("step", "probability"), [("flip", 0.5), ("blur", 0.1), ("jpeg", 0.3)])
def test_steps_are_taken_as_often_as_they_are_told(crop, step, probability):
    settings = only(**{step: probability}, jpeg_quality=(40, 40), blur_sigma=(2, 2))
    changed = [not np.array_equal(augmented(crop, settings, seed), crop) for seed in range(400)]
    assert np.mean(changed) == pytest.approx(probability, abs=0.08)


def test_steps_are_taken_independently(crop):
    """Half of the time each of three: all eight combinations occur."""
    settings = only(flip=0.5, blur=0.5, jpeg=0.5)
    seen = {tuple(share < 0.5 for share in (drawn(s).flip, drawn(s).blur, drawn(s).jpeg)) for s in range(80)}
    assert len(seen) == 8
    for seed in range(20):
        taken = {"flip": drawn(seed).flip < 0.5, "blur": drawn(seed).blur < 0.5, "jpeg": drawn(seed).jpeg < 0.5}
        expected = augmented(crop, only(**taken), seed)
        np.testing.assert_array_equal(augmented(crop, settings, seed), expected)


def test_one_draw_gives_the_same_pixels_and_another_others(crop):
    settings = Augmentation()
    np.testing.assert_array_equal(augmented(crop, settings, 4), augmented(crop, settings, 4))
    assert not np.array_equal(augmented(crop, settings, 4), augmented(crop, settings, 5))


def test_size_and_type_are_kept_and_the_crop_itself_untouched(crop):
    before = crop.copy()
    out = augmented(crop, Augmentation(blur=1), 0)
    assert (out.shape, out.dtype) == (crop.shape, np.uint8)
    np.testing.assert_array_equal(crop, before)
