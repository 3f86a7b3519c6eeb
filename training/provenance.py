"""Where a run came from: what went in, which code, which packages. Changes nothing that is computed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lnclip.artifact import Provenance
from lnclip.identity import file_sha256
from lnclip.index import Item
from training.config import TrainConfig

PACKAGES = ("torch", "open_clip_torch", "timm", "lightning", "numpy", "opencv-python-headless", "pillow")
"""Whose version can change weights."""


def describe_run(name: str, config: TrainConfig, items: Sequence[Item], validation: Sequence[Item] = ()) -> Provenance:
    """The provenance of weights that ``config`` and the crops gave."""
    inputs = {
        "config": hashlib.sha256(config.model_dump_json().encode()).hexdigest(),
        "train_index": rows_sha256(items),
        "train_crops": _crops_sha256(items),
    }
    if validation:
        inputs["val_index"] = rows_sha256(validation)
    if config.init != "random":
        inputs["init"] = file_sha256(Path(config.init) / "weights.safetensors")
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    versions["python"] = platform.python_version()
    return Provenance(name=name, inputs=inputs, versions=versions, git_revision=git_revision())


def git_revision() -> str | None:
    """The commit of the code that runs, with "+changes" where files differ; None outside a checkout."""
    git, here = shutil.which("git"), Path(__file__).parent
    if git is None:
        return None
    answers = [
        subprocess.run([git, "-C", here, *words], capture_output=True, text=True, check=False)
        for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    ]
    if answers[0].returncode:
        return None
    return answers[0].stdout.strip() + ("+changes" if answers[1].stdout.strip() else "")


def rows_sha256(items: Sequence[Item]) -> str:
    """What was read of indices, lists or trees, wherever they lie: paths from the folder that holds them all."""
    if not items:
        return hashlib.sha256().hexdigest()
    folder = os.path.commonpath([os.path.abspath(item.path.parent) for item in items])  # noqa: PTH100  # follows no link
    digest = hashlib.sha256()
    for item in items:
        path = Path(os.path.abspath(item.path)).relative_to(folder).as_posix()  # noqa: PTH100
        row = (path, item.label, item.video, item.dataset, item.source, item.pair)
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def _crops_sha256(items: Sequence[Item]) -> str:
    """Over the SHA-256 of each crop in the index's order: the pixels, whatever the files are called."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(bytes.fromhex(file_sha256(item.path)))
    return digest.hexdigest()
