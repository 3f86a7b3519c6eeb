"""The corpus of the load tests: no two files alike, the same for a seed, and faces where they are said to be."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.corpus import FACES, MIX, SIZES, Picture, write_corpus
from lnclip.detectors import load_detector
from training.data.faces import find_faces


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    return write_corpus(tmp_path_factory.mktemp("corpus"), 50)


def pixels(picture: Picture) -> np.ndarray:
    with Image.open(picture.path) as image:
        return np.asarray(image)


def test_every_file_is_a_jpeg_of_its_own_in_bytes_and_pixels(pictures: list[Picture]) -> None:
    assert len({hashlib.sha256(picture.path.read_bytes()).digest() for picture in pictures}) == 50
    decoded = [hashlib.sha256(pixels(picture).tobytes()).digest() for picture in pictures if picture.width < 2000]
    assert len(set(decoded)) == len(decoded) == 49


def test_pictures_drawn_alike_still_differ_in_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.corpus._Studio.picture", lambda *_: np.full((480, 640, 3), 90, np.uint8))
    written = write_corpus(tmp_path, 20, sizes=SIZES[:1])
    assert len({pixels(picture).tobytes() for picture in written}) == 20


def test_the_default_mix_is_dealt_in_its_shares(pictures: list[Picture]) -> None:
    assert Counter((picture.width, picture.height) for picture in pictures) == Counter(MIX)
    assert Counter(MIX) == {(640, 480): 8, (1280, 720): 33, (1920, 1080): 8, (4000, 3000): 1}
    assert Counter(picture.num_faces for picture in pictures) == {0: 10, 1: 20, 2: 10, 4: 10}
    assert sum(FACES) / len(FACES) == 1.6


def test_files_are_as_large_as_photographs_and_as_they_are_said_to_be(pictures: list[Picture]) -> None:
    for picture in pictures:
        with Image.open(picture.path) as image:
            assert (image.format, image.size) == ("JPEG", (picture.width, picture.height))
            assert image.layer[0][1:3] == (2, 2), "4:2:0: luma has twice the samples of chroma both ways"
        assert 0.1 < picture.path.stat().st_size / (picture.width * picture.height) < 0.5


def test_a_seed_gives_the_same_files_again_and_another_gives_others(tmp_path: Path) -> None:
    first, again, other = (
        [picture.path.read_bytes() for picture in write_corpus(tmp_path / name, 6, seed=seed, sizes=SIZES[:2])]
        for name, seed in (("first", 3), ("again", 3), ("other", 4))
    )
    assert first == again
    assert not set(first) & set(other)


@pytest.mark.slow
def test_the_planted_faces_are_found(tmp_path: Path, detector_folder: Path) -> None:
    detector = load_detector(detector_folder)
    written = write_corpus(tmp_path / "corpus", 10, sizes=SIZES[:2])
    found = [int((find_faces(pixels(picture), detector).scores > 0.9).sum()) for picture in written]
    assert found == [picture.num_faces for picture in written]


@pytest.mark.parametrize(("sizes", "faces"), [(((320, 240),), (1,)), (SIZES, (5,))])
def test_refuses_what_does_not_fit(tmp_path: Path, sizes: tuple, faces: tuple) -> None:
    with pytest.raises(ValueError, match="512 px wide or more and have at most 4 faces"):
        write_corpus(tmp_path, 1, sizes=sizes, faces=faces)
