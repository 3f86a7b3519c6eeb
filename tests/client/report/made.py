"""Rows with the files they speak of, made by hand."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from client.report import write_report
from client.rows import Face, Row, RowError, Segment, Track, VideoFrame, printable_path
from client.writers import open_writer

LANDMARKS = ((1.0, 2.0), (3.0, 2.0), (2.0, 3.0), (1.0, 4.0), (3.0, 4.0))
MODEL = {
    "name": "demo", "artifact_id": "0123456789abcdef", "spec_id": "fedcba9876543210", "precision": "int8",
    "threshold": 0.6, "detector": "mtcnn", "spec": {"crop_scale": 1.3, "input_px": 224},
}  # fmt: skip


def facts(path: str | Path) -> dict[str, object]:
    """What a row says of a file that exists; made up for one that does not."""
    if not Path(path).exists():
        return {"path": printable_path(path), "size_bytes": 1, "mtime_ns": 1, "sha256": "00", "elapsed_ms": 12.4}
    path = Path(path)
    status = path.stat()
    return {
        "path": printable_path(path), "size_bytes": status.st_size, "mtime_ns": status.st_mtime_ns,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "elapsed_ms": 12.4,
    }  # fmt: skip


def face(p_fake: float, box: tuple[float, float, float, float] | None = (10, 20, 50, 70), flags: str = "") -> Face:
    return Face(box=box, landmarks=LANDMARKS, score=0.99, p_fake=p_fake, flags=tuple(flags.split()))


def scored(path: str | Path, *faces: Face | float, **changes: object) -> Row:
    """An image with these faces; its number is the largest of theirs."""
    faces = tuple(each if isinstance(each, Face) else face(each) for each in faces)
    p_fake = max(each.p_fake for each in faces)
    verdict = "fake" if p_fake >= MODEL["threshold"] else "real"
    row = {
        **facts(path), "status": "ok", "verdict": verdict, "p_fake": p_fake, "num_faces": len(faces), "faces": faces,
        "width": 100, "height": 100, "error": None, "model": MODEL,
    }  # fmt: skip
    return Row(**{**row, **changes})


def faceless(path: str | Path, **changes: object) -> Row:
    nothing = {"status": "no_face", "verdict": "no_face", "p_fake": None, "num_faces": 0, "faces": ()}
    return scored(path, 0.5, **nothing, **changes)


def failed(path: str | Path, code: str = "truncated", message: str = "ends early") -> Row:
    return Row(
        path=str(path), size_bytes=None, mtime_ns=None, sha256=None, status="error", verdict=None, p_fake=None,
        num_faces=None, width=None, height=None, error=RowError(code=code, message=message), model=None, elapsed_ms=1,
    )  # fmt: skip


def video(path: str | Path, p_fakes: Iterable[float | None], **changes: object) -> Row:
    """A video of ten frames a second that was looked at every second frame; one track, the rest made up."""
    frames = tuple(
        VideoFrame(index=2 * n, time_s=0.2 * n, p_fake=p, faces=() if p is None else (face(p),))
        for n, p in enumerate(p_fakes)
    )
    seen = tuple(frame.index for frame in frames if frame.p_fake is not None)
    row = {
        "kind": "video", "faces": (), "frames": frames, "tracks": (Track(id=1, frames=seen, p_fake=0.7),),
        "segment": Segment(start_s=0.4, end_s=0.8, p_fake=0.9),
    }  # fmt: skip
    return scored(path, 0.7, **{**row, **changes})


def write_clip(path: Path, levels: Iterable[int], side_px: int = 64, **options: str) -> Path:
    """Ten grey frames a second, each of its own level: a picture of it tells which frame it is."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "5", "bf": "0", **options})
        stream.width, stream.height, stream.pix_fmt = side_px, side_px, "yuv420p"
        stream.time_base = Fraction(1, 10)
        for level in levels:
            pixels = np.full((side_px, side_px, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def page_of(rows: Iterable[Row], folder: Path, note: str = "") -> Path:
    """The page of these rows."""
    results = folder / "rows.jsonl"
    with open_writer(results) as writer:
        writer.write(list(rows))
    out = folder / "report.html"
    write_report(results, out, note)
    return out


def data_of(page: Path, name: str):
    """One of the page's data elements."""
    [text] = re.findall(rf'<script type="application/json" id="{name}">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(text)
