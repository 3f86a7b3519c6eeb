"""JPEG files to measure with: made from photographs of installed packages, no two alike.

They have the sizes, the faces and about the bytes of photographs, so decoding, searching and cutting cost what they
cost in use. What a model says about them means nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.demo_data import photograph_pixels

Card = TypeVar("Card")

SIZES = ((640, 480), (1280, 720), (1920, 1080), (4000, 3000))
"""(width, height) in pixels."""

MIX = (*(SIZES[0],) * 8, *(SIZES[1],) * 33, *(SIZES[2],) * 8, SIZES[3])
"""16 % VGA, 66 % of 1280x720, 16 % of 1920x1080 and 2 % of 12 MP: one of each fifty."""

FACES = (0, 1, 1, 2, 4)
"""One picture in five has nobody in it, two have one face, one has two and one has four: 1.6 each."""

QUALITY = 90
NOISE = 4.0
"""Standard deviation, grey levels: enlarged photographs are smooth, and smooth files are small and quick to decode."""

BLOCK_PX, SPARE_PX = 1024, 256
"""The grain is laid on in blocks, each from another place of a larger one."""

BACKGROUNDS = ("coffee", "rocket", "immunohistochemistry", "hubble_deep_field", "gravel")
HEADS = {"astronaut": (110, 0, 220), "grace_hopper": (120, 30, 260)}
"""Where a head is in its photograph: left, top and side of a square, pixels. The face is about half as wide."""

MOST_FACES = 4

HEAD_SHARE = (0.17, 0.30)
"""Side of a planted head, of the picture's longer side: its face is 50 px wide or more in a letterbox of 640."""

BITS, BIT_PX = 32, 16
"""The file's number stands in its top left corner, a block of pixels for each bit: it survives the JPEG, so no two
pictures can have the same pixels."""


class Picture(NamedTuple):
    """One file of a corpus."""

    path: Path
    width: int
    height: int
    num_faces: int
    """Planted, none over another, large enough to be found."""


def write_corpus(
    folder: Path,
    number: int,
    *,
    seed: int = 0,
    sizes: Sequence[tuple[int, int]] = MIX,
    faces: Sequence[int] = FACES,
) -> list[Picture]:
    """Write JPEGs of quality 90 with 4:2:0 chroma; the same ones for the same arguments.

    Args:
        folder: made if it is not there; files of the same names are replaced.
        number: of files.
        seed: of all that is drawn.
        sizes: (width, height), 512 px wide or more; dealt like a pack of cards that is shuffled anew when it is used
            up, so one that stands here twice comes twice as often. By default ``MIX``.
        faces: how many faces a picture has, at most ``MOST_FACES``; dealt likewise.

    Raises:
        ValueError: a size that is too narrow, or more faces than fit.
    """
    if min(width for width, _ in sizes) < BITS * BIT_PX or max(faces) > MOST_FACES:
        raise ValueError(f"pictures are {BITS * BIT_PX} px wide or more and have at most {MOST_FACES} faces")
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    studio = _Studio.of_photographs()
    sides, counts = _deal(sizes, draw), _deal(faces, draw)
    pictures = []
    for index in range(number):
        (width, height), num_faces = next(sides), next(counts)
        pixels = studio.picture((width, height), num_faces, np.random.default_rng([seed, index]))
        _sign(pixels, index)
        path = folder / f"{index:06}.jpg"
        path.write_bytes(_jpeg(pixels))
        pictures.append(Picture(path, width, height, num_faces))
    return pictures


