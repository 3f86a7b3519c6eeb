"""The gate passes what is equal and has the power to stop what is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.crops import ParityCrops, demo_crops
from export.onnx_export import export_run
from export.parity import compare_engine, run_all
from export.report import ParityReport
from export.served_graph import build_graph
from lnclip.artifact import Artifact, Precision
from lnclip.encoder import load_run
from lnclip.engines import EncoderAnswer, OnnxRuntimeRunner, TorchRunner, supports_bf16
from lnclip.errors import ConfigError, ParityError, SetupError
from lnclip.identity import file_sha256
from lnclip.spec import PreprocessSpec


@pytest.fixture(scope="module")
def crops(face_crops) -> ParityCrops:
    names = [f"face/{index}" for index in range(len(face_crops))]
    return ParityCrops(source="faces", crops=face_crops, names=names, labels=[None] * len(names))


@pytest.fixture(scope="module")
def reference(random_run: Path, crops: ParityCrops) -> EncoderAnswer:
    with TorchRunner(random_run) as runner:
        return run_all(runner, crops.crops)


@pytest.fixture
def judge(random_run: Path, reference: EncoderAnswer, crops: ParityCrops, tmp_path: Path):
    """Export with altered weights or identity, then compare with the unaltered reference."""

    def run(change=lambda _: None, shown: ParityCrops = crops, limits_of: Precision = "fp32", **identity: object):
        artifact, encoder = load_run(random_run)
        weights = {name: tensor.numpy().copy() for name, tensor in encoder.state_dict().items()}
        change(weights)
        right = artifact.identity.model_copy(update={"precision": limits_of})
        changed = right.model_copy(update=identity)
        graph = build_graph(artifact.model_copy(update={"identity": changed}), weights)
        onnx.save(graph.model, tmp_path / "encoder.onnx")
        with OnnxRuntimeRunner(tmp_path / "encoder.onnx") as runner, TorchRunner(random_run) as torch_runner:
            answers = reference if shown is crops else run_all(torch_runner, shown.crops)
            return compare_engine(answers, runner, shown, right)

    return run


def test_an_equal_graph_passes(judge) -> None:
    found = judge()
    assert 0 <= found.mean_dp <= found.p99_dp <= found.max_dp <= 1e-5
    assert found.min_cosine > 1 - 1e-9
    assert found.max_logit_difference < 1e-4
    assert found.worst_crop.startswith("face/")


def swap_matrices(weights: dict[str, np.ndarray]) -> None:
    a, b = (f"visual.transformer.resblocks.{layer}.mlp.c_proj.weight" for layer in (1, 2))
    weights[a], weights[b] = weights[b], weights[a]


ALL: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "int8")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_one_swapped_weight_matrix_fails(judge, precision: Precision) -> None:
    with pytest.raises(ParityError, match=r"max \|dp\|.*worst crop: face/"):
        judge(swap_matrices, limits_of=precision)


def with_swapped_matrices(artifact: Artifact, weights):
    changed = {name: value.copy() for name, value in weights.items()}
    swap_matrices(changed)
    return build_graph(artifact, changed)


def test_one_swapped_weight_matrix_fails_before_int8_is_made_of_it(
    random_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within INT8's limits it could pass: two blocks' second MLP layers exchanged keep the ranks to 0.999."""
    monkeypatch.setattr("export.graph_files.build_graph", with_swapped_matrices)
    with pytest.raises(ParityError, match=r"onnxruntime fp32 disagrees .*max \|dp\|"):
        export_run(random_run, tmp_path / "export", ["int8"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ALL)
def test_exchanged_classes_fail(judge, precision: Precision) -> None:
    with pytest.raises(ParityError, match=r"rank correlation|max \|dp\|"):
        judge(
            lambda weights: weights.update({f"head.{end}": weights[f"head.{end}"][::-1] for end in ("weight", "bias")}),
            limits_of=precision,
        )


def test_a_lost_layer_norm_shift_fails(judge) -> None:
    with pytest.raises(ParityError, match="embeddings' cosine"):
        judge(lambda weights: weights["visual.transformer.resblocks.0.ln_1.bias"].fill(0))


def test_a_lost_temperature_fails(judge) -> None:
    with pytest.raises(ParityError, match="logits differ"):
        judge(lambda weights: [weights[f"head.{end}"].__imul__(1.25) for end in ("weight", "bias")])


def test_the_graph_of_other_weights_fails_by_its_id(judge) -> None:
    with pytest.raises(ParityError, match="answers artifact_id"):
        judge(weights_sha256="1" * 64)


def test_a_wrong_threshold_fails(judge, random_run: Path) -> None:
    with pytest.raises(ParityError, match=r"answers threshold \[0\.5\], model\.json says 0\.4"):
        judge(threshold=0.5)


def test_nan_fails_and_names_the_crop(judge) -> None:
    with pytest.raises(ParityError, match="NaN or infinity for face/0"):
        judge(lambda weights: weights["head.bias"].fill(np.nan))


class ShuffledRunner(OnnxRuntimeRunner):
    """Answers each crop with its neighbour's score."""

    def run(self, crops_NHWC: np.ndarray) -> EncoderAnswer:
        answer = super().run(crops_NHWC)
        return answer._replace(p_fake=np.roll(answer.p_fake, 1), embedding=np.roll(answer.embedding, 1, axis=0))


@pytest.mark.parametrize("precision", ALL)
def test_shuffled_crops_fail(
    random_run: Path, reference: EncoderAnswer, crops: ParityCrops, tmp_path: Path, precision: Precision
) -> None:
    artifact, encoder = load_run(random_run)
    identity = artifact.identity.model_copy(update={"precision": precision})
    weights = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    path = tmp_path / "encoder.onnx"
    onnx.save(build_graph(artifact.model_copy(update={"identity": identity}), weights).model, path)
    with ShuffledRunner(path) as runner, pytest.raises(ParityError, match=r"rank correlation|max \|dp\|"):
        compare_engine(reference, runner, crops, identity)


class BatchSensitiveRunner(OnnxRuntimeRunner):
    """Answers a little more in one size of batch."""

    def run(self, crops_NHWC: np.ndarray) -> EncoderAnswer:
        answer = super().run(crops_NHWC)
        return answer._replace(p_fake=answer.p_fake + np.float32(5e-3 * (len(crops_NHWC) == 7)))


def test_an_answer_that_depends_on_the_batch_fails(exported: Path, random_run: Path, reference, crops) -> None:
    identity = Artifact.load(random_run / "model.json").identity
    runner = BatchSensitiveRunner(exported / "face_encoder.fp32.onnx")
    with runner, pytest.raises(ParityError, match=r"in a batch and alone differ by 0\.005"):
        compare_engine(reference, runner, crops, identity)


def test_crops_that_cannot_tell_are_refused(judge, face_crops) -> None:
    alike = ParityCrops(source="one", crops=face_crops[[0, 0, 0]], names=["a", "b", "c"], labels=[None] * 3)
    with pytest.raises(ParityError, match=r"cannot tell graphs apart.*--calibration"):
        judge(shown=alike)


def test_report_covers_every_engine(exported: Path) -> None:
    report = ParityReport.model_validate_json((exported / "parity.json").read_bytes())
    assert [found.engine for found in report.comparisons] == ["onnxruntime fp32", "openvino fp32"]
    assert report.crops.count == 48 + 4
    assert report.crops.std_p >= 0.25
    artifact = Artifact.load(exported / "model.fp32.json")
    for found in report.comparisons:
        assert found.artifact_id == artifact.identity.artifact_id.hex
        assert found.max_dp <= 1e-5
        assert found.ranking.labelled == 48
        assert found.ranking.auroc == pytest.approx(found.ranking.auroc_reference, abs=1e-3)
        assert found.ranking.provisional
    name = "face_encoder.fp32.onnx"
    assert report.sha256 == {name: file_sha256(exported / name)}


def test_the_demos_crops_serve_where_none_are_given(random_run: Path, tmp_path: Path) -> None:
    report = export_run(random_run, tmp_path / "export", ["fp32"])
    assert report.crops.source == "demo"
    assert report.crops.count == 64 + 4


def test_the_demos_crops_are_varied_and_always_the_same() -> None:
    first, second = (demo_crops(PreprocessSpec(input_px=64)).crops for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.mean(axis=(1, 2)).std() > 40


def exchange_classes(artifact: Artifact, weights):
    return build_graph(artifact, weights | {"head.weight": weights["head.weight"][::-1]})


def test_a_failed_gate_exports_nothing(random_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.graph_files.build_graph", exchange_classes)
    with pytest.raises(ParityError):
        export_run(random_run, tmp_path / "export", ["fp32"])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_gate_leaves_the_earlier_export(
    random_run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "export"
    shutil.copytree(exported, out)
    before = {path.name: file_sha256(path) for path in out.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("export.graph_files.build_graph", exchange_classes)
        with pytest.raises(ParityError):
            export_run(random_run, out, ["fp32"])
    assert {path.name: file_sha256(path) for path in out.iterdir()} == before
    export_run(random_run, out, ["fp32"])
    assert {path.name for path in out.iterdir()} == set(before)
    assert (out / "parity.json").read_bytes() != (exported / "parity.json").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_folder_that_is_no_export_is_left_alone(random_run: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("work of years")
    with pytest.raises(ConfigError, match="is no export"):
        export_run(random_run, tmp_path, ["fp32"])


def test_bf16_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    if supports_bf16():
        pytest.skip("this processor has bf16")
    with pytest.raises(SetupError, match="has no bf16"):
        export_run(tmp_path / "no run", tmp_path / "export", ["fp32", "bf16"])
    assert list(tmp_path.iterdir()) == []


def test_bf16_has_an_id_of_its_own_and_keeps_its_limits(random_run: Path, tmp_path: Path) -> None:
    if not supports_bf16():
        pytest.skip("this processor has no bf16")
    report = export_run(random_run, tmp_path / "export", ["fp32", "bf16"])
    by_engine = {found.engine: found for found in report.comparisons}
    assert by_engine["openvino bf16"].artifact_id != by_engine["openvino fp32"].artifact_id
    assert by_engine["openvino bf16"].max_dp <= 2e-2
