"""What the training tests share: a detector, and crops whose two classes a network can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lnclip.index import Item, write_index
from training.config import TrainConfig

SMALL = {"input_px": 64}
"""2 x 2 patches: a training step takes milliseconds."""


def changed(config: TrainConfig, **settings: object) -> TrainConfig:
    """A configuration with other settings; its tables are given whole."""
    return TrainConfig.model_validate(config.model_dump() | settings)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are faster on one thread, and much faster when other work shares the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def face(astronaut: np.ndarray) -> np.ndarray:
    """(256, 256, 3): small frames are detected fast."""
    return astronaut[:256, 100:356]


@pytest.fixture(scope="session")
def small_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 crops of noise in pairs, the fake ones brighter."""
    folder, rng = tmp_path_factory.mktemp("small"), np.random.default_rng(0)
    items = []
    for number in range(32):
        label = ("real", "fake")[number % 2]
        pixels = rng.integers(0, 128, (48, 48, 3), dtype=np.uint8) + np.uint8(100 * (label == "fake"))
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
        items.append(Item(folder / f"{number:02}.png", label, f"v{number}", "noise", "noise", f"p{number // 2}"))
    write_index(folder / "index.csv", items)
    return folder / "index.csv"


@pytest.fixture
def config(small_index: Path) -> TrainConfig:
    """Two epochs of four steps on them."""
    return TrainConfig.model_validate(
        {
            "train_index": small_index,
            "tune": "full",
            "epochs": 2,
            "batch_size": 8,
            "warmup_epochs": 0,
            "spec": SMALL,
            "in_memory": True,
        }
    )
