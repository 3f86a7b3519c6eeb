import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnclip.errors import ConfigError
from lnclip.index import Item
from training.data.checking import readable


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """Ten crops, of which 3 is cut, 5 is text, and 7 is not there."""
    rng = np.random.default_rng(0)
    for number in range(10):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:1000])
    (tmp_path / "5.png").write_text("text")
    (tmp_path / "7.png").unlink()
    return [Item(tmp_path / f"{number}.png", "real", "", "", "") for number in range(10)]


def rows_of(report: Path) -> list[list[str]]:
    with report.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("workers", [1, 2])
def test_damaged_crops_are_listed_and_left_out(items, tmp_path, workers, caplog):
    report = tmp_path / "log" / "unreadable.csv"
    kept = readable(items, 0.3, report, workers)
    assert [item.path.name for item in kept] == ["0.png", "1.png", "2.png", "4.png", "6.png", "8.png", "9.png"]
    header, *rows = rows_of(report)
    assert header == ["path", "reason"]
    assert [(Path(path).name, reason.partition(":")[0]) for path, reason in rows] == [
        ("3.png", "truncated"),
        ("5.png", "not_an_image"),
        ("7.png", "unreadable"),
    ]
    assert "3 of 10 crops cannot be read and are left out" in caplog.text


def test_more_than_the_share_stops_the_run(items, tmp_path):
    with pytest.raises(
        ConfigError, match=r"3 of 10 crops.*3\.png \(truncated.*more than 0\.29 of all with max_unreadable"
    ):
        readable(items, 0.29, tmp_path / "unreadable.csv", 1)
    assert len(rows_of(tmp_path / "unreadable.csv")) == 4


def test_nothing_left_stops_the_run_whatever_the_share(items, tmp_path):
    with pytest.raises(ConfigError, match="2 of 2 crops cannot be read"):
        readable([items[3], items[5]], 1.0, tmp_path / "unreadable.csv", 1)


def test_whole_crops_pass(items, tmp_path, caplog):
    assert readable(items[:3], 0.0, tmp_path / "unreadable.csv", 1) == items[:3]
    assert rows_of(tmp_path / "unreadable.csv") == [["path", "reason"]]
    assert not caplog.records
