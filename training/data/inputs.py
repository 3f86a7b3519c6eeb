"""What prepare is given, as items: rows of a CSV, files, and files in folders, each with its mask if it has one."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lnclip.errors import ConfigError
from lnclip.index import Item, Label, read_media
from lnclip.media import IMAGE_ENDINGS, VIDEO_ENDINGS, is_media, kind_of, read_head

log = logging.getLogger(__name__)


class Input(NamedTuple):
    """One file to cut."""

    item: Item
    folder: Path
    """Of the CSV or the folder that was given; masks lie as this lies."""

    @property
    def name(self) -> str:
        """The same for the same file, another for each other: its own name and a digest of its whole path."""
        return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', self.item.path.stem)[:60]}-{_digest(self.item.path)}"


def gather(given: Sequence[Path], label: Label | None) -> list[Input]:
    """All files that are named, each once.

    Raises:
        ConfigError: an input is not there, holds no media, needs ``label`` and there is none, or a
            file is both real and fake.
    """
    found: dict[str, Input] = {}
    clips: dict[tuple[str, str, str], Path] = {}
    num_again = 0
    for path in given:
        is_index = path.suffix.lower() == ".csv" and not path.is_dir()
        folder = path if path.is_dir() else path.parent
        for item in read_media(path) if is_index else _files(path, label):
            clip = clips.setdefault((item.dataset, item.source, item.video), item.path)
            is_taken = not is_index and clip != item.path  # videos/000.mp4 of two folders, a.png beside a.jpg
            video = f"{item.video}-{_digest(item.path)}" if is_taken else item.video
            one = Input(item._replace(video=video), folder)
            first = found.setdefault(_absolute(item.path), one)
            num_again += first is not one
            if first.item.label != item.label:
                raise ConfigError(f"{item.path} is given as {first.item.label} and as {item.label}; give it once")
    if num_again:
        log.info("%d files are given more than once: each is cut once", num_again)
    return list(found.values())


def _files(given: Path, label: Label | None) -> list[Item]:
    if label is None:
        raise ConfigError(f"{given}: say what it holds with --label real or --label fake, or give a CSV index")
    if not given.exists():
        raise ConfigError(f"{given} is not there")
    folder = given if given.is_dir() else given.parent
    paths = sorted(_media_in(given)) if given.is_dir() else [given]
    if not paths:
        endings = " ".join((*IMAGE_ENDINGS, *VIDEO_ENDINGS))
        raise ConfigError(f"{given} holds no images and no videos; these endings are read: {endings}")
    dataset = _text(folder.absolute().name)
    return [
        Item(
            path,
            label,
            _text(path.relative_to(folder).with_suffix("")),
            dataset,
            label,
            kind=kind_of(read_head(path), path.name),
        )
        for path in paths
    ]


def _media_in(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):  # does not follow links to folders: no loops
        yield from (path for name in names if is_media(read_head(path := Path(parent, name)), name))


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - resolve() follows links, and a link is a file of its own


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(_absolute(path))).hexdigest()[:10]


def _text(path: Path | str) -> str:
    """A file's name for a CSV: bytes that are no UTF-8 are written out."""
    return str(path).encode(errors="backslashreplace").decode()


def find_mask(given: Input, masks: Path) -> Path | None:
    """The mask of a file: its name below its own folder is the mask's below ``masks``.

    Or as FaceForensics++ lays them out: METHOD/masks/videos/NAME, METHOD being the item's source.
    """
    name = os.path.relpath(given.item.path, given.folder)
    places = [masks / given.item.source / "masks" / "videos" / given.item.path.name]
    if not name.startswith(os.pardir):
        places.insert(0, masks / name)
    own = given.item.path.resolve()
    return next((place for place in places if place.is_file() and place.resolve() != own), None)
