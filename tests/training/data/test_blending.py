import numpy as np
import pytest

from lnclip.geometry import native_side_px
from training.data.blending import TIGHT, Photograph, Recipe, draw_twins, face_mask

ASTRONAUT = [[206, 101], [245, 100], [229, 122], [207, 137], [248, 136]]


@pytest.fixture
def photograph(astronaut: np.ndarray) -> Photograph:
    return Photograph("astronaut", astronaut, np.array(ASTRONAUT, np.float32))


def test_twins_are_equal_far_outside_the_mask_or_differ_as_a_whole(photograph: Photograph) -> None:
    equal_outside = []
    for seed in range(12):
        twins = draw_twins(photograph, Recipe(), np.random.default_rng(seed))
        assert twins.real.shape == twins.fake.shape == (*twins.mask.shape, 3)
        difference = np.abs(twins.real.astype(int) - twins.fake).max(axis=2)
        outside, inside = difference[twins.mask < 1e-3].max(), difference[twins.mask > 0.999].max()
        assert min(outside, inside) <= 1  # rounding; the real twin wears one of the fake's two versions
        assert max(outside, inside) > 15
        equal_outside.append(outside <= 1)
    assert 2 < sum(equal_outside) < 10  # either of them


def test_a_recipe_without_changes_gives_equal_twins(photograph: Photograph) -> None:
    twins = draw_twins(photograph, Recipe(colour_levels=(0, 0), displacement=0), np.random.default_rng(0))
    np.testing.assert_array_equal(twins.real, twins.fake)


def test_the_two_versions_differ_by_the_levels_asked_for(photograph: Photograph) -> None:
    recipe = Recipe(colour_levels=(30, 30), displacement=0, whole_levels=0, contrast=0)
    for seed in range(6):
        twins = draw_twins(photograph, recipe, np.random.default_rng(seed))
        difference = (twins.real.astype(int) - twins.fake)[(twins.mask > 0.999) | (twins.mask < 1e-3)]
        assert np.abs(difference).max() in (29, 30, 31)


def test_the_mask_is_a_soft_oval_inside_the_face() -> None:
    landmarks = np.array(ASTRONAUT, np.float64)
    face_px, (x, y) = native_side_px(landmarks, TIGHT), landmarks.mean(axis=0)
    for seed in range(10):
        mask = face_mask(landmarks, (512, 512), 0.03, np.random.default_rng(seed))
        assert mask.min() >= 0
        assert mask.max() <= 1
        rows, columns = np.nonzero(mask > 0.5)
        assert mask[landmarks[:3, 1].astype(int), landmarks[:3, 0].astype(int)].min() > 0.5  # eyes and nose
        assert np.hypot(columns - x, rows - y).max() < 0.75 * face_px  # within the crop that the network sees
        assert 0.3 * face_px**2 < mask.sum() < 0.8 * face_px**2
        assert ((mask > 0.05) & (mask < 0.95)).any()


def test_masks_differ_between_draws() -> None:
    first, second = (
        face_mask(np.array(ASTRONAUT, float), (512, 512), 0.03, np.random.default_rng(seed)) for seed in (0, 1)
    )
    assert (np.abs(first - second) > 0.5).sum() > 100
