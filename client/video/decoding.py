"""One going-through of a video file, frame by wanted frame. Blocking: for a thread."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from lnclip.picture import Pixels, upright
from lnclip.video import Video


@dataclass(frozen=True)
class Picture:
    """A frame ready to be sent."""

    index: int
    start_s: float
    end_s: float
    image: bytes | None
    """A BMP file: lossless, and made and read faster than PNG. None for a frame that was decoded in part."""

    unusual: tuple[str, ...]
    """Words for warnings."""


class Decoding:
    """Goes on from where it was left, in whichever thread; one call at a time."""

    def __init__(self, video: Video) -> None:
        """Nothing is opened before the first ``read``."""
        self._frames = video.frames()
        self.num_frames = 0
        """Decoded so far."""

        self._is_stopped = False

    def read(self, index: int | None) -> Picture | None:
        """Decode on to a frame, or to the end: None where that comes first.

        Raises:
            ImageError: as ``Video.frames`` and ``upright``.
        """
        for frame in self._frames:
            if self._is_stopped:
                break
            self.num_frames += 1
            if self.num_frames - 1 == index:
                image = None if frame.is_corrupt else as_bmp(upright(frame))
                return Picture(index, frame.start_s, frame.end_s, image, frame.unusual)
        return None

    def stop(self) -> None:
        """A call under way ends at its next frame. The file is closed when nobody holds this any more."""
        self._is_stopped = True


def as_bmp(pixels_HWC: Pixels) -> bytes:
    """RGB as a BMP file."""
    file = io.BytesIO()
    Image.fromarray(pixels_HWC).save(file, "BMP")
    return file.getvalue()
