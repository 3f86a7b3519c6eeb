"""From Triton's tensors to a row. Whatever cannot be right is an error row, never a verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, ValidationError
from tritonclient.grpc import InferResult

from client.reading import FileFacts
from client.rows import Face, Row, RowError
from lnclip.contract import CONTRACT, ENSEMBLE, TensorSpec
from lnclip.errors import EngineError

ENSEMBLE_OUTPUTS = tuple(tensor.name for tensor in CONTRACT[ENSEMBLE].outputs)


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


def image_row(facts: FileFacts, result: InferResult, elapsed_ms: float) -> Row:
    """The row of an answer of ``deepfake_detector``.

    Raises:
        EngineError: the answer is not what the contract says.
    """
    tensors = _read(result, CONTRACT[ENSEMBLE].outputs)
    [verdict], p_fake, [model] = (tensors[name].tolist() for name in ("verdict", "p_fake", "model"))
    width, height = tensors["frame_size"].tolist()
    if len(p_fake) != (0 if verdict == b"no_face" else 1):
        raise EngineError(f"verdict {verdict!r} came with p_fake {p_fake}")
    try:
        faces = _faces(tensors)
        return Row(
            **facts._asdict(),
            status="no_face" if verdict == b"no_face" else "ok",
            verdict=verdict.decode(),
            p_fake=short_float(tensors["p_fake"][0]) if p_fake else None,
            num_faces=len(faces),
            faces=faces,
            width=width,
            height=height,
            warnings=_words(tensors["warnings"]),
            error=None,
            model=_parse_model(model),
            elapsed_ms=elapsed_ms,
        )
    except ValidationError as error:
        issue = error.errors()[0]
        raise EngineError(f"{'.'.join(map(str, issue['loc']))} is {issue['input']!r}: {issue['msg']}") from error


def _read(result: InferResult, specs: Sequence[TensorSpec]) -> dict[str, NDArray[np.generic]]:
    tensors: dict[str, NDArray[np.generic]] = {}
    for spec in specs:
        tensor = result.as_numpy(spec.name)
        wanted = tuple(dim if isinstance(dim, int) else -1 for dim in spec.dims)
        if tensor is None:
            raise EngineError(f"the answer has no {spec.name}")
        if len(tensor.shape) != len(wanted) or any(d not in (-1, n) for d, n in zip(wanted, tensor.shape, strict=True)):
            raise EngineError(f"{spec.name} is of shape {tensor.shape}, not {wanted}")
        tensors[spec.name] = tensor
    return tensors


def _faces(tensors: dict[str, NDArray[np.generic]]) -> tuple[Face, ...]:
    columns: dict[str, Sequence[object]] = {
        name: _short(tensors[tensor])
        for name, tensor in (
            ("box", "face_box"),
            ("landmarks", "face_landmarks"),
            ("score", "face_score"),
            ("p_fake", "face_p_fake"),
        )
    }
    columns["flags"] = [words.split() for words in _words(tensors["face_flags"])]
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise EngineError(f"the faces do not add up: {lengths}")
    return tuple(
        Face.model_validate(dict(zip(columns, face, strict=True))) for face in zip(*columns.values(), strict=True)
    )


def _short(values: NDArray[np.generic]) -> list[JsonValue]:
    """FP32 as the shortest decimals that read back as the same FP32: 0.1, not 0.10000000149."""
    nested: list[JsonValue] = np.array([float(str(value)) for value in values.ravel()]).reshape(values.shape).tolist()
    return nested


def short_float(value: np.generic) -> float:
    """One FP32 number likewise."""
    return float(str(value))


def _words(values: NDArray[np.generic]) -> tuple[str, ...]:
    return tuple(word.decode() for word in values.tolist())


@lru_cache(maxsize=16)
def _parse_model(served: bytes) -> dict[str, JsonValue]:
    """A handful of models answer a million requests."""
    model = json.loads(served)
    if not isinstance(model, dict):
        raise EngineError(f"model is {served[:100]!r}, not a JSON object")
    return model
