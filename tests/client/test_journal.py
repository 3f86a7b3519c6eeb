"""The journal by itself: what of it survives which accident. ``test_resume`` does the same with the command."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import resource
import signal
import sys
from pathlib import Path
from typing import IO

import pytest

from client.journal import journal_path, open_journal
from client.readers import read_rows
from client.run_settings import settings_path
from client.sources.finding import Found
from lnclip.errors import ConfigError
from tests.client.rows_of_files import scored

SETTINGS = {"parameters": {"max_faces": 3}, "crops": False}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{index}.jpg" for index in range(5)]
    for path in paths:
        path.write_text(path.name)
    return paths


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "rows.jsonl"


def opened(out: Path, *, resume: bool = True, overwrite: bool = False, **changed: object):
    return open_journal(out, SETTINGS | changed, resume=resume, overwrite=overwrite)


def run(out: Path, files: list[Path], *, finished: bool = True, p_fake: float = 0.5, **options: bool) -> list[Path]:
    """As a run does it: what is new is scored. Returns what was."""
    with opened(out, **options) as journal:
        standings = journal.index.recall([Found(str(file), "input") for file in files])
        new = [file for file, standing in zip(files, standings, strict=True) if standing == "new"]
        for file in new:
            journal.append([scored(file, p_fake)])
        journal.write_result(finished=finished)
    return new


def paths(out: Path) -> list[str]:
    return [Path(row.path).name for row in read_rows(out)]


@pytest.fixture
def half_done(out: Path, files: list[Path]) -> Path:
    """A journal with the rows of two files, whose writer was killed."""
    run(out, files[:2], finished=False)
    out.unlink()
    settings_path(out).unlink()
    return out


def test_a_finished_run_leaves_the_result_and_its_settings(out: Path, files: list[Path]) -> None:
    assert run(out, files) == files
    assert {path.name for path in out.parent.iterdir()} == {"rows.jsonl", "rows.jsonl.settings.json"}
    assert paths(out) == [file.name for file in files]


def test_what_was_scored_before_is_kept(half_done: Path, files: list[Path]) -> None:
    assert run(half_done, files, p_fake=0.9) == files[2:]
    assert [row.p_fake for row in read_rows(half_done)] == [0.5, 0.5, 0.9, 0.9, 0.9]
    assert not journal_path(half_done).exists()


def test_a_journal_that_was_cut_off_anywhere_goes_on(half_done: Path, files: list[Path]) -> None:
    whole = journal_path(half_done).read_bytes()
    first, *_ = whole.splitlines(keepends=True)
    for length in range(len(first), len(whole), 23):
        half_done.unlink(missing_ok=True)
        settings_path(half_done).unlink(missing_ok=True)
        journal_path(half_done).write_bytes(whole[:length])
        kept = whole[len(first) : length].count(b"\n")
        with opened(half_done):
            assert journal_path(half_done).read_bytes().endswith(b"\n")
        assert run(half_done, files) == files[kept:]
        assert paths(half_done) == [file.name for file in files]


def test_a_damaged_line_is_named(half_done: Path, files: list[Path]) -> None:
    lines = journal_path(half_done).read_bytes().splitlines(keepends=True)
    journal_path(half_done).write_bytes(lines[0] + b'{"path": \n' + lines[2])
    with pytest.raises(ConfigError, match=r"rows.jsonl.journal: line 2 is damaged"):
        run(half_done, files)


def test_a_file_that_is_no_longer_given_has_no_row(half_done: Path, files: list[Path]) -> None:
    run(half_done, files[1:])
    assert paths(half_done) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]


def test_an_interrupted_run_keeps_the_rows_that_it_did_not_reach(half_done: Path, files: list[Path]) -> None:
    run(half_done, files[3:], finished=False)
    assert paths(half_done) == ["0.jpg", "1.jpg", "3.jpg", "4.jpg"]
    assert run(half_done, files) == [files[2]]
    assert sorted(paths(half_done)) == [file.name for file in files]


def test_other_settings_are_refused_and_named(half_done: Path) -> None:
    named = r"\(crops was False, is True; parameters.max_faces was 3, is not given\)"
    with pytest.raises(ConfigError, match=named), opened(half_done, crops=True, parameters={}):
        pass
    assert len(journal_path(half_done).read_bytes().splitlines()) == 3


def test_an_unfinished_run_is_neither_lost_nor_taken_up_unasked(half_done: Path, files: list[Path]) -> None:
    with pytest.raises(ConfigError, match="--resume goes on, --overwrite begins anew"):
        run(half_done, files, resume=False)
    assert run(half_done, files, resume=False, overwrite=True) == files


def test_one_process_at_a_time(out: Path, files: list[Path]) -> None:
    with opened(out) as journal:
        with pytest.raises(ConfigError, match=r"rows.jsonl.journal is in use by another run"):
            run(out, files)
        journal.append([scored(files[0])])
    assert run(out, files) == files[1:]


def test_a_journal_that_its_owner_just_removed_is_not_written_to(
    out: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, lock = iter([journal_path(out)]), fcntl.flock

    def late_lock(file: IO[bytes], how: int) -> None:
        for path in owner:
            path.unlink()
        lock(file, how)

    monkeypatch.setattr("client.journal.fcntl.flock", late_lock)
    assert run(out, files) == files
    assert len(paths(out)) == 5


def test_a_run_that_scored_nothing_leaves_nothing(out: Path) -> None:
    with pytest.raises(KeyError), opened(out):
        raise KeyError
    assert list(out.parent.iterdir()) == []


def test_an_old_result_is_there_until_the_new_one_is(out: Path, files: list[Path]) -> None:
    run(out, files[:2])
    with opened(out, resume=False, overwrite=True) as journal:
        journal.append([scored(files[4])])
        assert paths(out) == ["0.jpg", "1.jpg"]
        journal.index.recall([Found(str(files[4]), "input")])
        journal.write_result(finished=True)
    assert paths(out) == ["4.jpg"]
    assert run(out, files, resume=False, overwrite=True) == files


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_a_result_that_finds_no_room_leaves_the_journal(out: Path, files: list[Path], ending: str) -> None:
    out = out.with_suffix(ending)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(out) as journal:
        journal.append([scored(file) for file in files])
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, unlimited[1]))
            with pytest.raises(ConfigError, match=f"rows{ending} cannot be written: .*File too large"):
                journal.write_result(finished=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert [path.name for path in out.parent.iterdir()] == [f"rows{ending}.journal"]
    assert run(out, files) == []
    assert len(paths(out)) == 5


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_a_finished_result_is_added_to(out: Path, files: list[Path], ending: str) -> None:
    out = out.with_suffix(ending)
    run(out, files[:3])
    files[1].write_text("other content")
    assert run(out, files[1:], p_fake=0.9) == [files[1], files[3], files[4]]
    assert {row.path: row.p_fake for row in read_rows(out)} == {
        str(file): 0.5 if file == files[2] else 0.9 for file in files[1:]
    }


def test_a_finished_result_of_other_or_unknown_settings_is_not(out: Path, files: list[Path]) -> None:
    run(out, files)
    with pytest.raises(ConfigError, match="crops was False, is True"), opened(out, crops=True):
        pass
    settings_path(out).unlink()
    with pytest.raises(ConfigError, match=r"rows.jsonl.settings.json, which says how it was scored"), opened(out):
        pass
    assert len(paths(out)) == 5
    assert not journal_path(out).exists()


def test_a_file_that_is_no_journal_is_not_touched(out: Path, files: list[Path]) -> None:
    journal_path(out).write_text("my diary")
    with pytest.raises(ConfigError, match="does not say how rows were scored"):
        run(out, files)
    assert journal_path(out).read_text() == "my diary"


def killed_at(step: int, out: Path, files: list[Path]) -> None:
    """A run on top of a finished one, killed before the ``step``-th change of a name or a length in its folder."""
    changes = iter(range(step))

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        where = "".join(map(str, arguments)) if event in ("os.rename", "os.remove", "open") else ""
        if (event == "os.truncate" or str(out.parent) in where) and next(changes, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    run(out, files, p_fake=0.9)


def test_a_kill_at_any_step_loses_nothing(out: Path, files: list[Path]) -> None:
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__])
    kills, most = 0, len(files)
    for step in range(100):
        for old in out.parent.iterdir():
            old.unlink()
        run(out, files[:2])
        process = server.Process(target=killed_at, args=(step, out, files[1:]))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        again = run(out, files[1:], p_fake=0.9)
        assert files[1] not in again
        assert len(again) <= most  # what one kill leaves, a later one does not lose
        most = len(again)
        assert {row.path: row.p_fake for row in read_rows(out)} == {
            str(file): 0.5 if file == files[1] else 0.9 for file in files[1:]
        }
        assert {path.name for path in out.parent.iterdir()} == {"rows.jsonl", "rows.jsonl.settings.json"}, step
    assert kills > 15
    assert most == 0
