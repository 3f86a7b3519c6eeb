"""A plan on the GPU it was built for, as a runner like those of ``lnclip.engines``.

    python -m export.plan_runner FOLDER MAX_DP

loads FOLDER/model.plan in a process of its own and holds it to FOLDER/golden.npz.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from export.candidate import MANIFEST, PLAN
from export.engine_builders import Builder, find_builder
from export.engine_manifest import EngineManifest
from export.report import GOLDEN_FILE
from lnclip.artifact import Artifact
from lnclip.commands import run
from lnclip.contract import CROPS, ENCODER_OUTPUTS
from lnclip.engines import Crops, EncoderAnswer
from lnclip.errors import ArtifactError, EngineError
from lnclip.golden import Golden, check_answer

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


class PlanRunner:
    """Entering loads the plan, leaving frees it; torch lends the GPU's memory."""

    def __init__(self, plan: Path, builder: Builder) -> None:
        """``builder`` is the one that made it: its runtime alone reads it."""
        self.name, self.path, self.builder = f"{builder.name} {builder.version}", plan, builder

    def __enter__(self) -> Self:
        """Load it.

        Raises:
            ArtifactError: it was built with another version or for another GPU, or is damaged.
        """
        import torch

        api = self.builder.api
        self._runtime = api.Runtime(api.Logger(api.Logger.WARNING))
        self._engine = self._runtime.deserialize_cuda_engine(self.path.read_bytes())
        if self._engine is None:
            raise ArtifactError(
                f"{self.path} does not load in {self.name}: it was built with another version or for another GPU"
            )
        self._context = self._engine.create_execution_context()
        # Its own: on torch's default one TensorRT would wait for the whole GPU at every call.
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._outputs: dict[int, dict[str, Tensor]] = {}  # by batch size
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free its memory, the parts before the whole."""
        del self._outputs, self._stream, self._context, self._engine, self._runtime

    def run(self, crops_NHWC: Crops) -> EncoderAnswer:
        """(B, S, S, 3) uint8 RGB -> the served outputs.

        Raises:
            EngineError: the plan does not take such a batch, or failed.
        """
        import torch

        context = self._context
        if not context.set_input_shape(CROPS.name, tuple(crops_NHWC.shape)):
            raise EngineError(f"{self.path} does not take crops of shape {crops_NHWC.shape}")
        with torch.cuda.stream(self._stream):  # copies, plan and reads follow each other in it
            crops = torch.from_numpy(np.ascontiguousarray(crops_NHWC)).cuda()
            outputs = self._outputs_of(len(crops_NHWC))
            for name, tensor in {CROPS.name: crops, **outputs}.items():
                context.set_tensor_address(name, tensor.data_ptr())
            if not context.execute_async_v3(self._stream.cuda_stream):
                raise EngineError(f"{self.path} failed on {len(crops_NHWC)} crops")
            return EncoderAnswer(*(outputs[output.name].cpu().numpy() for output in ENCODER_OUTPUTS))

    def _outputs_of(self, batch: int) -> dict[str, Tensor]:
        """Where the plan writes its answers to so many crops, allocated once; the input's shape must be set."""
        import torch

        if batch not in self._outputs:
            kinds = {"FP32": torch.float32, "INT32": torch.int32}
            shapes = {each.name: tuple(self._context.get_tensor_shape(each.name)) for each in ENCODER_OUTPUTS}
            self._outputs[batch] = {
                each.name: torch.empty(shapes[each.name], dtype=kinds[each.dtype], device="cuda")
                for each in ENCODER_OUTPUTS
            }
        return self._outputs[batch]

    def layers(self) -> list[dict[str, Any]]:
        """What the builder made of the graph: one dictionary for each layer, fused ones as one."""
        inspector = self._engine.create_engine_inspector()
        text = inspector.get_engine_information(self.builder.api.LayerInformationFormat.JSON)
        found: list[dict[str, Any]] = json.loads(text)["Layers"]
        return found


def check_plan(runner: PlanRunner, golden: Golden, artifact: Artifact, max_dp: float) -> float:
    """Hold a loaded plan to its golden answers, one by one and together; gives the largest |dp|.

    Raises:
        ParityError: it answers otherwise, or for other weights.
    """
    alone = [runner.run(crop[None]) for crop in golden.crops]
    singly = EncoderAnswer(*(np.concatenate(part) for part in zip(*alone, strict=True)))
    answers = (singly, runner.run(golden.crops))
    return max(check_answer(answer, golden, artifact.identity, max_dp) for answer in answers)


def main() -> None:
    """The command in the module's docstring."""
    folder, max_dp = Path(sys.argv[1]), float(sys.argv[2])
    manifest = EngineManifest.load(folder / MANIFEST)
    golden, artifact = Golden.load(folder / GOLDEN_FILE), Artifact.load(folder / "model.json")
    with PlanRunner(folder / PLAN, find_builder(manifest.builder)) as runner:
        log.info("largest |dp| on the golden crops: %.2g", check_plan(runner, golden, artifact, max_dp))


if __name__ == "__main__":
    run(main)
