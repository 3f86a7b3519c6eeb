"""What is sent: whole files of a corpus, or crops of the side that the encoder takes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.corpus import BACKGROUNDS, write_corpus
from lnclip.contract import ENCODER
from lnclip.errors import ServerError
from server.health import ask
from training.data.demo_data import photograph_pixels


def image_payloads(number: int) -> list[bytes]:
    """Files of the default corpus."""
    with tempfile.TemporaryDirectory() as folder:
        return [picture.path.read_bytes() for picture in write_corpus(Path(folder), number)]


def crop_payloads(number: int, side_px: int) -> list[bytes]:
    """Windows of photographs as raw pixels (S, S, 3): an encoder takes as long for any of them."""
    draw = np.random.default_rng(0)
    photographs = [photograph_pixels(name) for name in BACKGROUNDS]
    crops = []
    for index in range(number):
        photograph = photographs[index % len(photographs)]
        side = int(draw.integers(100, min(photograph.shape[:2])))
        top, left = (int(draw.integers(0, length - side + 1)) for length in photograph.shape[:2])
        window = photograph[top : top + side, left : left + side]
        crops.append(cv2.resize(window, (side_px, side_px), interpolation=cv2.INTER_LINEAR).tobytes())
    return crops


def encoder_side_px(http_url: str) -> int:
    """Side of the crops that the served encoder takes.

    Raises:
        ServerError: nobody answers, it has no encoder, or one that reads something else.
    """
    answer = ask(http_url, f"/v2/models/{ENCODER}")
    if answer is None or answer.status != 200:
        said = "nobody answers" if answer is None else answer.body[:200].decode(errors="replace")
        raise ServerError(f"the server at {http_url} does not describe {ENCODER}: {said}")
    try:
        _, side_px, _, _ = json.loads(answer.body)["inputs"][0]["shape"]
        return int(side_px)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ServerError(f"{ENCODER} at {http_url} reads no crops (B, S, S, 3): it is not of this project") from error
