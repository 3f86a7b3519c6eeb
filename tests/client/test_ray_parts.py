"""What a Ray job writes and what it goes on with; without Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import numpy as np
import pytest

from client import read_rows
from client.job import ScoreRun, score_paths
from client.options import ScoreOptions
from client.pipeline import FoundCount
from client.ray_job.partitions import make_partitions, read_manifest
from client.ray_job.result_folder import RunFolder, open_run
from client.ray_job.worker import TRIES, PartScorer, Receipt, WorkerJob
from client.sources.finding import Found, find
from lnclip.errors import ConfigError
from tests.client.peer import Peer, RefusalError, sent_image, serve
from tests.client.runs import answer_of, by_input, scores, sent, write_files


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "rows.parquet"


def planned(folder: RunFolder, finds: Iterator[Found], *, workers: int = 2) -> list[int]:
    return make_partitions(finds, folder, workers=workers, count=FoundCount(), tell=lambda: None)


def made(folder: RunFolder, numbers: Sequence[int], url: str) -> list[Receipt]:
    """As a worker does, in this process."""
    worker = PartScorer(WorkerJob(folder=folder, urls=[url], options=ScoreOptions(), directory=Path.cwd()))
    said = [worker({"number": np.array([number])})["receipt"] for number in numbers]
    worker.close()
    return [Receipt.model_validate_json(receipt) for [receipt] in said]


def scored(out: Path, url: str, *paths: Path, resume: bool = False, overwrite: bool = False) -> list[Receipt]:
    with open_run(out, ScoreOptions().deciding(), resume=resume, overwrite=overwrite) as folder:
        return made(folder, planned(folder, find(paths)), url)


def reference(out: Path, url: str, *paths: Path) -> Path:
    score_paths(ScoreRun(paths=[str(path) for path in paths], out=out, urls=[url]))
    return out


def test_inputs_are_shared_out_in_parts_of_a_thousand_at_most(out: Path) -> None:
    odd = os.fsdecode(b"/data/\xe9 100%.jpg")
    finds = [Found(odd, "input", {"who": "Zoë", "n": 1})] + [Found(f"/{n}.jpg", "input") for n in range(9000)]
    with open_run(out, {}, resume=False, overwrite=False) as folder:
        manifests = [read_manifest(folder.manifest(n)) for n in planned(folder, iter(finds))]
        assert [len(each) for each in manifests] == [1000] * 9 + [1]
        assert [found for each in manifests for found in each] == finds
        few = planned(folder, iter(finds[:10]))
        assert [len(read_manifest(folder.manifest(n))) for n in few] == [2] * 5  # four for each worker, at least
    assert not out.exists()


def test_a_resumed_run_scores_what_is_new_changed_or_the_fault_of_the_server(out: Path, tmp_path: Path) -> None:
    files = write_files(tmp_path / "media", 12)
    is_broken = True

    def behave(request):
        if is_broken and sent_image(request) == b"picture 3":
            raise RefusalError(grpc.StatusCode.INTERNAL, "out of memory")
        return answer_of(sent_image(request))

    (files / "empty.jpg").touch()
    (files / "vanishes.jpg").write_bytes(b"picture that vanishes")
    peer = Peer(behave)
    with serve(peer) as url:
        receipts = scored(out, url, files)
        assert sum(receipt.codes.get("internal", 0) for receipt in receipts) == 1
        assert len(by_input(out)) == 14

        is_broken = False
        (files / "5.jpg").write_bytes(b"changed")
        (files / "new.jpg").write_bytes(b"new")
        (files / "vanishes.jpg").unlink()
        peer.requests.clear()
        scored(out, url, files, resume=True)
        assert sorted(sent(peer).elements()) == [b"changed", b"new", b"picture 3"]
        assert by_input(out) == by_input(reference(tmp_path / "rows.jsonl", url, files))

        peer.requests.clear()
        assert scored(out, url, files, resume=True) == []
    assert not peer.requests
    assert {path.name.partition("-")[0] for path in out.iterdir()} == {"part", "_settings.json"}


def test_rows_of_a_table_are_inputs_of_their_own_and_columns_are_carried(out: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "media", 2)
    table = tmp_path / "media" / "table.csv"
    table.write_text("path,who\n0.jpg,Ann\n0.jpg,Bob\n0.jpg,Ann\n1.jpg,\nmissing.jpg,Zoë\n", encoding="utf-8")
    with serve(scores()) as url:
        scored(out, url, table)
        scored(out, url, table, resume=True)
        assert by_input(out) == by_input(reference(tmp_path / "rows.jsonl", url, table))
    assert sorted(str(row.columns.get("who") or "") for row in read_rows(out)) == ["", "Ann", "Bob", "Zoë"]


def test_a_worker_that_outlived_its_run_adds_nothing_to_the_next(out: Path, tmp_path: Path) -> None:
    files = write_files(tmp_path / "media", 8)
    with serve(scores()) as url:
        killed = open_run(out, ScoreOptions().deciding(), resume=False, overwrite=False)
        earlier = killed.__enter__()
        numbers = planned(earlier, find([files]))
        made(earlier, numbers[:3], url)
        with open_run(out, ScoreOptions().deciding(), resume=True, overwrite=False) as folder:
            rest = planned(folder, find([files]))
            late = made(earlier, numbers[3:], url)
            assert [bool(receipt.failure) for receipt in late] == [True] * len(late)
            assert len(folder.parts()) == 3
            made(folder, rest, url)
        killed.__exit__(None, None, None)
        assert by_input(out) == by_input(reference(tmp_path / "rows.jsonl", url, files))


def test_a_part_that_kills_every_worker_has_error_rows_in_the_end(out: Path, tmp_path: Path) -> None:
    files = write_files(tmp_path / "media", 16)
    with serve(scores()) as url:
        with open_run(out, ScoreOptions().deciding(), resume=False, overwrite=False) as folder:
            first, *others = planned(folder, find([files]))
            for _ in range(TRIES):
                folder.new_draft(first)
            [receipt] = made(folder, [first], url)
            assert (receipt.ok, receipt.codes, receipt.failure) == (0, {"aborted": 2}, None)
            made(folder, others, url)
        assert len(by_input(out)) == 16
        scored(out, url, files, resume=True)
        assert by_input(out) == by_input(reference(tmp_path / "rows.jsonl", url, files))


def test_a_result_that_is_there_is_kept_unless_told(out: Path, tmp_path: Path) -> None:
    files = write_files(tmp_path / "media", 3)
    with serve(scores()) as url:
        scored(out, url, files)
        before = by_input(out)
        with pytest.raises(ConfigError, match="--resume goes on with it, --overwrite begins anew"):
            scored(out, url, files)
        with (
            pytest.raises(ConfigError, match="max_side was None, is 640"),
            open_run(out, ScoreOptions(max_side=640).deciding(), resume=True, overwrite=False),
        ):
            pass
        assert by_input(out) == before
        (files / "0.jpg").unlink()
        scored(out, url, files, overwrite=True)
    assert len(by_input(out)) == 2


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("rows.jsonl", "must end in .parquet"),
        ("file.parquet", "is a file"),
        ("photos.parquet", "holds holiday.jpg"),
        ("moved.parquet", "_settings.json"),
        ("nowhere/rows.parquet", "cannot be written: No such file"),
    ],
)
def test_what_no_ray_job_wrote_is_left_alone(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "file.parquet").touch()
    for folder, file in (("photos.parquet", "holiday.jpg"), ("moved.parquet", "part-000000.parquet")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=problem), open_run(tmp_path / name, {}, resume=True, overwrite=False):
        pass
    assert sorted(tmp_path.rglob("*")) == before
