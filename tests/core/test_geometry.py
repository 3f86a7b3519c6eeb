import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from lnclip.errors import ImageError
from lnclip.geometry import native_side_px, similarity_matrix, target_landmarks
from lnclip.spec import PreprocessSpec

LEAST_SQUARES = PreprocessSpec(estimator="least_squares")
FACE = np.array([[206, 101], [245, 100], [229, 122], [207, 137], [248, 136]], np.float32)


def deepfakebench_landmarks(spec: PreprocessSpec, side: int) -> np.ndarray:
    """The margin arithmetic of DeepfakeBench's preprocess.py, step by step."""
    landed = np.array(spec.template) * side
    margin = side * (spec.crop_scale - 1) / 2
    return (landed + margin) * side / (side + 2 * margin)


@pytest.mark.parametrize("crop_scale", [1.0, 1.3, 2.0])
def test_target_landmarks_match_deepfakebench(crop_scale):
    spec = PreprocessSpec(crop_scale=crop_scale)
    np.testing.assert_allclose(target_landmarks(spec, 256), deepfakebench_landmarks(spec, 256))


def test_target_landmarks_match_the_published_numbers():
    # GenD at s = 1.3, side 256: worked out by hand from the template and rounded.
    expected = [[96.5, 120.1], [159.5, 120.1], [128.0, 155.6], [102.4, 191.0], [153.6, 191.0]]
    np.testing.assert_allclose(target_landmarks(PreprocessSpec(), 256), expected, atol=0.05)


def test_native_side_keeps_the_face_at_its_own_resolution():
    # A face that is the template itself, 100 pixels large, needs 1.3 x 100 pixels.
    assert native_side_px(np.array(PreprocessSpec().template) * 100, PreprocessSpec()) == 130


@pytest.mark.parametrize("spec", [PreprocessSpec(), LEAST_SQUARES], ids=["lmeds", "least_squares"])
def test_similarity_recovers_a_known_transform(spec):
    angle, scale, shift = 0.3, 1.7, np.array([5.0, -3.0])
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    fitted = similarity_matrix(FACE, FACE @ matrix.T + shift, spec)
    np.testing.assert_allclose(fitted, np.column_stack([matrix, shift]), atol=1e-4)  # LMEDS: OpenCV refines in float32


def test_least_squares_matches_scikit_image():
    target = target_landmarks(LEAST_SQUARES, 256)
    expected = SimilarityTransform.from_estimate(FACE, target).params[:2]
    np.testing.assert_allclose(similarity_matrix(FACE, target, LEAST_SQUARES), expected, atol=1e-9)


def test_lmeds_ignores_one_wild_landmark_and_least_squares_does_not():
    target = FACE * 2
    wild = FACE.copy()
    wild[2] += 30
    true = np.array([[2, 0, 0], [0, 2, 0]])
    np.testing.assert_allclose(similarity_matrix(wild, target, PreprocessSpec()), true, atol=1e-3)
    assert np.abs(similarity_matrix(wild, target, LEAST_SQUARES) - true).max() > 1


@pytest.mark.parametrize("spec", [PreprocessSpec(), LEAST_SQUARES], ids=["lmeds", "least_squares"])
def test_coinciding_landmarks_are_an_error_with_a_code(spec):
    with pytest.raises(ImageError, match=r"^degenerate_landmarks: "):
        similarity_matrix(np.full((5, 2), 7.0), FACE, spec)
