"""The result of a Ray job: a folder of Parquet parts, and in it the private folder of the run at work.

    OUT.parquet/
        _settings.json          what decides scores
        _run-1f2e3d4c/          of the run at work: what each part is to hold, and parts that are not whole
        part-000000.parquet     rows of up to a thousand inputs

Names that begin with an underscore are no data to whatever reads folders of Parquet files.

A part appears in one step, moved there out of its run's folder. Whoever begins a run takes the folders
of all others away first: a worker that outlived a killed driver has nothing left that it could move.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import JsonValue

from client.replacing import replacing
from client.run_settings import FOLDER_SETTINGS as SETTINGS
from client.run_settings import RunSettings
from lnclip.errors import ConfigError

ENDING = ".parquet"
PART = re.compile(r"part-(\d{6,})\.parquet")
RUN = re.compile(r"_(run|gone)-[0-9a-f]{8}")


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Where one run finds and puts things; the same on every node."""

    out: Path
    """The result, absolute."""

    work: Path
    """Of this run alone."""

    def parts(self) -> list[Path]:
        """Those that are whole, by number."""
        return sorted((path for path in self.out.iterdir() if PART.fullmatch(path.name)), key=_number)

    def part(self, number: int) -> Path:
        """The rows of a partition."""
        return self.out / f"part-{number:06}.parquet"

    def manifest(self, number: int) -> Path:
        """The inputs of a partition."""
        return self.work / f"inputs-{number:06}.jsonl"

    def drafts(self, number: int) -> list[Path]:
        """Those of a part that were begun."""
        return list(self.work.glob(f"draft-{number:06}-*"))

    def new_draft(self, number: int) -> Path:
        """Where a part is written before it is whole, an empty file as yet.

        Raises:
            OSError: it cannot be made.
        """
        draft = self.work / f"draft-{number:06}-{secrets.token_hex(4)}{ENDING}"
        draft.touch()
        return draft

    def outcomes(self) -> Counter[str]:
        """How many of its rows are ``ok``, ``no_face``, or errors of each code."""
        counter = Counter[str]()
        for part in self.parts():
            with pq.ParquetFile(part) as file:
                rows = file.read(["status", "error"]).to_pylist()
            counter.update(row["error"]["code"] if row["error"] else row["status"] for row in rows)
        return counter

    def first_free(self) -> int:
        """No part has this number or a higher one."""
        return max(map(_number, self.parts()), default=-1) + 1


@contextmanager
def open_run(out: Path, settings: Mapping[str, JsonValue], *, resume: bool, overwrite: bool) -> Iterator[RunFolder]:
    """Begin a run, or go on with an earlier one.

    Args:
        out: the result.
        settings: what decides scores.
        resume: keep the parts that are there.
        overwrite: remove them.

    Raises:
        ConfigError: as ``check_out``; or nothing can be written there.
    """
    check_out(out, settings, resume=resume, overwrite=overwrite)
    out = out.absolute()
    folder = RunFolder(out=out, work=out / f"_run-{secrets.token_hex(4)}")
    try:
        out.mkdir(exist_ok=True)
        _take_over(folder)
        if overwrite:  # before the settings: parts never stand beside settings of others
            for part in folder.parts():
                part.unlink()
        with replacing(out / SETTINGS) as partial:
            partial.write_bytes(RunSettings(settings=dict(settings)).line())
        folder.work.mkdir()
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        is_ours = _remove(folder.work)
        if is_ours and not folder.parts():
            (out / SETTINGS).unlink(missing_ok=True)
            out.rmdir()


def check_out(out: Path, settings: Mapping[str, JsonValue], *, resume: bool, overwrite: bool) -> None:
    """See whether a run may begin or go on there; changes nothing.

    Raises:
        ConfigError: something is there and neither was asked for; or it was made with other settings; or it
            is no result of a Ray job.
    """
    if resume and overwrite:
        raise ConfigError("--resume keeps what is there and --overwrite does not: give one of them")
    if out.suffix.lower() != ENDING:
        raise ConfigError(f"{out}: with --ray the result is a folder of Parquet parts; its name must end in {ENDING}")
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"{out} is a file; with --ray the result is a folder of Parquet parts: name another --out")
    names = [path.name for path in out.iterdir()]
    strange = [name for name in names if not _is_ours(name)]
    if strange:
        raise ConfigError(f"{out} holds {strange[0]}, which no Ray job wrote: name another --out")
    if overwrite or not any(map(PART.fullmatch, names)):
        return
    if not resume:
        raise ConfigError(f"{out} exists already: --resume goes on with it, --overwrite begins anew")
    if SETTINGS not in names:
        raise ConfigError(
            f"{out} cannot be added to: {SETTINGS}, which says how it was scored, is not in it; "
            "name another --out, or score all again with --overwrite"
        )
    RunSettings(settings=dict(settings)).check_same((out / SETTINGS).read_bytes(), out / SETTINGS)


def _is_ours(name: str) -> bool:
    return bool(PART.fullmatch(name) or RUN.fullmatch(name)) or name == SETTINGS or name.startswith(".")


def _take_over(folder: RunFolder) -> None:
    """End other runs: from now on none of their workers can add a part."""
    for path in folder.out.iterdir():
        if RUN.fullmatch(path.name):
            _remove(path)
        elif path.name.startswith(".part-"):  # a part that was being cut down
            path.unlink()


def _remove(work: Path) -> bool:
    """In one step for those who still write there; whether it was there."""
    gone = work.with_name(f"_gone-{secrets.token_hex(4)}")
    try:
        work.rename(gone)
    except FileNotFoundError:  # another run took over
        return False
    shutil.rmtree(gone, ignore_errors=True)
    return True


def _number(part: Path) -> int:
    return int(part.stem.removeprefix("part-"))
