"""Prepare: images and videos in; aligned crops, their index and a report on every input out."""

from __future__ import annotations

import csv
import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lnclip.detectors import DetectorCard, load_detector
from lnclip.errors import ConfigError, ImageError
from lnclip.index import Item, Label, write_index
from lnclip.sampling import DEFAULT_CHOICE, FrameChoice
from lnclip.spec import PreprocessSpec
from training.data.cutting import Outcome, Task, load_cutter
from training.data.inputs import Input, find_mask, gather
from training.data.journal import Journal, input_key, open_journal
from training.data.processes import Died, share_out

log = logging.getLogger(__name__)

Share = Callable[[Sequence[Task]], Iterator[tuple[int, Outcome | Died]]]

LOG_EVERY_S = 10.0

REPORT = ("path", "status", "crops", "num_crops", "num_frames", "num_faces", "code", "reason")
"""Columns of report.csv. crops: the file, or of a video the folder; num_frames: how many were looked at;
num_faces: how many there were in those."""


class Summary(NamedTuple):
    """How it went."""

    crops: Path
    """The index of crops."""

    num_crops: int
    num_no_face: int
    num_errors: int


def prepare(
    inputs: Sequence[Path],
    label: Label | None,
    out: Path,
    detector_folder: Path,
    *,
    choice: FrameChoice = DEFAULT_CHOICE,
    masks: Path | None = None,
    workers: int = 1,
) -> Summary:
    """Cut a face of each image, and of the frames of each video that ``choice`` says, at its own size.

    ``out``/index.csv lists the crops with the columns of their inputs, the frames of a video as one
    clip; ``out``/report.csv every input and what became of it: a file without a face, that is not
    there, or that cannot be read is never just missing. Until both are written ``out``/journal.jsonl
    holds what is done, and the same call goes on from there.

    Args:
        inputs: CSV indices, files, folders.
        label: of files and folders.
        out: folder to write.
        detector_folder: of the face detector.
        choice: frames of videos.
        masks: where masks of fakes are looked for, to cut the face that was manipulated.
        workers: processes.

    Raises:
        ConfigError: ``out`` is finished or was begun with other settings, or an input is not there or has no label.
        ArtifactError: the detector is not there or damaged.
        SetupError: a crop cannot be written.
    """
    index = out / "index.csv"
    if index.exists():
        raise ConfigError(f"{index} is there already; choose another --out or remove it")
    if masks and not masks.is_dir():
        raise ConfigError(f"--masks {masks} is not a folder")
    given = gather(inputs, label)
    load_detector(detector_folder)  # what is wrong with it is said before any work
    out.mkdir(parents=True, exist_ok=True)
    journal_path = out / "journal.jsonl"
    with open_journal(journal_path, _settings(detector_folder, choice)) as journal:
        work = functools.partial(load_cutter, detector_folder, choice, out / "crops")
        outcomes = _cut_all(given, masks, journal, functools.partial(share_out, work, num_workers=workers))
        crops = [item for one, outcome in zip(given, outcomes, strict=True) for item in _items(one, outcome, out)]
        _write_report(out / "report.csv", given, outcomes)
        write_index(index, crops)
        journal_path.unlink()
    counts = [sum(outcome.status == status for outcome in outcomes) for status in ("no_face", "error")]
    log.info(
        "%d crops of %d files, %d without a face, %d unreadable: %s",
        len(crops),
        len(given),
        *counts,
        out / "report.csv",
    )
    return Summary(index, len(crops), *counts)


def _settings(detector_folder: Path, choice: FrameChoice) -> dict[str, str | int]:
    """What decides the crops beside the inputs."""
    card = DetectorCard.load(detector_folder)
    return {
        "detector": f"{card.name} {card.version}",
        "spec": PreprocessSpec().spec_id.hex,
        "sampling": choice.sampling,
        "frames": choice.count,
        "stride": choice.stride,
    }


def _cut_all(given: Sequence[Input], masks: Path | None, journal: Journal, share: Share) -> list[Outcome]:
    """What became of each input, whether now or before."""
    outcomes: dict[int, Outcome] = {}
    keys: dict[int, str] = {}
    tasks: list[Task] = []
    for number, one in enumerate(given):
        try:
            task = _task(one, masks)
            key = input_key(task)
        except ImageError as error:
            outcomes[number] = Outcome("error", code=error.code, reason=error.reason)
        except OSError as error:
            outcomes[number] = Outcome("error", code="unreadable", reason=str(error.strerror))
        else:
            if key in journal.done:
                outcomes[number] = journal.done[key]
            else:
                keys[number] = key
                tasks.append(task)
    numbers, last = list(keys), time.monotonic()
    for position, outcome in share(tasks):
        number = numbers[position]
        if isinstance(outcome, Died):
            reason = f"the process that read it was ended by {outcome.signal_name}"
            outcomes[number] = Outcome("error", code="crashed", reason=reason)
            log.warning("%s: %s", given[number].item.path, reason)
        else:
            outcomes[number] = outcome
            if outcome.status != "error":  # an error is tried again
                journal.add(keys[number], outcome)
        if time.monotonic() - last > LOG_EVERY_S:
            last = time.monotonic()
            log.info("%d of %d files", len(outcomes), len(given))
    return [outcomes[number] for number in range(len(given))]


def _task(one: Input, masks: Path | None) -> Task:
    """What a process needs to know of an input.

    Raises:
        ImageError: it is a fake and has no mask.
    """
    item = one.item
    mask = find_mask(one, masks) if masks and item.label == "fake" else None
    if masks and item.label == "fake" and mask is None:
        raise ImageError("no_mask", f"a fake without a mask under {masks}")
    return Task(item.path, "video" if item.kind == "video" else "image", one.name, mask)


def _items(one: Input, outcome: Outcome, out: Path) -> list[Item]:
    """Its crops; the frames of a video are one clip whether or not the index named it."""
    video = one.item.video or (one.name if one.item.kind == "video" else "")
    return [one.item._replace(path=out / "crops" / crop, video=video, kind="crop") for crop in outcome.crops]


def _write_report(path: Path, given: Sequence[Input], outcomes: Sequence[Outcome]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(REPORT)
        for one, outcome in zip(given, outcomes, strict=True):
            crops = Path("crops", *outcome.crops[:1])
            where = (crops.parent if one.item.kind == "video" else crops) if outcome.crops else ""
            counts = (len(outcome.crops), outcome.num_frames, outcome.num_faces)
            writer.writerow((one.item.path, outcome.status, where, *counts, outcome.code, outcome.reason))
