"""A tree of real files, found in several ways."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from client.sources.finding import Found, find
from tests.clips import shade, write_clip
from tests.conftest import encoded, jpeg

MEDIA = ["a.png", "b.PNG", "c.png", "clip.mp4", "inside.png", "no_ending", "photo.mp4", "text.jpg", "video.jpg"]
OTHERS = ["BMW.txt", "code.ts", "index.csv"]


@pytest.fixture
def tree(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """Nine images and videos, some called otherwise, and three files that are neither."""
    png = encoded(astronaut[::8, ::8], "PNG")
    folder = tmp_path / "tree"
    for name in ("a.png", "deep/er/b.PNG", "deep/no_ending", "folder.jpg/inside.png", ".hidden/c.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
    (folder / "deep" / "photo.mp4").write_bytes(jpeg(astronaut[::8, ::8]))
    write_clip(folder / "deep" / "clip.mp4", [shade(number) for number in range(8)])
    shutil.copy(folder / "deep" / "clip.mp4", folder / "video.jpg")
    (folder / "text.jpg").write_text("not an image")
    (folder / "index.csv").write_text("path,label\n")
    (folder / "code.ts").write_text("export const answer: number = 42;\n")
    (folder / "BMW.txt").write_text("BMW and P5 are words too")
    return folder


def names(finds: Iterable[Found], what: str = "input") -> list[str]:
    """Of the files that were found so, in alphabetical order."""
    return sorted(Path(found.path).name for found in finds if found.what == what)


def found(*paths: str | Path, what: str = "input") -> list[str]:
    return names(find(paths), what)
