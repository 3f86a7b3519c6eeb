"""What a record holds, and that none is ever lost."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from benchmarks.records import Figure, computed_by, figure_cells, table, write_record


def write(folder: Path, *, samples: list[float] | None = None, figures: list[Figure] | None = None) -> Path:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plot, _ = plt.subplots()
    record = {"settings": {"rounds": 3}, "samples": samples or [1.0, 2.0]}
    return write_record(
        "abacus", record, "the text", plot, packages=["numpy", "no-such-package"], folder=folder, figures=figures or ()
    )


def test_a_record_keeps_its_figures_in_words(tmp_path: Path) -> None:
    figures = [Figure("speed", "6.8x", "at least 7x", met=False), Figure("size", "3 MB")]
    path = write(tmp_path, figures=figures)
    record = json.loads(path.read_text())
    assert [Figure(**each) for each in record["figures"]] == figures
    assert record["figures"][1] == {"what": "size", "figure": "3 MB", "target": "-", "met": None, "device": "cpu"}
    assert (record["benchmark"], record["samples"], record["settings"]) == ("abacus", [1.0, 2.0], {"rounds": 3})
    assert record["machine"]["cores"] >= 1
    assert record["versions"] == {"numpy": np.__version__, "no-such-package": None}
    text = path.with_suffix(".md").read_text()
    assert text.index("| speed | 6.8x   | at least 7x | **no** |") < text.index("the text")
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_gpu_that_did_not_compute_gets_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on = {"processor": "Abacus", "cores": 2, "gpu": "H100"}
    monkeypatch.setattr("benchmarks.records.machine", lambda: on)
    figures = [Figure("crops", "1x"), Figure("plan", "2x", device="cuda")]
    assert [computed_by(figure, on) for figure in figures] == ["Abacus, 2 cores", "H100"]
    path = write(tmp_path, figures=figures)
    assert [each["device"] for each in json.loads(path.read_text())["figures"]] == ["cpu", "cuda"]
    text = path.with_suffix(".md").read_text()
    assert "| crops | 1x     | -      | -   | Abacus, 2 cores |" in text
    assert "| plan  | 2x     | -      | -   | H100            |" in text


def test_a_record_may_have_no_figures(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert "figures" not in json.loads(path.read_text())
    assert "| what" not in path.with_suffix(".md").read_text()


def test_a_second_record_of_the_day_overwrites_nothing(tmp_path: Path) -> None:
    first = write(tmp_path)
    kept = first.read_bytes()
    second, third = write(tmp_path), write(tmp_path)
    assert [path.stem.removeprefix(first.stem) for path in (second, third)] == ["_2", "_3"]
    assert first.read_bytes() == kept


def test_a_record_of_no_number_is_refused_before_any_file_is_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path, samples=[float("nan")])
    assert list(tmp_path.iterdir()) == []


def test_a_bar_in_a_figure_does_not_end_its_cell() -> None:
    assert figure_cells(Figure("|dp|", "a|b", "-", met=True)) == ("\\|dp\\|", "a\\|b", "-", "yes")
    assert figure_cells(Figure("dp", "1"))[3] == "-"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("a", "bcd"), [("long", 1)]) == "| a    | bcd |\n|------|-----|\n| long | 1   |"
