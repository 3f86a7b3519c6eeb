"""RetinaFace's published weights: fetched, checked, and kept in a form that cannot carry code.

Upstream's own loader unpickles the download unchecked. Here the archive must be the one seen the
first time (upstream publishes no checksum), hold one .pth, unpickle to tensors alone, and hold
exactly the network's tensors.
"""

from __future__ import annotations

import http.client
import io
import logging
import os
import pickle
import struct
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from export.retinaface_export import build_network
from lnclip.encoder import load_strictly
from lnclip.errors import ArtifactError, ConfigError, SetupError
from lnclip.identity import file_sha256

log = logging.getLogger(__name__)

URL = "https://github.com/ternaus/retinaface/releases/download/0.01/retinaface_resnet50_2020-07-20-f168fae3c.zip"
CACHE = Path("build/weights")
"""Where a download is kept."""

MAX_DOWNLOAD_BYTES = 160 * 2**20
"""The archive has about 97 MB."""

MAX_MEMBER_BYTES = 256 * 2**20
"""Unpacked; the .pth has about 110 MB."""

UNPICKLING_ERRORS = (
    *(pickle.UnpicklingError, struct.error, RuntimeError, EOFError),
    *(ValueError, LookupError, AttributeError, TypeError, AssertionError),
)
"""What torch.load raises for what is no checkpoint, depending on where it stumbles."""

TIMEOUT_S = 30
CHUNK_BYTES = 2**20


class Weights(NamedTuple):
    """All tensors of the network, and the file that they came from."""

    tensors: dict[str, Tensor]
    name: str
    sha256: str


def load_weights(path: Path | None) -> Weights:
    """Read a .pth, .zip or .safetensors; None is the published file, downloaded once.

    Raises:
        ConfigError: the ending says none of these.
        SetupError: the download failed.
        ArtifactError: the file is damaged, or does not hold exactly the network's tensors.
    """
    if path is None:
        path = fetch()
    try:
        tensors = _read(path)
        check_tensors(tensors, str(path))
        return Weights(tensors, path.name, file_sha256(path))
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}") from error


def fetch(folder: Path = CACHE, url: str = URL, sha256: str | None = None) -> Path:
    """Download the published archive and keep its tensors as .safetensors.

    Beside it lies NAME.sha256 with the checksums of both: from then on only that archive is
    accepted, and what is there and intact is not downloaded again.

    Args:
        folder: made if need be.
        url: of a .zip.
        sha256: of the archive, where known from elsewhere.

    Raises:
        SetupError: it cannot be downloaded, whole and below the size limit.
        ArtifactError: its checksum is another, or it does not hold the network's tensors.
    """
    archive_name = PurePosixPath(url).name
    kept = folder / PurePosixPath(archive_name).with_suffix(".safetensors")
    record = folder / f"{archive_name}.sha256"
    checksums = _read_record(record)
    wanted = sha256 or checksums.get(archive_name)
    if kept.is_file() and checksums.get(archive_name) == wanted and checksums.get(kept.name) == file_sha256(kept):
        return kept

    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{os.getpid()}.zip"
    try:
        download(url, temporary)
        digest = file_sha256(temporary)
        if wanted not in {None, digest}:
            raise ArtifactError(f"{url} has SHA-256 {digest}, must be {wanted} ({record} or your own): not used")
        if wanted is None:
            log.info("first download of %s: its SHA-256 is recorded in %s", url, record)
        tensors = _read_archive(temporary, url)
        check_tensors(tensors, url)
        partial = temporary.with_suffix(".safetensors")
        save_file(tensors, partial)
        partial.replace(kept)
    finally:
        temporary.unlink(missing_ok=True)
        temporary.with_suffix(".safetensors").unlink(missing_ok=True)
    record.write_text(f"{digest}  {archive_name}\n{file_sha256(kept)}  {kept.name}\n", encoding="utf-8")
    return kept


def _read_record(path: Path) -> dict[str, str]:
    """Checksums by file name, as sha256sum writes them."""
    if not path.is_file():
        return {}
    lines = (line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines() if "  " in line)
    return {name: digest for digest, name in lines}


def download(url: str, path: Path) -> None:
    """Fetch ``url`` whole.

    Raises:
        SetupError: no answer, one that is too large, or one that ends early.
    """
    try:
        # The scheme is our constant's or the caller's own.
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, path.open("wb") as file:  # noqa: S310
            announced = int(answer.headers.get("Content-Length", 0))
            received = _copy(answer, file, MAX_DOWNLOAD_BYTES)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = error if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", error)
        raise SetupError(_not_downloaded(url, str(reason))) from error
    except _TooLarge as error:
        raise SetupError(_not_downloaded(url, f"more than {MAX_DOWNLOAD_BYTES >> 20} MiB")) from error
    if announced and received != announced:
        raise SetupError(_not_downloaded(url, f"it ended after {received} of {announced} bytes"))


def _not_downloaded(url: str, reason: str) -> str:
    return f"{url} cannot be downloaded: {reason}. Download it elsewhere and give --weights FILE"


class _TooLarge(Exception):  # noqa: N818 - a signal between two functions
    """More bytes than allowed."""


def _copy(source: IO[bytes], target: IO[bytes], limit_bytes: int) -> int:
    received = 0
    while chunk := source.read(CHUNK_BYTES):
        received += len(chunk)
        if received > limit_bytes:
            raise _TooLarge
        target.write(chunk)
    return received


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors of a file, by its ending."""
    match path.suffix:
        case ".zip":
            return _read_archive(path, str(path))
        case ".pth":
            return _unpickle(path.read_bytes(), str(path))
        case ".safetensors":
            try:
                return load_file(path)
            except SafetensorError as error:
                raise ArtifactError(f"{path} is damaged: {error}") from error
    raise ConfigError(f"{path}: weights are a .pth, .zip or .safetensors")


def _read_archive(path: Path, source: str) -> dict[str, Tensor]:
    """Tensors of the one .pth in a .zip; ``source`` is what errors call it."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(names) != 1 or PurePosixPath(names[0]).name != names[0] or not names[0].endswith(".pth"):
                raise ArtifactError(f"{source} must hold one .pth and nothing else; it holds {', '.join(names[:5])}")
            unpacked = io.BytesIO()
            with archive.open(members[0]) as member:
                _copy(member, unpacked, MAX_MEMBER_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ArtifactError(f"{source} is damaged: {error}") from error
    except _TooLarge as error:
        raise ArtifactError(f"{source} unpacks to more than {MAX_MEMBER_BYTES >> 20} MiB") from error
    return _unpickle(unpacked.getvalue(), source)


def _unpickle(data: bytes, source: str) -> dict[str, Tensor]:
    """Tensors of a .pth; whatever else a pickle can hold is refused."""
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UNPICKLING_ERRORS as error:
        reason = str(error).partition("\n")[0]
        raise ArtifactError(f"{source} is no file of weights: {reason}") from error
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ArtifactError(f"{source} holds more than named tensors: not retinaface-pytorch's weights")
    return {name: value.contiguous() for name, value in loaded.items()}


def check_tensors(tensors: dict[str, Tensor], source: str) -> None:
    """Exactly the network's names and shapes.

    Raises:
        ArtifactError: naming what is missing, unexpected or misshapen.
    """
    load_strictly(build_network(), tensors, Path(source))
