"""Triton's config.pbtxt: read, and set for the sizes that an artifact decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import text_format  # type: ignore[import-untyped]
from tritonclient.grpc import model_config_pb2

from lnclip.contract import CONTRACT, ENCODER, ModelContract, TensorSpec
from lnclip.errors import ConfigError

FACES_CAP = "max_faces_cap"
"""The aligner's parameter: an image's faces are one request to the encoder, which must fit its batch."""


class Sizes(NamedTuple):
    """What the artifact decides about tensors."""

    S: int
    """Side of the encoder's input, pixels."""

    D: int
    """Length of the embedding."""


def config_file(model: Path, flavour: str) -> Path:
    """The config that Triton reads with ``--model-config-name=FLAVOUR``: the default one where there is no other."""
    named = model / "configs" / f"{flavour}.pbtxt"
    return named if named.is_file() else model / "config.pbtxt"


def load_config(path: Path) -> Any:  # noqa: ANN401 - protobuf's generated classes are untyped
    """Parse one config.

    Raises:
        ConfigError: it cannot be read, or is not one.
    """
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ConfigError(f"{path} is no model configuration: {error}") from error


def parameter(config: Any, name: str, default: str) -> str:  # noqa: ANN401 - as above
    """A string parameter of a model."""
    return str(config.parameters[name].string_value) if name in config.parameters else default


def instances(config: Any) -> list[str]:  # noqa: ANN401 - as above
    """The names of a model's instances, as Triton gives them on a CPU: MODEL_GROUP_NUMBER."""
    groups = config.instance_group or [model_config_pb2.ModelInstanceGroup(count=1)]
    return [
        f"{group.name or f'{config.name}_{index}'}_{number}"
        for index, group in enumerate(groups)
        for number in range(max(group.count, 1))
    ]


def adapt(source: Path, model: str, file: str, sizes: Sizes | None) -> str:
    """The text of one committed config, with S and D and the face cap as they must be.

    Args:
        source: folder of the committed models.
        model: folder name.
        file: ``config.pbtxt`` or ``configs/FLAVOUR.pbtxt``.
        sizes: None leaves the committed ones.

    Raises:
        ConfigError: a config cannot be read, or lacks a tensor of the contract.
    """
    path = source / model / file
    config = load_config(path)
    committed = config.SerializeToString(deterministic=True)
    if sizes is not None and model in CONTRACT:
        _set_sizes(config, CONTRACT[model], sizes, path)
    if FACES_CAP in config.parameters:
        encoder = load_config(config_file(source / ENCODER, Path(file).stem if "/" in file else ""))
        config.parameters[FACES_CAP].string_value = str(encoder.max_batch_size)
    if config.SerializeToString(deterministic=True) == committed:
        return path.read_text(encoding="utf-8")
    return f"# Made from model_repository/{model}/{file}: edit that one, then python -m server init.\n" + str(
        text_format.MessageToString(config)
    )


def _set_sizes(config: Any, contract: ModelContract, sizes: Sizes, path: Path) -> None:  # noqa: ANN401 - as above
    for specs, tensors in ((contract.inputs, config.input), (contract.outputs, config.output)):
        by_name = {tensor.name: tensor for tensor in tensors}
        for spec in filter(_is_sized, specs):
            if spec.name not in by_name:
                raise ConfigError(f"{path} lacks the tensor {spec.name} of the contract")
            by_name[spec.name].dims[:] = spec.shape(sizes._asdict())


def _is_sized(spec: TensorSpec) -> bool:
    return any(isinstance(dim, str) for dim in spec.dims)
