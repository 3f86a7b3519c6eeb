"""From Triton's tensors to a row. Whatever cannot be right is an error row, never a verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import JsonValue, TypeAdapter, ValidationError
from tritonclient.grpc import InferResult

from client.reading import FileFacts
from client.rows import Face, Probability, Row, RowError
from lnclip.contract import CONTRACT, ENSEMBLE
from lnclip.errors import EngineError
from lnclip.scoring import Verdict

if TYPE_CHECKING:
    from client.video.scoring import VideoAnswer

WORDS: dict[bytes, Verdict] = {b"fake": "fake", b"real": "real", b"no_face": "no_face"}
PROBABILITY = TypeAdapter[float](Probability)
NUMBER_BYTES = 4
"""FP32 and INT32 are all there is."""

ENSEMBLE_OUTPUTS = tuple(tensor.name for tensor in CONTRACT[ENSEMBLE].outputs)


class ImageAnswer(NamedTuple):
    """What is said of one image, or of one frame of a video."""

    verdict: Verdict
    p_fake: float | None
    """None without a face."""

    faces: tuple[Face, ...]
    """Largest first."""

    width: int
    """Of the upright image, pixels."""

    height: int
    warnings: tuple[str, ...]
    model: dict[str, JsonValue]


def error_row(facts: FileFacts, error: RowError, elapsed_ms: float) -> Row:
    """The row of a file that has no score."""
    return Row(
        **facts._asdict(),
        status="error",
        verdict=None,
        p_fake=None,
        num_faces=None,
        width=None,
        height=None,
        error=error,
        model=None,
        elapsed_ms=elapsed_ms,
    )


def image_row(facts: FileFacts, answer: ImageAnswer, elapsed_ms: float) -> Row:
    """The row of an image."""
    return Row(
        **facts._asdict(),
        **answer._asdict(),
        status="no_face" if answer.verdict == "no_face" else "ok",
        num_faces=len(answer.faces),
        error=None,
        elapsed_ms=elapsed_ms,
    )


def video_row(facts: FileFacts, answer: VideoAnswer, elapsed_ms: float) -> Row:
    """The row of a video; its faces are in its frames."""
    return Row(
        **facts._asdict(),
        **answer._asdict(),
        status="no_face" if answer.verdict == "no_face" else "ok",
        error=None,
        elapsed_ms=elapsed_ms,
    )


def read_answer(result: InferResult) -> ImageAnswer:
    """An answer of ``deepfake_detector``.

    Raises:
        EngineError: it is not what the contract says.
    """
    served = _check(result)
    [word], [model] = _texts(served["verdict"]), _texts(served["model"])
    width, height = np.frombuffer(served["frame_size"].content, np.int32).tolist()
    p_fake = short_floats(served["p_fake"].content)
    if word not in WORDS or len(p_fake) != (0 if word == b"no_face" else 1):
        raise EngineError(f"verdict {word!r} came with p_fake {p_fake}")
    try:
        return ImageAnswer(
            verdict=WORDS[word],
            p_fake=PROBABILITY.validate_python(p_fake[0]) if p_fake else None,
            faces=_faces(served),
            width=width,
            height=height,
            warnings=tuple(warning.decode() for warning in _texts(served["warnings"])),
            model=_parse_model(model),
        )
    except ValidationError as error:
        issue = error.errors()[0]
        raise EngineError(
            f"{'.'.join(map(str, issue['loc'])) or 'p_fake'} is {issue['input']!r}: {issue['msg']}"
        ) from error


class _Served(NamedTuple):
    shape: tuple[int, ...]
    content: bytes


def _check(result: InferResult) -> dict[str, _Served]:
    """The contract's tensors; ``InferResult.as_numpy`` would look through all of them for each."""
    response = result.get_response()
    found = {
        output.name: (output.datatype, _Served(tuple(output.shape), content))
        for output, content in zip(response.outputs, response.raw_output_contents, strict=False)
    }
    checked = {}
    for name, dtype, dims in CONTRACT[ENSEMBLE].outputs:
        if name not in found:
            raise EngineError(f"the answer has no {name}")
        served_dtype, served = found[name]
        shape = served.shape
        if served_dtype != dtype or shape[1:] != dims[1:] or len(shape) != len(dims) or dims[0] not in (-1, shape[0]):
            raise EngineError(f"{name} is {served_dtype} of shape {shape}, not {dtype} of {dims}")
        if dtype != "BYTES" and len(served.content) != NUMBER_BYTES * math.prod(shape):
            raise EngineError(f"{name} of shape {shape} came in {len(served.content)} bytes")
        checked[name] = served
    return checked


def _texts(served: _Served) -> list[bytes]:
    """Each is preceded by its length in four bytes."""
    content, texts, place = served.content, list[bytes](), 0
    while place < len(content):
        end = place + 4 + int.from_bytes(content[place : place + 4], "little")
        texts.append(content[place + 4 : end])
        place = end
    if place != len(content) or len(texts) != served.shape[0]:
        raise EngineError(f"{served.shape[0]} texts came as {content[:100]!r}")
    return texts


def _faces(served: Mapping[str, _Served]) -> tuple[Face, ...]:
    tensors = [served[name] for name in ("face_box", "face_landmarks", "face_score", "face_p_fake", "face_flags")]
    lengths = {tensor.shape[0] for tensor in tensors}
    if len(lengths) != 1:
        raise EngineError(f"the faces do not add up: {[tensor.shape for tensor in tensors]}")
    boxes, points, scores, p_fakes = (short_floats(tensor.content) for tensor in tensors[:4])
    return tuple(
        Face.model_validate(
            {
                "box": boxes[4 * face : 4 * face + 4],
                "landmarks": list(zip(*[iter(points[10 * face : 10 * face + 10])] * 2, strict=True)),
                "score": scores[face],
                "p_fake": p_fakes[face],
                "flags": words.decode().split(),
            }
        )
        for face, words in enumerate(_texts(tensors[4]))
    )


def short_floats(content: bytes) -> list[float]:
    """FP32 as the shortest decimals that read back as the same FP32: 0.1, not 0.10000000149."""
    return [float(str(value)) for value in np.frombuffer(content, np.float32)]


def short_float(value: np.generic) -> float:
    """One FP32 number likewise."""
    return float(str(value))


@lru_cache(maxsize=16)
def _parse_model(served: bytes) -> dict[str, JsonValue]:
    """A handful of models answer a million requests."""
    model = json.loads(served)
    if not isinstance(model, dict):
        raise EngineError(f"model is {served[:100]!r}, not a JSON object")
    return model
