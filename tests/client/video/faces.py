"""Frames with faces, for tests of what is made of them."""

from __future__ import annotations

from client.rows import Face, VideoFrame


def face(x: float, p_fake: float, *, y: float = 0, side: float = 100) -> Face:
    """A square face whose left upper corner is there."""
    return Face(box=(x, y, x + side, y + side), landmarks=None, score=1.0, p_fake=p_fake)


def frames_of(*faces: list[Face]) -> list[VideoFrame]:
    """One frame of each, every fifth of the video; as the server says them with ``max``."""
    return [
        VideoFrame(
            index=5 * number, time_s=number / 5, p_fake=max((one.p_fake for one in found), default=None), faces=found
        )
        for number, found in enumerate(faces)
    ]
