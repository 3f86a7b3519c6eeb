"""The real perf_analyzer, fetched once into build/perf_analyzer, to compare our load generator with.

tritonclient's manylinux wheel of 2.51.0 carries the binary; later ones do not, and the package called
perf-analyzer is empty. It is linked to two libraries that a machine without Triton's SDK image lacks:
libb64 (Debian's package, unpacked beside it, nothing is installed into the system) and CUDA's runtime,
of which nvidia-pytriton brings a copy that needs no GPU.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from ctypes.util import find_library
from pathlib import Path
from typing import NamedTuple

from server.environment import SERVING_ENV, find_uv
from server.interpreters import describe
from server.launch import KEY_HEADER
from tests.conftest import ROOT

WHEEL = "tritonclient==2.51.0"
FOLDER = ROOT / "build" / "perf_analyzer"
WINDOWS = 3
"""perf_analyzer judges stability by three, so it reports after three at the earliest."""

ANY = "1000000"
"""Allowed variation, percent: the throughput of three windows is wanted, stable or not."""


Tensor = Mapping[str, object]


class UnavailableError(Exception):
    """A package that the binary needs cannot be had here."""


class PerfAnalyzer(NamedTuple):
    """An executable and the folder of the libraries that the system may lack."""

    binary: Path
    libraries: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "LD_LIBRARY_PATH": str(self.libraries)}


class Reported(NamedTuple):
    """What its CSV says."""

    throughput: float
    """Requests a second."""

    mean_us: float
    p50_us: float
    p99_us: float


def fetch() -> PerfAnalyzer:
    """The binary from an earlier call, or from the package registries.

    Raises:
        UnavailableError: they cannot be reached, or the binary does not run here.
    """
    found = PerfAnalyzer(FOLDER / "wheel" / "bin" / "perf_analyzer", FOLDER / "libraries")
    if not FOLDER.exists():
        FOLDER.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER.parent) as unfinished:
            _fill(Path(unfinished) / "whole")
            (Path(unfinished) / "whole").rename(FOLDER)
    _run([str(found.binary), "--version"], env=found.environment)
    return found


def _fill(folder: Path) -> None:
    """Download everything, or leave nothing that could be taken for it."""
    libraries = folder / "libraries"
    libraries.mkdir(parents=True)
    python = describe(sys.executable)
    assert python is not None, "the Python that runs this cannot be run"
    _run([find_uv(python), "pip", "install", "--quiet", "--no-deps", "--python", sys.executable,
          "--target", str(folder / "wheel"), WHEEL])  # fmt: skip
    copies = sorted(SERVING_ENV.glob("lib/python3.*/site-packages/nvidia_pytriton.libs/libcudart-*.so.12*"))
    if not copies:
        raise UnavailableError(f"no libcudart.so.12 in {SERVING_ENV}")
    shutil.copy(copies[0], libraries / "libcudart.so.12")
    if find_library("b64") is None:
        _unpack_libb64(folder, libraries)


def _unpack_libb64(folder: Path, libraries: Path) -> None:
    _run(["apt-get", "download", "libb64-0d"], cwd=folder)
    (package,) = folder.glob("libb64-0d_*.deb")
    _run(["dpkg", "--extract", str(package), str(folder / "libb64")])
    for library in (folder / "libb64").rglob("libb64.so.0*"):
        shutil.copy(library, libraries / library.name)


def _run(command: Sequence[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    try:
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=True).stdout
    except subprocess.CalledProcessError as error:
        raise UnavailableError(f"{command[0]}: {error.stderr.strip() or error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(str(error)) from error


def image_tensor(image: bytes) -> Tensor:
    """A BYTES tensor of one element: its ``b64`` begins with the length."""
    return {"image": {"b64": base64.b64encode(len(image).to_bytes(4, "little") + image).decode(), "shape": [1]}}


def crop_tensor(crop: bytes, side_px: int) -> Tensor:
    return {"crops": {"b64": base64.b64encode(crop).decode(), "shape": [side_px, side_px, 3]}}


def write_input(path: Path, tensors: Sequence[Tensor]) -> Path:
    """perf_analyzer's input data: one request each, sent in turn."""
    path.write_text(json.dumps({"data": tensors}), encoding="utf-8")
    return path


def run_perf_analyzer(
    found: PerfAnalyzer, arguments: Sequence[str], folder: Path, *, grpc_url: str, key: str, least: int
) -> tuple[Reported, str]:
    """Three windows of one closed loop; what its CSV says, and its console block.

    Args:
        found: the binary.
        arguments: model, input data and concurrency.
        folder: for its CSV; it writes one for each composing model beside it.
        grpc_url: ``host:port`` of the server.
        key: of the server: perf_analyzer asks for the model's configuration, which is restricted.
        least: requests in a window; it goes on in steps of a second until it holds them. A window of a stated time that
            holds none ends perf_analyzer, which a busy machine would make it.
    """
    (folder / "o.csv").unlink(missing_ok=True)
    fixed = ["-u", grpc_url, "-i", "grpc", "-H", f"triton-grpc-protocol-{KEY_HEADER}:{key}", "--async", "--verbose-csv",
             "-f", "o.csv", "--measurement-mode", "count_windows",
             "--measurement-request-count", str(least), "-r", str(WINDOWS), "-s", ANY]  # fmt: skip
    ran = subprocess.run(
        [str(found.binary), *arguments, *fixed],
        cwd=folder, env=found.environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return parse_csv(folder / "o.csv"), ran.stdout


def parse_csv(path: Path) -> Reported:
    """The one row of its CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    return Reported(
        float(row["Inferences/Second"]), float(row["Avg latency"]), float(row["p50 latency"]), float(row["p99 latency"])
    )
