"""What scoring costs the client itself: CPU time of its process for every image, everything included.

A peer in a process of its own answers the ensemble at once, so what is left is the client: finding, reading
and hashing the file, the request, the answer, the row, the journal and the result.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.instant_peer import serving
from benchmarks.records import RESULTS, table, write_record
from lnclip.errors import LnclipError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

WIDTH, HEIGHT, QUALITY = 1280, 720, 90
DIFFERENT = 40
"""Pictures that are encoded; each file is one of them with a comment of its own."""

CONCURRENCY = 16
PACED_PER_S = 100.0
PACKAGES = ("tritonclient", "grpcio", "protobuf", "pydantic", "numpy")
ALLOWED_MS = 1.0
"""10 % of a core at 100 images/s."""


class Cost(NamedTuple):
    """CPU time of one way to send all files."""

    what: str
    cpu_ms: float
    """For one image."""

    images_per_s: float

    @property
    def core_share(self) -> float:
        """Of one core, at 100 images/s."""
        return self.cpu_ms / 1000 * PACED_PER_S


def run(images: int = 1000, rounds: int = 3, out: Path = RESULTS) -> str:
    """Measure, write the record and answer the table."""
    samples = measure_client_overhead(images, rounds)
    costs = [_median(costs) for costs in samples]
    caption = f"{images} JPEGs of {WIDTH}x{HEIGHT}, {CONCURRENCY} in flight, median of {rounds} rounds"
    text = table(
        ("", "CPU ms/image", "min..max", "of a core at 100 images/s", "images/s here"),
        [
            (
                cost.what,
                f"{cost.cpu_ms:.2f}",
                f"{min(each.cpu_ms for each in costs_):.2f}..{max(each.cpu_ms for each in costs_):.2f}",
                f"{cost.core_share:.1%}",
                f"{cost.images_per_s:.0f}",
            )
            for cost, costs_ in zip(costs, samples, strict=True)
        ],
    )
    record = {
        "settings": {"images": images, "rounds": rounds, "size": [WIDTH, HEIGHT], "concurrency": CONCURRENCY},
        "rows": [{**cost._asdict(), "core_share": cost.core_share} for cost in costs],
        "samples": [[cost._asdict() for cost in costs_] for costs_ in samples],
    }
    path = write_record("client", record, f"{caption}\n\n{text}", _plot(costs, caption), packages=PACKAGES, folder=out)
    return f"{caption}\n{text}\n{path}"


def measure_client_overhead(images: int, rounds: int) -> list[list[Cost]]:
    """For each way of sending, the cost in every round; the ways take turns.

    Args:
        images: files in one round of one way.
        rounds: after one that warms up.

    Raises:
        LnclipError: a file was not scored.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photos(Path(folder) / "photos", images)
        with serving(0.0) as at_once, serving(CONCURRENCY / PACED_PER_S) as paced:
            urls = {"": at_once, f", {PACED_PER_S:.0f} images/s": paced}
            ways: list[Callable[[], Cost]] = [
                *(partial(_score, f"client score{how}", url, paths) for how, url in urls.items()),
                *(partial(_bare_calls, f"tritonclient's infer alone{how}", url, paths) for how, url in urls.items()),
            ]
            for way in ways:
                way()
            measured = [[way() for way in ways] for _ in range(rounds)]
    return [list(costs) for costs in zip(*measured, strict=True)]


def write_photos(folder: Path, number: int) -> list[Path]:
    """JPEGs of a photograph, cut elsewhere in each of ``DIFFERENT``, no two files alike."""
    import skimage.data
    from PIL import Image

    astronaut: NDArray[np.uint8] = skimage.data.astronaut()
    photo = Image.fromarray(astronaut).resize((1600, 1600), Image.Resampling.BICUBIC)
    rng, encoded = np.random.default_rng(0), []
    for _ in range(min(number, DIFFERENT)):
        left, top = (int(rng.integers(0, 1600 - side)) for side in (WIDTH, HEIGHT))
        file = io.BytesIO()
        photo.crop((left, top, left + WIDTH, top + HEIGHT)).save(file, "JPEG", quality=QUALITY)
        encoded.append(file.getvalue())
    folder.mkdir()
    paths = []
    for index, content in zip(range(number), itertools.cycle(encoded)):
        comment = b"%08d" % index
        path = folder / f"{index:06}.jpg"
        path.write_bytes(content[:2] + b"\xff\xfe\x00\x0a" + comment + content[2:])  # SOI, comment, the rest
        paths.append(path)
    return paths


def _score(what: str, url: str, paths: Sequence[Path]) -> Cost:
    from client.job import ScoreRun, score_paths
    from client.options import ScoreOptions

    options = ScoreOptions(concurrency=CONCURRENCY, reuse_answers=False)
    photos = paths[0].parent
    out = photos.with_name("rows.jsonl")
    given = ScoreRun(paths=[str(photos)], out=out, overwrite=True, urls=[url], options=options)
    cpu_s, started_s = time.process_time(), time.perf_counter()
    summary = score_paths(given)
    cost = _cost(what, len(paths), cpu_s, started_s)
    if summary.tally.ok != len(paths):
        raise LnclipError(f"not every file was scored: {summary.describe(out)}")
    return cost


def _bare_calls(what: str, url: str, paths: Sequence[Path]) -> Cost:
    """The least that the official client costs: no file, no hash, no row."""
    from tritonclient.grpc import InferInput, InferRequestedOutput
    from tritonclient.grpc.aio import InferenceServerClient

    from lnclip.contract import CONTRACT, ENSEMBLE, IMAGE

    content, turns = paths[0].read_bytes(), iter(paths)
    outputs = [InferRequestedOutput(tensor.name) for tensor in CONTRACT[ENSEMBLE].outputs]

    async def worker(client: InferenceServerClient) -> None:
        for _ in turns:
            tensor = InferInput(IMAGE.name, list(IMAGE.dims), IMAGE.dtype)
            tensor.set_data_from_numpy(np.array([content], np.object_))
            await client.infer(ENSEMBLE, [tensor], outputs=outputs, client_timeout=60.0)

    async def call_all() -> Cost:
        async with InferenceServerClient(url) as client:
            cpu_s, started_s = time.process_time(), time.perf_counter()
            await asyncio.gather(*(worker(client) for _ in range(CONCURRENCY)))
            return _cost(what, len(paths), cpu_s, started_s)

    return asyncio.run(call_all())


def _cost(what: str, images: int, cpu_s: float, started_s: float) -> Cost:
    cpu_ms = (time.process_time() - cpu_s) / images * 1000
    return Cost(what, cpu_ms, images / (time.perf_counter() - started_s))


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        costs[0].what,
        statistics.median(cost.cpu_ms for cost in costs),
        statistics.median(cost.images_per_s for cost in costs),
    )


def _plot(costs: Sequence[Cost], caption: str) -> Figure:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure: Figure
    figure, axes = plt.subplots(figsize=(7, 2.4))
    axes.barh([cost.what for cost in costs], [cost.cpu_ms for cost in costs])
    axes.axvline(ALLOWED_MS, color="tab:red", linestyle="--", label="10 % of a core at 100 images/s")
    axes.invert_yaxis()
    axes.set_xlabel("CPU ms for one image")
    axes.set_title(caption, fontsize=9)
    axes.legend(fontsize=8)
    return figure
