"""What a user would otherwise run: one image after the other through the papers' steps, in PyTorch eager FP32.

PIL decodes, a detector finds the faces, each is warped to its own size and resized by PIL, and open_clip's image tower
scores it, on the CPU as the server beside it. Only the detector, with the choice of its faces, is ours, so that both
sides look at the same faces; the rest is written down here a second time. No file is hashed and no row is written.
Legend: N faces, S the side of the network's input.

Source: the steps of arXiv 2508.06248's code (GenD): detector.py, its CLIP preprocessing, and its user interface, which
scores one face per call.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.open_clip_tower import open_clip_tower
from lnclip.artifact import Artifact, Identity
from lnclip.detection import Floats, Pixels, choose_faces, letterbox
from lnclip.detectors import load_detector
from lnclip.scoring import RequestParameters

TEMPLATE = ((0.34, 0.46), (0.66, 0.46), (0.50, 0.64), (0.37, 0.82), (0.63, 0.82))
"""Eyes, nose and corners of the mouth, as fractions of a tight crop."""

CONTEXT = 1.3
"""Side of the crop, in sides of the tight one."""

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

MAX_FACES_CAP = 64
"""As the served aligner has it; the default of a request, 8, is lower."""

Scores = tuple[float, ...]
"""p_fake of an image's faces, largest first; the image's own is the first one. Empty without a face."""


class PapersPath:
    """Loaded once; then a file at a time."""

    def __init__(self, run: Path, detector: Path) -> None:
        """Load the network, which takes torch's threads, and the detector.

        Args:
            run: folder of ``weights.safetensors`` and ``model.json``.
            detector: REPOSITORY/face_detector/1.

        Raises:
            ConfigError: the run's encoder is no CLIP.
            ArtifactError: something is missing there, or damaged.
        """
        self._identity = Artifact.load(run / "model.json").identity
        self._tower, self._head = plain_network(self._identity, load_file(run / "weights.safetensors"))
        self._detector = load_detector(detector, threads=1)  # with two, seen: 1.7 times the CPU time, twice as slow

    def score(self, path: Path, *, faces_per_call: int = 1) -> Scores:
        """One file's faces; the papers' interface gives the network one of them at a time."""
        with Image.open(path) as image:
            frame_HWC = np.asarray(image.convert("RGB"))
        crops = [self._network_input(native_crop(frame_HWC, points)) for points in self._landmarks(frame_HWC)]
        return tuple(itertools.chain.from_iterable(map(self._classify, _parts(crops, faces_per_call))))

    def _landmarks(self, frame_HWC: Pixels) -> Floats:
        """(N, 5, 2) in frame pixels, largest face first."""
        height, width = frame_HWC.shape[:2]
        candidates = self._detector.detect(letterbox(frame_HWC)[None])
        choice = RequestParameters().face_choice(self._detector.detector_id, MAX_FACES_CAP)
        return choose_faces(candidates, (width, height), choice).landmarks

    def _network_input(self, crop_HWC: Pixels) -> Tensor:
        """(3, S, S): as CLIP's own processor makes it of a square crop."""
        side = self._identity.spec.input_px
        resized = Image.fromarray(crop_HWC).resize((side, side), Image.Resampling.BICUBIC)
        unit_HWC = np.asarray(resized).astype(np.float32) / 255
        pixels_HWC = (unit_HWC - np.array(CLIP_MEAN, np.float32)) / np.array(CLIP_STD, np.float32)
        return torch.from_numpy(pixels_HWC).permute(2, 0, 1)

    def _classify(self, crops: Sequence[Tensor]) -> list[float]:
        """p_fake of each, calibrated as the served one is."""
        with torch.inference_mode():
            features = nn.functional.normalize(self._tower(torch.stack(list(crops))), dim=1)
            probabilities = (self._head(features) / self._identity.temperature).softmax(dim=1)
        column = self._identity.class_order.index("fake")
        return [float(p) for p in probabilities[:, column]]


def native_crop(frame_HWC: Pixels, landmarks: Floats) -> Pixels:
    """A face upright, at the size that it has in the frame, black beyond the frame's edges.

    Args:
        frame_HWC: RGB.
        landmarks: (5, 2) frame pixels, in the template's order.
    """
    pairs = list(itertools.combinations(range(5), 2))
    template = np.array(TEMPLATE)
    ratios = [np.linalg.norm(landmarks[a] - landmarks[b]) / np.linalg.norm(template[a] - template[b]) for a, b in pairs]
    side = round(float(np.mean(ratios)) * CONTEXT)
    target: NDArray[np.float64] = (template + (CONTEXT - 1) / 2) / CONTEXT * side
    matrix, _ = cv2.estimateAffinePartial2D(landmarks.astype(np.float64), target, method=cv2.LMEDS)
    return np.asarray(cv2.warpAffine(frame_HWC, matrix, (side, side), flags=cv2.INTER_LINEAR), np.uint8)


def plain_network(identity: Identity, weights: dict[str, Tensor]) -> tuple[nn.Module, nn.Linear]:
    """open_clip's tower and the head as they come: no block shortened, no module replaced.

    Raises:
        ConfigError: the encoder is no CLIP.
    """
    tower = open_clip_tower(identity)
    head = nn.Linear(identity.encoder.width, 2)
    for name, module in (("visual.", tower), ("head.", head)):
        module.load_state_dict(
            {key.removeprefix(name): value for key, value in weights.items() if key.startswith(name)}
        )
    return tower.eval(), head.eval()


def _parts(crops: Sequence[Tensor], size: int) -> list[Sequence[Tensor]]:
    return [crops[start : start + size] for start in range(0, len(crops), size)]