class _Studio(NamedTuple):
    """What pictures are put together from, RGB."""

    backgrounds: list[NDArray[np.uint8]]
    heads: list[NDArray[np.uint8]]
    brighter: NDArray[np.uint8]
    darker: NDArray[np.uint8]
    """The two halves of the grain, each (BLOCK_PX + SPARE_PX) squared: a block cuts its own window."""

    @classmethod
    def of_photographs(cls) -> _Studio:
        backgrounds = [photograph_pixels(name) for name in BACKGROUNDS]
        heads = []
        for name, (left, top, side) in HEADS.items():
            heads.append(photograph_pixels(name)[top : top + side, left : left + side])
        noise = np.round(np.random.default_rng(0).normal(0, NOISE, (BLOCK_PX + SPARE_PX, BLOCK_PX + SPARE_PX, 3)))
        return cls(backgrounds, heads, np.maximum(noise, 0).astype(np.uint8), np.maximum(-noise, 0).astype(np.uint8))

    def picture(self, size: tuple[int, int], num_faces: int, draw: np.random.Generator) -> NDArray[np.uint8]:
        """A background cut and toned at random, with heads in columns of their own."""
        width, height = size
        pixels = _toned(_cut(self.backgrounds[draw.integers(len(self.backgrounds))], size, draw), draw)
        column = width // max(num_faces, 1)
        for number in range(num_faces):
            largest = min(HEAD_SHARE[1] * width, 0.95 * column, 0.9 * height)
            side = int(draw.uniform(min(HEAD_SHARE[0] * max(size), largest), largest))
            left = number * column + int(draw.integers(column - side))
            top = int(draw.integers(2 * BIT_PX, height - side))
            _plant(pixels, self.heads[draw.integers(len(self.heads))], (left, top, side), draw)
        self._grain(pixels, draw)
        return pixels

    def _grain(self, pixels: NDArray[np.uint8], draw: np.random.Generator) -> None:
        height, width = pixels.shape[:2]
        for top, left in itertools.product(range(0, height, BLOCK_PX), range(0, width, BLOCK_PX)):
            block = pixels[top : top + BLOCK_PX, left : left + BLOCK_PX]
            down, right = draw.integers(0, SPARE_PX, 2)
            window = np.s_[down : down + block.shape[0], right : right + block.shape[1]]
            block[:] = cv2.subtract(cv2.add(block, self.brighter[window]), self.darker[window])


def _deal(pack: Sequence[Card], draw: np.random.Generator) -> Iterator[Card]:
    while True:
        for place in draw.permutation(len(pack)):
            yield pack[place]


def _cut(photo: NDArray[np.uint8], size: tuple[int, int], draw: np.random.Generator) -> NDArray[np.uint8]:
    """A window of the photograph in the picture's proportions, enlarged to its size."""
    rows, columns = photo.shape[:2]
    widest = min(columns, rows * size[0] / size[1])
    width = widest * draw.uniform(0.6, 1.0)
    height = width * size[1] / size[0]
    left, top = draw.uniform(0, columns - width), draw.uniform(0, rows - height)
    window = photo[int(top) : int(top + height), int(left) : int(left + width)]
    return np.asarray(cv2.resize(window, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _toned(pixels: NDArray[np.uint8], draw: np.random.Generator) -> NDArray[np.uint8]:
    """Another brightness for each channel, mirrored every other time."""
    gains, shift = draw.uniform(0.6, 1.2, 3), draw.uniform(-20, 20)
    curve = np.clip(np.arange(256)[:, None] * gains + shift, 0, 255).astype(np.uint8)
    toned = cv2.LUT(pixels, curve[None])
    return np.asarray(cv2.flip(toned, 1) if draw.random() < 0.5 else toned, np.uint8)


def _plant(
    pixels: NDArray[np.uint8], head: NDArray[np.uint8], place: tuple[int, int, int], draw: np.random.Generator
) -> None:
    """Put a head at (left, top, side), its corners faded into the background."""
    left, top, side = place
    gain = draw.uniform(0.75, 1.2)
    resized = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA if side < len(head) else cv2.INTER_LINEAR)
    patch = cv2.flip(resized, 1) if draw.random() < 0.5 else resized
    across = np.linspace(-1, 1, side, dtype=np.float32)
    away = np.hypot(across[:, None], across[None])[:, :, None]
    weight = np.clip((1.15 - away) / 0.15, 0, 1)
    window = pixels[top : top + side, left : left + side]
    window[:] = cv2.add(np.minimum(weight * gain * patch, 255), (1 - weight) * window, dtype=cv2.CV_8U)


def _sign(pixels: NDArray[np.uint8], number: int) -> None:
    bits = [number >> place & 1 for place in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8) * 160 + 48, BIT_PX)
    pixels[:BIT_PX, : len(row)] = row[None, :, None]


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    _, encoded = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *sampling])
    return encoded.tobytes()
