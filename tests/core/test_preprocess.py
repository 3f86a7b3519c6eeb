import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from lnclip.detection import Detections
from lnclip.preprocess import align, cut_faces, fit_input, normalise
from lnclip.spec import PreprocessSpec
from tests.conftest import ASTRONAUT_POINTS

# (value / 255 - mean) / std, written out by hand for OpenAI CLIP's published statistics.
GOLDEN = {0: (-1.7923, -1.7521, -1.4802), 255: (1.9303, 2.0749, 2.1459)}


@pytest.mark.parametrize("value", GOLDEN)
def test_normalise_matches_openai_clip(value, spec):
    [pixels_CHW] = normalise(np.full((1, 2, 2, 3), value, np.uint8), spec)
    np.testing.assert_allclose(pixels_CHW[:, 0, 0], GOLDEN[value], atol=1e-4)


def test_normalise_gives_contiguous_planes(spec):
    pixels_NCHW = normalise(np.zeros((2, 4, 6, 3), np.uint8), spec)
    assert pixels_NCHW.shape == (2, 3, 4, 6)
    assert pixels_NCHW.dtype == np.float32
    assert pixels_NCHW.flags.c_contiguous


@pytest.mark.parametrize("size", [(300, 300), (97, 97), (640, 333), (333, 640), (225, 224), (224, 224)])
def test_fit_input_equals_torchvision_on_pil_images(size, spec):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    clip = v2.Compose([v2.Resize(224, interpolation=v2.InterpolationMode.BICUBIC), v2.CenterCrop(224)])
    np.testing.assert_array_equal(fit_input(picture, spec), np.asarray(clip(Image.fromarray(picture))))


def test_fit_input_squashes_for_a_bilinear_encoder():
    picture = np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    fitted = fit_input(picture, PreprocessSpec(resize="antialiased_bilinear", input_px=32))
    expected = v2.functional.resize(torch.from_numpy(picture).permute(2, 0, 1), [32, 32], antialias=True)
    assert np.abs(fitted.astype(int) - expected.permute(1, 2, 0).numpy()).max() <= 1


def test_align_puts_the_landmarks_where_the_template_says(astronaut, spec):
    marked = np.zeros_like(astronaut)
    for x, y in ASTRONAUT_POINTS:
        marked[y - 1 : y + 2, x - 1 : x + 2] = 255
    crop = align(marked, np.array(ASTRONAUT_POINTS, np.float32), PreprocessSpec(crop_px=256, estimator="least_squares"))
    for x, y in spec.template:
        column, row = 256 * (0.5 + (np.array([x, y]) - 0.5) / 1.3)
        around = crop[int(row) - 14 : int(row) + 15, int(column) - 14 : int(column) + 15]
        assert around.max() > 128, f"no mark near {x}, {y}"


def test_align_keeps_the_faces_own_size_unless_told(astronaut, spec):
    points = np.array(ASTRONAUT_POINTS, np.float32)
    native = align(astronaut, points, spec)
    assert 120 < native.shape[0] < 200
    assert align(astronaut, points, PreprocessSpec(crop_px=256)).shape == (256, 256, 3)


def test_crops_leave_the_frame_in_black(astronaut, spec):
    corner = np.array(ASTRONAUT_POINTS, np.float32) - [206, 100]
    assert (align(astronaut, corner, spec)[:5, :5] == 0).all()


def test_golden_crop_of_the_astronaut(astronaut, spec):
    """Means by column thirds and row thirds, noted when the crop was looked at and found upright and centred."""
    face = Detections(np.zeros((1, 4), np.float32), np.array([ASTRONAUT_POINTS], np.float32), np.ones(1, np.float32))
    [crop] = cut_faces(astronaut, face, 0, spec).crops
    blocks = crop[:222, :222].reshape(3, 74, 3, 74, 3).mean(axis=(1, 3, 4))
    np.testing.assert_allclose(blocks, [[132.7, 125.1, 109.8], [136.0, 169.8, 78.8], [123.9, 167.7, 191.7]], atol=0.5)


def faces_of(frame, points, box, score, spec):
    one = Detections(np.array([box], np.float32), np.array([points], np.float32), np.array([score], np.float32))
    return cut_faces(frame, one, 0, spec).flags


def test_flags_say_what_is_unusual_about_a_face(astronaut, spec):
    box = (181, 62, 268, 172)
    large = np.asarray(Image.fromarray(astronaut).resize((1024, 1024)))
    doubled = np.array(ASTRONAUT_POINTS) * 2
    assert faces_of(large, doubled, np.array(box) * 2, 0.99, spec) == [""]
    assert faces_of(large, doubled, (0, 62, 268, 172), 0.99, spec) == ["touches_border"]
    assert faces_of(large, doubled, np.array(box) * 2, 0.92, spec) == ["low_score"]
    tiny = np.asarray(Image.fromarray(astronaut).resize((128, 128)))
    assert faces_of(tiny, np.array(ASTRONAUT_POINTS) / 4, np.array(box) / 4, 0.99, spec) == ["small blurred"]


def test_no_face_gives_an_empty_stack(astronaut, spec):
    nobody = Detections(np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32))
    assert cut_faces(astronaut, nobody, 0, spec).crops.shape == (0, 224, 224, 3)
