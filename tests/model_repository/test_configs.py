"""Every config.pbtxt says what lnclip.contract says."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

from lnclip.contract import CONTRACT, ENSEMBLE
from tests.conftest import ROOT

SOURCE = ROOT / "model_repository"
CONFIGS = sorted(SOURCE.glob("*/config.pbtxt")) + sorted(SOURCE.glob("*/configs/*.pbtxt"))
L14 = {"S": 224, "D": 1024}
TYPES = {"BYTES": "TYPE_STRING"}


def read(path) -> ModelConfig:
    return text_format.Parse(path.read_text(), ModelConfig())


def tensors(fields) -> list[tuple]:
    return [(field.name, DataType.Name(field.data_type), tuple(field.dims)) for field in fields]


def expected(specs) -> list[tuple]:
    return [(spec.name, TYPES.get(spec.dtype, f"TYPE_{spec.dtype}"), spec.shape(L14)) for spec in specs]


def test_every_model_of_the_contract_has_a_config():
    assert {path.parent.name for path in SOURCE.glob("*/config.pbtxt")} == set(CONTRACT)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_config_holds_the_contract(path):
    name = path.relative_to(SOURCE).parts[0]
    config, contract = read(path), CONTRACT[name]
    assert config.name == name
    assert (config.max_batch_size > 0) == contract.batching
    assert tensors(config.input) == expected(contract.inputs)
    assert tensors(config.output) == expected(contract.outputs)
    assert bool(config.instance_group) == (name != ENSEMBLE)


@pytest.mark.parametrize("flavour", ["config.pbtxt", "configs/cpu.pbtxt"])
def test_an_image_never_has_more_faces_than_the_encoder_takes(flavour):
    cap = read(SOURCE / "face_aligner" / flavour).parameters["max_faces_cap"].string_value
    assert int(cap) == read(SOURCE / "face_encoder" / flavour).max_batch_size


def test_the_ensemble_wires_tensors_of_equal_type_and_shape():
    """A tensor of a batching model arrives at a non-batching one with the batch in front, and back."""
    sources = {spec.name: (spec.dtype, spec.dims) for spec in CONTRACT[ENSEMBLE].inputs}
    steps = read(SOURCE / ENSEMBLE / "config.pbtxt").ensemble_scheduling.step
    for step in steps:
        contract = CONTRACT[step.model_name]
        front = (-1,) if contract.batching else ()
        for specs, mapping in ((contract.inputs, step.input_map), (contract.outputs, step.output_map)):
            known = {spec.name: (spec.dtype, (*front, *spec.dims)) for spec in specs}
            assert set(mapping) <= set(known)
            for name, ensemble_name in mapping.items():
                dtype, dims = known[name]
                dims = (-1, *dims[1:]) if len(dims) > 1 and dims[0] == 1 else dims
                assert sources.setdefault(ensemble_name, (dtype, dims)) in {(dtype, dims), known[name]}
        assert set(step.input_map) == {spec.name for spec in contract.inputs}
    assert {spec.name for spec in CONTRACT[ENSEMBLE].outputs} <= set(sources)
