"""One image or video in, aligned crops out, as the server would cut them: of each frame one face.

It is the largest; where there is a mask, the one that was manipulated.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
from PIL import Image

from lnclip.detection import Pixels
from lnclip.detectors import Detector, load_detector
from lnclip.errors import ImageError, SetupError
from lnclip.intake import read_image
from lnclip.picture import Frame, upright
from lnclip.preprocess import align
from lnclip.sampling import FrameChoice
from lnclip.spec import PreprocessSpec
from lnclip.video import Video
from training.data.faces import find_faces, masked_face
from training.data.searching import FaceSearch


class Task(NamedTuple):
    """One input."""

    path: Path
    kind: Literal["image", "video"]
    name: str
    """Of its crops: NAME.png of an image, NAME/FRAME.png of a video."""

    mask: Path | None
    """Image or video of what was manipulated."""


class Outcome(NamedTuple):
    """What became of it."""

    status: Literal["ok", "no_face", "error"]
    crops: tuple[str, ...] = ()
    """Files in the folder of crops, in the order of their frames."""

    num_frames: int = 0
    """Looked at."""

    num_faces: int = 0
    """Found in those; one of each frame was cut."""

    code: str = ""
    reason: str = ""
    """Also of an input with crops: what is damaged about it."""


@dataclass(frozen=True, kw_only=True)
class Cutter:
    """A detector, and how and where to cut."""

    detector: Detector
    choice: FrameChoice
    crops: Path
    """Folder to write into."""

    spec: PreprocessSpec

    def cut(self, task: Task) -> Outcome:
        """Read one input and write its crops.

        Raises:
            SetupError: a crop cannot be written.
        """
        try:
            return _cut_image(self, task) if task.kind == "image" else _VideoTask(self, task).cut()
        except ImageError as error:
            return Outcome("error", code=error.code, reason=error.reason)

    def find_face(self, frame_HWC: Pixels, mask_HWC: Pixels | None) -> tuple[Pixels | None, int]:
        """The crop of the face to cut, if there is one, and how many faces there are.

        Raises:
            ImageError: the mask has another size, or the landmarks admit no similarity.
        """
        if mask_HWC is not None and mask_HWC.shape != frame_HWC.shape:
            sizes = [f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in (mask_HWC, frame_HWC)]
            raise ImageError("mask_size", f"the mask has {sizes[0]} pixels, the picture {sizes[1]}")
        faces = find_faces(frame_HWC, self.detector)
        num_faces = len(faces.scores)
        chosen = masked_face(faces, mask_HWC) if mask_HWC is not None else 0
        if not num_faces or chosen is None:
            return None, num_faces
        return align(frame_HWC, faces.landmarks[chosen], self.spec), num_faces

    def write(self, crop_HWC: Pixels, name: str) -> None:
        """One crop as a PNG.

        Raises:
            SetupError: it cannot be written.
        """
        path = self.crops / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(crop_HWC).save(path, compress_level=1)
        except OSError as error:
            raise SetupError(f"{path} cannot be written: {error.strerror or error}; mend it and run again") from error


def load_cutter(detector_folder: Path, choice: FrameChoice, crops: Path) -> Callable[[Task], Outcome]:
    """The work of one process.

    Raises:
        ArtifactError: the detector is not there or damaged.
    """
    cv2.setNumThreads(1)
    return Cutter(detector=load_detector(detector_folder), choice=choice, crops=crops, spec=PreprocessSpec()).cut


def _cut_image(cutter: Cutter, task: Task) -> Outcome:
    frame = _read_image(task.path)
    crop, num_faces = cutter.find_face(frame, _read_image(task.mask) if task.mask else None)
    if crop is None:
        return Outcome("no_face", num_frames=1, num_faces=num_faces, reason=_why_none(num_faces))
    cutter.write(crop, f"{task.name}.png")
    return Outcome("ok", (f"{task.name}.png",), num_frames=1, num_faces=num_faces)


def _read_image(path: Path) -> Pixels:
    try:
        return read_image(path.read_bytes()).pixels
    except OSError as error:
        raise ImageError("unreadable", str(error.strerror)) from error


def _why_none(num_faces: int) -> str:
    return f"none of {num_faces} faces lies over manipulated pixels" if num_faces else ""


class _VideoTask:
    """A video while it is cut."""

    def __init__(self, cutter: Cutter, task: Task) -> None:
        self.cutter, self.name = cutter, task.name
        self.video, self.mask = Video(task.path), Video(task.mask) if task.mask else None
        self.num_faces: dict[int, int] = {}
        """By frame looked at."""

        self.num_spoilt = 0
        """Frames that were decoded in part."""

    def cut(self) -> Outcome:
        shutil.rmtree(self.cutter.crops / self.name, ignore_errors=True)  # of a run that was cut off
        num_expected = self.video.count_packets()
        if self.mask:
            num_expected = min(num_expected, self.mask.count_packets())
        search = FaceSearch(self.cutter.choice, self.frames, self.look, self.discard)
        num_frames = search.run(num_expected)
        if len(self.num_faces) == self.num_spoilt:
            raise ImageError("damaged", f"no frame can be decoded ({self.video.damage or 'there is no whole one'})")
        crops, num_faces = tuple(map(self.crop_name, search.found)), sum(self.num_faces.values())
        code, reason = self.complaint(num_frames)
        if not crops and not reason:
            reason = _why_none(num_faces)
        return Outcome("ok" if crops else "no_face", crops, len(self.num_faces), num_faces, code, reason)

    def frames(self) -> Iterable[tuple[Frame, Frame | None]]:
        if self.mask:
            return zip(self.video.frames(), self.mask.frames(), strict=False)  # as long as there are both
        return ((frame, None) for frame in self.video.frames())

    def look(self, index: int, frames: tuple[Frame, Frame | None]) -> bool:
        frame, mask_frame = frames
        self.num_faces[index] = 0
        if frame.is_corrupt:
            self.num_spoilt += 1
            return False
        mask = upright(mask_frame) if mask_frame else None
        crop, self.num_faces[index] = self.cutter.find_face(upright(frame), mask)
        if crop is None:
            return False
        self.cutter.write(crop, self.crop_name(index))
        return True

    def discard(self, index: int) -> None:
        (self.cutter.crops / self.crop_name(index)).unlink()

    def crop_name(self, index: int) -> str:
        return f"{self.name}/{index:06d}.png"

    def complaint(self, num_frames: int) -> tuple[str, str]:
        """Code and reason of what is wrong with a video that has frames."""
        found = []
        if not self.mask and self.video.num_declared > num_frames:
            found.append(("truncated", f"{num_frames} of {self.video.num_declared} frames can be decoded"))
        if damage := self.video.damage or (self.mask.damage if self.mask else ""):
            found.append(("damaged", f"frames after damage may be missing ({damage})"))
        if self.num_spoilt:
            found.append(("damaged", f"{self.num_spoilt} frames are decoded in part and were passed over"))
        return found[0][0] if found else "", "; ".join(reason for _, reason in found)
