"""The whole way, as a new user goes it: every stage by its own command, on real parts."""

import re
from pathlib import Path

import pytest

from benchmarks.demo import MARKER, run_demo
from client.readers import read_rows
from lnclip.errors import ConfigError


@pytest.mark.slow
def test_the_demo_learns_serves_and_scores(tmp_path: Path) -> None:
    """About 4 minutes on 2 cores, most of them training."""
    out = tmp_path / "demo"
    closing = run_demo(out, [])
    found = re.fullmatch(r"demo: 224 files scored, 2 errors, AUROC (\d\.\d\d), report (.*)", closing)
    assert found is not None, closing
    assert float(found[1]) >= 0.90
    page = Path(found[2]).read_text(encoding="utf-8")
    assert "no deepfake detector" in page
    assert "python -m training import" in page
    rows = {Path(row.path).name: row for row in read_rows(out / "rows.jsonl")}
    assert (rows["no-face.jpg"].status, rows["no-face.jpg"].p_fake) == ("no_face", None)
    assert rows["truncated.jpg"].error is not None
    assert rows["truncated.jpg"].error.code == "truncated"
    assert rows["text.jpg"].error is not None
    assert rows["text.jpg"].error.code == "not_an_image"
    assert rows["group.jpg"].num_faces == 2
    assert not (out / ".run" / "server.json").exists(), "the server is stopped"


def test_the_demo_deletes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        run_demo(tmp_path, [])
    assert (tmp_path / "mine.txt").exists()
    assert not (tmp_path / MARKER).exists()
