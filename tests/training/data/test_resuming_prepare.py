"""A long prepare: several processes, cut off and gone on with."""

import fcntl
import filecmp
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnclip.errors import ConfigError
from lnclip.sampling import FrameChoice
from tests.clips import moving, write_clip
from tests.conftest import ROOT
from tests.training.data.reports import report_of
from training.data import cutting, preparation
from training.data.faces import find_faces
from training.data.journal import open_journal
from training.data.preparation import prepare
from training.data.processes import Died

FOUR = FrameChoice(sampling="spread", count=4)


@pytest.fixture
def four_clips(face: np.ndarray, tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for name in "abcd":
        write_clip(tmp_path / "videos" / f"{name}.mp4", moving(face, 6))
    Image.fromarray(face).save(tmp_path / "videos" / "e.png")
    return tmp_path / "videos"


def same_files(one: Path, other: Path) -> bool:
    names = [{path.relative_to(out) for path in out.rglob("*") if path.is_file()} for out in (one, other)]
    return names[0] == names[1] and filecmp.cmpfiles(one, other, names[0], shallow=False)[0] == list(names[0])


@pytest.mark.slow
def test_several_processes_write_the_same_files(four_clips, detector_folder, tmp_path):
    for workers in (1, 2):
        prepare([four_clips], "real", tmp_path / str(workers), detector_folder, choice=FOUR, workers=workers)
    assert same_files(tmp_path / "1", tmp_path / "2")


@pytest.fixture
def cut_off(four_clips: Path, detector_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was interrupted in its third video, when two frames of that were written."""
    out, looks = tmp_path / "cut-off", []

    def find_until_interrupted(*arguments):
        looks.append(1)
        if len(looks) == 11:
            raise KeyboardInterrupt
        return find_faces(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(cutting, "find_faces", find_until_interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare([four_clips], "real", out, detector_folder, choice=FOUR)
    assert not (out / "index.csv").exists()
    return out


def test_a_run_that_was_cut_off_goes_on(four_clips, cut_off, detector_folder, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    with (cut_off / "journal.jsonl").open("a") as file:
        file.write('{"input": "half a li')  # as kill -9 or a full disk leaves it
    looks = []
    monkeypatch.setattr(cutting, "find_faces", lambda *arguments: looks.append(1) or find_faces(*arguments))
    prepare([four_clips], "real", cut_off, detector_folder, choice=FOUR)
    assert len(looks) == 2 * 4 + 1
    assert "2 files were done before" in caplog.text
    prepare([four_clips], "real", tmp_path / "whole", detector_folder, choice=FOUR)
    assert same_files(cut_off, tmp_path / "whole")


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path):
    outcomes = {"one": cutting.Outcome("ok", ("a/0.png", "a/1.png"), 3, 4), "two": cutting.Outcome("no_face")}
    for key, outcome in outcomes.items():
        with open_journal(tmp_path / "journal.jsonl", {"frames": 4}) as journal:
            journal.add(key, outcome)
        with (tmp_path / "journal.jsonl").open("a") as file:
            file.write('{"input": "half a li')
    with open_journal(tmp_path / "journal.jsonl", {"frames": 4}) as journal:
        assert journal.done == outcomes


def test_a_damaged_journal_is_told(tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"frames": 4}\nnonsense\n')
    with (
        pytest.raises(ConfigError, match=r"journal\.jsonl is damaged; remove"),
        open_journal(tmp_path / "journal.jsonl", {"frames": 4}),
    ):
        pass


def test_a_file_that_changed_meanwhile_is_done_again(four_clips, cut_off, face, detector_folder, monkeypatch):
    write_clip(four_clips / "a.mp4", moving(face, 3))
    summary = prepare([four_clips], "real", cut_off, detector_folder, choice=FOUR)
    assert summary.num_crops == 3 + 3 * 4 + 1
    assert len(list((cut_off / "crops").rglob("*.png"))) == summary.num_crops


def test_other_settings_do_not_go_on_with_a_run(four_clips, cut_off, detector_folder):
    choice = FrameChoice(sampling="uniform", count=8)
    with pytest.raises(
        ConfigError, match=r"other settings: sampling spread, now uniform; frames 4, now 8; give the same"
    ):
        prepare([four_clips], "real", cut_off, detector_folder, choice=choice)


def test_two_runs_do_not_write_to_one_folder(four_clips, cut_off, detector_folder):
    with (cut_off / "journal.jsonl").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process writes to"):
            prepare([four_clips], "real", cut_off, detector_folder, choice=FOUR)


def test_a_file_that_kills_its_process_is_a_row(four_clips, detector_folder, tmp_path, monkeypatch):
    """test_processes shows that such a death is noticed."""
    outcome = cutting.Outcome("no_face")
    monkeypatch.setattr(
        preparation,
        "share_out",
        lambda work, tasks, num_workers: [(1, Died("SIGSEGV")), *((n, outcome) for n in (0, 2, 3, 4))],
    )
    summary = prepare([four_clips], "real", tmp_path / "out", detector_folder)
    row = report_of(tmp_path / "out")["b.mp4"]
    assert (row["status"], row["code"]) == ("error", "crashed")
    assert row["reason"] == "the process that read it was ended by SIGSEGV"
    assert (summary.num_no_face, summary.num_errors) == (4, 1)


@pytest.mark.slow
def test_a_killed_command_goes_on(four_clips, detector_folder, tmp_path):
    out = tmp_path / "out"
    words = ("prepare", four_clips, "--label", "real", "--out", out, "--detector", detector_folder, "--workers", "2")
    command = [sys.executable, "-m", "training", *map(str, words)]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    deadline = time.monotonic() + 30
    journal = out / "journal.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "index.csv").exists()
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == str(out / "index.csv")
    assert "files were done before" in answer.stderr
    prepare([four_clips], "real", tmp_path / "whole", detector_folder)
    assert same_files(out, tmp_path / "whole")
