"""The index: which files there are and what they are, one row per file, in a CSV.

Columns ``path,label,video,dataset,source`` and optionally ``pair`` and ``kind``; others are
passed over. Paths are relative to the CSV, so a folder of crops can be moved as a whole.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args

from lnclip.errors import ConfigError
from lnclip.media import kind_of, read_head

Label = Literal["real", "fake"]
Kind = Literal["crop", "image", "video"]

REQUIRED = ("path", "label", "video", "dataset", "source")
OPTIONAL = ("pair", "kind")
SHOWN = 3
"""So many missing files are named; the others are counted."""


class Item(NamedTuple):
    """One row."""

    path: Path
    label: Label
    video: str
    """Frames with the same video are one clip."""

    dataset: str
    source: str
    """How it came to be: a manipulation's name, or "pristine"."""

    pair: str = ""
    """Real and fake with the same pair show the same material."""

    kind: Kind = "crop"


def read_index(index: Path, *kinds: Kind) -> list[Item]:
    """Read and check an index, all of whose rows must be of one of these kinds.

    A row that says none is of the only one; where several will do, a crop, unless its content is a
    video's (or no crops are wanted: then its content decides).

    Raises:
        ConfigError: it cannot be read, lacks columns, has no rows, or a row has an unknown label or
            kind, no path, a path given before, or a file that is not there. Names file and line.
    """
    items = _read(index, kinds)
    _check_files(index, items)
    return list(items.values())


def read_media(index: Path) -> list[Item]:
    """Likewise an index of images and videos; of a row without a kind the file's content decides.

    Files need not be there: what becomes of each is for the reader to say.

    Raises:
        ConfigError: as above.
    """
    return list(_read(index, ("image", "video")).values())


def write_index(index: Path, items: Iterable[Item]) -> None:
    """Write rows with all columns, paths relative to the CSV; the file is there as a whole or not at all."""
    partial = index.with_name(f".{index.name}.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*REQUIRED, *OPTIONAL))
        for item in items:
            path = os.path.relpath(item.path, index.parent)
            writer.writerow((path, item.label, item.video, item.dataset, item.source, item.pair, item.kind))
    partial.replace(index)


def _read(index: Path, kinds: Sequence[Kind]) -> dict[int, Item]:
    """Items by line number."""
    try:
        with index.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _check_columns(index, reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise ConfigError(f"{index} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{index} is not UTF-8 text; save it as UTF-8") from error
    except csv.Error as error:
        raise ConfigError(f"{index} is not a CSV table: {error}") from error
    if not rows:
        raise ConfigError(f"{index} has a header and no rows; add one row per file")
    items = {line: _item(index, line, row, kinds) for line, row in rows}
    first: dict[Path, int] = {}
    for line, item in items.items():
        if item.path in first:
            raise ConfigError(f"{index} line {line} has the path of line {first[item.path]}: {item.path}; drop one")
        first[item.path] = line
    return items


def _check_columns(index: Path, columns: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise ConfigError(
            f"{index} line 1 lacks the columns {', '.join(missing)}; the first line must name {','.join(REQUIRED)} "
            f"and may name {','.join(OPTIONAL)}"
        )


def _item(index: Path, line: int, row: Mapping[str, str | None], kinds: Sequence[Kind]) -> Item:
    """One row as an item.

    Raises:
        ConfigError: a value cannot be.
    """
    cells = {name: (row.get(name) or "").strip() for name in (*REQUIRED, *OPTIONAL)}
    if not cells["path"]:
        raise ConfigError(f"{index} line {line} has no path")
    if cells["label"] not in get_args(Label):
        raise ConfigError(f"{index} line {line}: label is {cells['label']!r}, must be real or fake")
    path = index.parent / cells["path"]
    found = cells["kind"] or _kind(path, kinds)
    if found not in get_args(Kind):
        raise ConfigError(f"{index} line {line}: kind is {found!r}, must be one of {', '.join(get_args(Kind))}")
    if found not in kinds:
        remedy = (
            "; make crops of it with: python -m training prepare" if "crop" in kinds else "; say so in its column kind"
        )
        raise ConfigError(f"{index} line {line} is of kind {found}, this command needs {' or '.join(kinds)}{remedy}")
    return Item(
        path=path,
        label=cast("Label", cells["label"]),
        video=cells["video"],
        dataset=cells["dataset"],
        source=cells["source"],
        pair=cells["pair"],
        kind=cast("Kind", found),
    )


def _kind(path: Path, kinds: Sequence[Kind]) -> Kind:
    """What a row is that does not say it. No content tells a crop from another image."""
    if len(kinds) == 1:
        return kinds[0]
    found = kind_of(read_head(path), path.name)
    return "crop" if found == "image" and "crop" in kinds else found


def _check_files(index: Path, items: Mapping[int, Item]) -> None:
    missing = [(line, item.path) for line, item in items.items() if not item.path.is_file()]
    if missing:
        shown = ", ".join(f"{path} (line {line})" for line, path in missing[:SHOWN])
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise ConfigError(
            f"{index}: {len(missing)} of {len(items)} files are not there: {shown}{more}; "
            "paths are relative to the folder of the CSV"
        )
