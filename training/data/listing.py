"""Whatever lists crops, as items: a CSV index, or the reference's path lists and folder trees.

    datasets/<dataset>/<source>/<video>/<frame>.png

A list (.txt) names one image per line. A tree is a folder of data sets, a data set, or a source. In
both the parts of a path are read from its end, and labels are settled source by source: by a TOML
file of lines ``source = "real"`` (or ``"dataset/source" = "fake"``), else by the reference's rule
that a source with "real" in its name is real. Every such decision is logged.
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast, get_args

import numpy as np

from lnclip.errors import ConfigError
from lnclip.index import Item, Kind, Label, read_index
from lnclip.media import IMAGE_ENDINGS

log = logging.getLogger(__name__)

LAYOUT = (
    "give a folder of data sets, a data set or a source, in which frames lie as "
    "<dataset>/<source>/<video>/<frame>.png, or a CSV index"
)

SHOWN = 3
"""So many paths of one complaint are named."""

SOURCE_DEPTH, TREE_DEPTH = 2, 4
"""Parts of a frame's path below the folder of a source, and below a folder of data sets."""


def read_items(sources: Sequence[Path], kind: Kind, labels: Path | None = None) -> list[Item]:
    """All items of the sources, each file once, in the order of the sources.

    Args:
        sources: CSV indices, path lists (.txt) and folder trees.
        kind: what the rows of an index must be.
        labels: TOML for lists and trees; of an index the column label counts.

    Raises:
        ConfigError: a source cannot be read, names files that are not there, or is laid out
            otherwise; a label is neither real nor fake; a file is both.
    """
    settled = _read_labels(labels) if labels else {}
    items: list[Item] = []
    for source in sources:
        if source.is_dir():
            items += _label(_tree_paths(source), settled, labels)
        elif source.suffix.lower() == ".txt":
            items += _label(_list_paths(source), settled, labels)
        else:
            items += read_index(source, kind)
    return _each_once(items)


def limit_videos(items: Sequence[Item], limit: int | None, seed: int = 42) -> list[Item]:
    """At most ``limit`` items, in their order: whole videos drawn at random, the last one cut.

    Which they are does not depend on the order of ``items``' videos. None is no limit.
    Source: GenD's file limits, whole videos by seed 42 (its draw is another).
    """
    if limit is None or limit >= len(items):
        return list(items)
    videos: dict[tuple[str, ...], list[int]] = {}
    for position, item in enumerate(items):
        key = (item.dataset, item.source, item.video) if item.video else ("", "", "", str(item.path))
        videos.setdefault(key, []).append(position)
    keys = sorted(videos)
    order = [
        position for number in np.random.default_rng(seed).permutation(len(keys)) for position in videos[keys[number]]
    ]
    return [items[position] for position in sorted(order[:limit])]


def _list_paths(source: Path) -> list[Path]:
    """Paths of a list, relative to the working directory or else to the list's folder."""
    try:
        lines = [line.strip() for line in source.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source} is not UTF-8 text; save it as UTF-8") from error
    named = [Path(line) for line in lines if line]
    if not named:
        raise ConfigError(f"{source} is empty; write one image path per line")
    paths = [path if path.is_file() else source.parent / path for path in named]
    missing = [given for given, path in zip(named, paths, strict=True) if not path.is_file()]
    if missing:
        raise ConfigError(
            f"{source}: {len(missing)} of {len(named)} files are not there: {_some(missing)}; "
            f"paths are relative to the folder that the command runs in, or to {source.parent}"
        )
    return sorted(set(paths))


def _tree_paths(root: Path) -> list[Path]:
    """All images below a folder, which must all lie at one of the depths that a tree has."""
    files: list[Path] = []
    for parent, folders, names in os.walk(root, followlinks=True):
        files += [Path(parent, name) for name in names]
        folders[:] = [name for name in folders if not _leads_back(Path(parent, name))]
    paths = sorted(path for path in files if path.suffix.lower() in IMAGE_ENDINGS)
    if not paths:
        raise ConfigError(f"{root} holds no images; a tree is <dataset>/<source>/<video>/<frame>.png")
    if len(paths) < len(files):
        log.info("%s: %d files that are no images are passed over", root, len(files) - len(paths))
    examples = {len(path.relative_to(root).parts): path for path in reversed(paths)}
    depth = next(iter(examples))
    if len(examples) > 1:
        raise ConfigError(f"{root} has images at different depths: {_some(list(examples.values()))}; {LAYOUT}")
    if not SOURCE_DEPTH <= depth <= TREE_DEPTH:
        raise ConfigError(f"{root} has images {depth} levels down: {paths[0]}; {LAYOUT}")
    return paths


def _leads_back(folder: Path) -> bool:
    """Whether it is a link to a folder that it lies in."""
    return folder.is_symlink() and folder.resolve() in folder.parent.resolve().joinpath("-").parents


def _label(paths: Sequence[Path], settled: Mapping[str, Label], labels: Path | None) -> list[Item]:
    """Paths as items, labelled by their sources."""
    items = []
    decided: dict[tuple[str, str], Label] = {}
    for path in paths:
        *_, dataset, source, video, _ = ("", "", "", *Path(os.path.abspath(path)).parts)  # noqa: PTH100 - keeps links
        if (dataset, source) not in decided:
            decided[dataset, source] = _decide(dataset, source, settled, labels)
        items.append(Item(path, decided[dataset, source], video, dataset, source))
    return items


def _decide(dataset: str, source: str, settled: Mapping[str, Label], labels: Path | None) -> Label:
    """The label of a source. Source of the rule: GenD, where it is applied to the folder's name likewise."""
    named = settled.get(f"{dataset}/{source}") or settled.get(source)
    if named:
        log.info("%s/%s: %s (by %s)", dataset, source, named, labels)
        return named
    label: Label = "real" if "real" in source else "fake"
    log.info("%s/%s: %s (by its name)", dataset, source, label)
    if label == "fake" and "real" in source.lower():
        log.warning(
            'source %s counts as fake, for only lower-case "real" counts; where that is wrong, write %s = "real" '
            "into a TOML file and give it with --labels (in a run's settings: labels)",
            source,
            source,
        )
    return label


def _read_labels(path: Path) -> dict[str, Label]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from error
    wrong = [f"{source} = {label!r}" for source, label in found.items() if label not in get_args(Label)]
    if wrong:
        raise ConfigError(f'{path}: {"; ".join(wrong)}: must be "real" or "fake"')
    return {source: cast("Label", label) for source, label in found.items()}


def _each_once(items: Sequence[Item]) -> list[Item]:
    """Items whose file was not given before."""
    first: dict[str, Item] = {}
    for item in items:
        found = first.setdefault(os.path.abspath(item.path), item)  # noqa: PTH100 - keeps links
        if found.label != item.label:
            raise ConfigError(f"{item.path} is given as {found.label} and as {item.label}; take one out")
    if len(first) < len(items):
        log.info("%d files are given more than once: each counts once", len(items) - len(first))
    return list(first.values())


def _some(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths[:SHOWN])) + (f" and {len(paths) - SHOWN} more" if paths[SHOWN:] else "")
