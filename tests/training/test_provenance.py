import hashlib
import shutil
from pathlib import Path

from lnclip.index import read_index
from training.provenance import rows_sha256


def test_rows_have_the_same_sum_wherever_they_lie_and_another_when_one_differs(
    small_index: Path, tmp_path: Path, monkeypatch
) -> None:
    shutil.copytree(small_index.parent, tmp_path / "moved")
    items = read_index(small_index, "crop")
    expected = rows_sha256(items)
    assert rows_sha256(read_index(tmp_path / "moved" / "index.csv", "crop")) == expected
    monkeypatch.chdir(tmp_path)
    assert rows_sha256(read_index(Path("moved/index.csv"), "crop")) == expected
    for change in ({"label": "fake"}, {"video": "x"}, {"source": "x"}, {"dataset": "x"}, {"pair": "x"}):
        assert rows_sha256([items[0]._replace(**change), *items[1:]]) != expected, change
    assert rows_sha256(items[::-1]) != expected


def test_the_sum_is_that_of_json_lines(small_index: Path) -> None:
    [item] = read_index(small_index, "crop")[:1]
    line = '["00.png", "real", "v0", "noise", "noise", "p0"]\n'
    assert rows_sha256([item]) == hashlib.sha256(line.encode()).hexdigest()
