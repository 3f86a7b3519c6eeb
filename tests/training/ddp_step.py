"""Not a test: the program that test_distributed.py runs once per process. Arguments: rank, processes, folder.

Reads ``folder``/batch.pt, takes this process's part of it, and writes rank.pt: loss and gradients
as DDP averages them.
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lnclip.architecture import KNOWN
from lnclip.encoder import FaceEncoder
from training.config import TrainConfig
from training.crops import Batch
from training.tuner import Tuner


class Step(nn.Module):
    """DDP averages what goes through ``forward``, as Lightning has it."""

    def __init__(self, tuner: Tuner) -> None:
        super().__init__()
        self.tuner = tuner

    def forward(self, batch: Batch) -> torch.Tensor:
        return self.tuner.training_step(batch, 0)


def main(rank: int, processes: int, folder: Path) -> None:
    given = torch.load(folder / "batch.pt")
    config = TrainConfig.model_validate_json(given["config"])
    encoder = FaceEncoder(KNOWN[config.encoder], config.activation, config.spec.input_px)
    encoder.load_state_dict(given["weights"])
    step: nn.Module = Step(Tuner(encoder, config))
    if processes > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=processes
        )
        step = DistributedDataParallel(step)
    loss = step(Batch(*(part.chunk(processes)[rank] for part in given["batch"])))
    loss.backward()
    gradients = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    torch.save({"loss": loss.detach(), "gradients": gradients}, folder / f"{rank}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
