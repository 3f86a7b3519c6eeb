"""Which figures of which records count, and those that old records do not name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.kept_figures import ORDER, Record, newest_figures
from benchmarks.records import RESULTS, Figure
from lnclip.errors import LnclipError
from tests.benchmarks.short_records import write

# What is in the committed records, worked out by hand from their tables.


def test_records_that_name_no_figures_have_theirs_derived() -> None:
    for stem, expected in OLD.items():
        record = Record(RESULTS / f"{stem}.json", json.loads((RESULTS / f"{stem}.json").read_text()))
        assert "figures" not in record.content
        assert record.figures == expected


OLD = {
    "2026-11-21_training": [
        Figure("LN-tuning ViT-B-16, batch 8, against the papers' loop", "1.11x images/s"),
        Figure("LN-tuning ViT-B-16, batch 8, against full fine-tuning", "1.48x images/s, 63% of the memory"),
    ],
    "2026-11-21_client": [
        Figure("client's own CPU time for a 1280x720 JPEG", "1.37 ms", "at most 1.0 ms", met=False),
    ],
    "2026-11-21_client_memory": [
        Figure(
            "client memory while scoring 50,000 files",
            "325 MB at most, +1.3% from second to last quarter",
            "at most 400 MB, flat in the number of files",
            met=True,
        ),
    ],
}


# Which figures.


def kept(folder: Path) -> list[tuple[str, str]]:
    return [(row.figure.what, row.figure.figure) for row in newest_figures(folder)]


def test_figures_stand_in_the_order_of_the_benchmarks_and_the_newest_count(tmp_path: Path) -> None:
    for stem, utc in (("encoder_2", "11"), ("encoder_10", "12"), ("encoder", "10"), ("serving_images", "09")):
        write(tmp_path, f"2026-01-02_{stem}", utc=f"2026-01-02T{utc}:00:00+00:00")
    for name in ("tune", "abacus"):
        write(tmp_path, f"2026-01-01_{name}")
    assert [row.record.path.stem for row in newest_figures(tmp_path)] == [
        "2026-01-02_encoder_10",
        "2026-01-02_serving_images",
        "2026-01-01_tune",
        "2026-01-01_abacus",
    ]


def test_a_gpu_s_figures_stand_beside_the_processor_s_on_whatever_machine_that_is(tmp_path: Path) -> None:
    write(tmp_path, "2026-01-01_a", Figure("x", "1x"))
    write(tmp_path, "2026-01-02_a", Figure("x", "2x"), Figure("x", "9x", device="cuda"), gpu="H100")
    rows = newest_figures(tmp_path)
    assert [(row.figure.figure, row.machine) for row in rows] == [("2x", "Abacus, 2 cores"), ("9x", "H100")]


def test_a_figure_that_does_not_say_what_computed_it_is_the_gpu_s_where_there_was_one(tmp_path: Path) -> None:
    write(tmp_path, "2026-01-01_a", {"what": "x", "figure": "1x"}, gpu="H100")
    write(tmp_path, "2026-01-01_b", {"what": "x", "figure": "1x"})
    assert [row.machine for row in newest_figures(tmp_path)] == ["H100", "Abacus, 2 cores"]


def test_derived_figures_are_the_gpu_s_of_training_alone(tmp_path: Path) -> None:
    for stem in OLD:
        content = json.loads((RESULTS / f"{stem}.json").read_text())
        content["machine"]["gpu"] = "H100"
        (tmp_path / f"{stem}.json").write_text(json.dumps(content))
    found = {row.record.benchmark: row.machine for row in newest_figures(tmp_path)}
    assert found == {"training": "H100", "client": "AMD EPYC, 2 cores", "client_memory": "AMD EPYC, 2 cores"}


def test_another_encoder_precision_or_mode_hides_nothing(tmp_path: Path) -> None:
    before = [
        Figure("encoder ViT-L-14, openvino fp32, batch 8, ratio", "1x"),
        Figure("encoder ViT-L-14, openvino int8, batch 8, ratio", "2x"),
        Figure("server, tuned, ViT-L-14 fp32, images, p99 within 9 ms", "3x"),
    ]
    write(tmp_path, "2026-01-01_a", *before)
    for day, what in ((2, "encoder ViT-B-32, openvino fp32, batch 8"), (3, "server, tuned, ViT-L-14 fp32, crops")):
        write(tmp_path, f"2026-01-{day:02}_a", Figure(what, "7x"))
    write(tmp_path, "2026-01-04_a", Figure("encoder ViT-L-14, openvino fp32, batch 8, ratio", "8x"))
    assert kept(tmp_path) == [
        (before[1].what, "2x"),
        (before[2].what, "3x"),
        ("server, tuned, ViT-L-14 fp32, crops", "7x"),
        (before[0].what, "8x"),
        ("encoder ViT-B-32, openvino fp32, batch 8", "7x"),
    ]


def test_the_best_load_of_before_does_not_stay(tmp_path: Path) -> None:
    write(tmp_path, "2026-01-01_a", Figure("serving images, ViT-B-32 fp32, 9 in flight", "7 images/s"))
    write(tmp_path, "2026-01-02_a", Figure("serving images, ViT-B-32 fp32, 8 in flight", "6 images/s"))
    assert kept(tmp_path) == [("serving images, ViT-B-32 fp32, 8 in flight", "6 images/s")]


def test_a_share_is_of_the_encoder_and_precision_that_were_served(tmp_path: Path) -> None:
    share, added = Figure("whole ensemble, of the stages alone", "94%"), Figure("what the ensemble adds", "5 ms")
    for day, encoder, not_here in ((1, "ViT-L-14", {"bf16": "no"}), (2, "ViT-B-32", {}), (3, "ViT-L-14", {})):
        settings = {"encoder": encoder, "precisions": ["bf16", "int8"]}
        write(tmp_path, f"2026-01-0{day}_pipeline", share, added, settings=settings, not_here=not_here)
    found = [(row.figure.what, row.record.utc[9]) for row in newest_figures(tmp_path)]
    assert sorted(found) == [
        ("what the ensemble adds", "3"),
        (f"{share.what}, ViT-B-32 bf16", "2"),
        (f"{share.what}, ViT-L-14 bf16", "3"),
        (f"{share.what}, ViT-L-14 int8", "1"),
    ]


def test_a_record_without_figures_of_an_unknown_benchmark_has_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "2026-01-01_abacus")
    content = json.loads(path.read_text())
    del content["figures"]
    path.write_text(json.dumps(content))
    assert newest_figures(tmp_path) == []


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"benchmark": "training", "utc": "x", "machine": {"gpu": "H100"}}'])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "2026-01-01_x.json").write_text(text)
    with pytest.raises(LnclipError, match=r"2026-01-01_x\.json is no record"):
        newest_figures(tmp_path)


def test_the_whole_table_has_every_encoder_and_says_nothing_twice() -> None:
    rows = newest_figures()
    assert {"ViT-L-14", "ViT-B-32"} <= {word.strip(",") for row in rows for word in row.figure.what.split()}
    assert len({(row.figure.what, row.machine) for row in rows}) == len(rows)
    assert [row.record.path.stem for row in rows if row.record.benchmark == "client"] == ["2026-11-21_client_2"]


def test_the_order_names_no_benchmark_twice() -> None:
    assert len(set(ORDER)) == len(ORDER)
