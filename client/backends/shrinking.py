"""``--max-side``: images that are larger than wanted are shrunk here, and their answers enlarged again.

What is sent is lossless, so that nothing but the resize stands between the original and the server.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from client.answers import ImageAnswer, short_float
from client.rows import Face
from lnclip.errors import ImageError
from lnclip.intake import MIN_SIDE_PX, read_image


class Shrunk(NamedTuple):
    """A smaller image in place of a larger one."""

    image: bytes
    """BMP."""

    size: tuple[int, int]
    """Its width and height."""

    original_size: tuple[int, int]
    """Of the upright original, likewise."""

    warnings: tuple[str, ...]
    """Of the original; the BMP has none of its own."""

    @property
    def scale(self) -> float:
        """Its pixels for one of the original's, along the longer side."""
        return max(self.size) / max(self.original_size)

    def enlarge(self, answer: ImageAnswer) -> ImageAnswer:
        """What was said of the smaller image, as it holds for the original.

        Sides are whole pixels, so the two axes differ a little in scale: each is mapped by its own.
        """
        x, y = (original / small for original, small in zip(self.original_size, self.size, strict=True))
        width, height = self.original_size
        return answer._replace(
            faces=tuple(_enlarged(face, x, y) for face in answer.faces),
            width=width,
            height=height,
            warnings=(*self.warnings, *answer.warnings),
        )


def shrink(image: bytes, max_side: int) -> Shrunk | None:
    """Bring an image's longer side to ``max_side`` pixels, antialiased; computes.

    Args:
        image: a file's bytes.
        max_side: pixels.

    Returns:
        None where the file is to be sent as it is: it is small enough, it is so narrow that its other
        side would become too short to be read, or it cannot be read and the server says why.
    """
    try:
        frame = read_image(image)
    except ImageError:
        return None
    height, width = frame.pixels.shape[:2]
    factor = max_side / max(width, height)
    size = (round(width * factor), round(height * factor))
    if factor >= 1 or min(size) < MIN_SIDE_PX:
        return None
    file = io.BytesIO()
    Image.fromarray(frame.pixels).resize(size, Image.Resampling.BICUBIC).save(file, "BMP")
    return Shrunk(file.getvalue(), size, (width, height), frame.warnings)


def _enlarged(face: Face, x: float, y: float) -> Face:
    if face.box is None or face.landmarks is None:
        return face
    x1, y1, x2, y2 = face.box
    return face.model_copy(
        update={
            "box": (_times(x1, x), _times(y1, y), _times(x2, x), _times(y2, y)),
            "landmarks": tuple((_times(px, x), _times(py, y)) for px, py in face.landmarks),
        }
    )


def _times(coordinate: float, factor: float) -> float:
    """As precise as the FP32 number that it was."""
    return short_float(np.float32(coordinate * factor))
