from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lnclip.detectors import load_detector
from lnclip.errors import ConfigError, ImageError
from lnclip.index import read_index
from lnclip.intake import read_image
from lnclip.metrics import auroc
from training.data.demo_data import Split, write_demo_data
from training.data.faces import find_faces

SPLITS = (Split("train", ("astronaut", "grace_hopper"), 60), Split("test", ("astronaut", "grace_hopper"), 3))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, detector_folder: Path) -> Path:
    out = tmp_path_factory.mktemp("demo")
    write_demo_data(out, detector_folder, 0, SPLITS)
    return out


def high_frequencies(pixels: np.ndarray) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def test_nothing_trivial_tells_the_twins_apart(data: Path) -> None:
    items = read_index(data / "train.csv", "image")
    is_fake = np.array([item.label == "fake" for item in items], int)
    pictures = [np.asarray(Image.open(item.path)) for item in items]
    statistics = {
        "file size": [item.path.stat().st_size for item in items],
        "width": [picture.shape[1] for picture in pictures],
        "red": [picture[..., 0].mean() for picture in pictures],
        "green": [picture[..., 1].mean() for picture in pictures],
        "blue": [picture[..., 2].mean() for picture in pictures],
        "saturation": [np.ptp(picture.mean(axis=(0, 1))) for picture in pictures],
        "contrast": [picture.std() for picture in pictures],
        "high frequencies": [high_frequencies(picture) for picture in pictures],
        "colour of the middle": [picture[100:140, 100:140, 0].mean() for picture in pictures],
    }
    for name, values in statistics.items():
        # 120 twins: chance alone gives 0.5 +- 0.04; twins share what their draw has at random.
        assert abs(auroc(is_fake, np.array(values, float)) - 0.5) < 0.1, name


def test_every_pair_has_both_twins_of_one_size(data: Path) -> None:
    pairs: dict[str, list] = {}
    for item in read_index(data / "test.csv", "image"):
        pairs.setdefault(item.pair, []).append(item)
    assert len(pairs) == 6
    for real, fake in pairs.values():
        assert (real.label, real.source, fake.label, fake.source) == ("real", "pristine", "fake", "self-blended")
        assert Image.open(real.path).size == Image.open(fake.path).size


def test_splits_share_no_draw(data: Path) -> None:
    contents = [item.path.read_bytes() for split in SPLITS for item in read_index(data / f"{split.name}.csv", "image")]
    assert len(set(contents)) == len(contents)


def test_the_same_seed_gives_the_same_media(data: Path, detector_folder: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_demo_data(tmp_path / str(seed), detector_folder, seed, (Split("train", ("astronaut",), 1),))
    name = Path("train", "astronaut-000-fake.jpg")
    assert (tmp_path / "0" / name).read_bytes() == (data / name).read_bytes()
    assert (tmp_path / "1" / name).read_bytes() != (data / name).read_bytes()


def test_media_are_never_overwritten(data: Path, detector_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.csv is there already"):
        write_demo_data(data, detector_folder, 0, SPLITS)


def test_faces_are_found_in_the_media_and_the_extras_are_what_they_say(data: Path, detector_folder: Path) -> None:
    detector = load_detector(detector_folder)

    def num_faces(path: Path) -> int:
        return len(find_faces(read_image(path.read_bytes()).pixels, detector).scores)

    assert [num_faces(item.path) for item in read_index(data / "test.csv", "image")] == [1] * 12
    extra = data / "extra"
    assert {path.name for path in extra.iterdir()} == {"no-face.jpg", "group.jpg", "truncated.jpg", "text.jpg"}
    assert num_faces(extra / "no-face.jpg") == 0
    assert num_faces(extra / "group.jpg") == 2
    for name, code in (("truncated.jpg", "truncated"), ("text.jpg", "not_an_image")):
        with pytest.raises(ImageError) as caught:
            read_image((extra / name).read_bytes())
        assert caught.value.code == code
