"""The benchmark sets of configs/benchmarks.toml as they lie on disk, labelled by their composition rules."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lnclip.errors import ConfigError
from lnclip.index import Item, Label, read_index
from lnclip.media import IMAGE_ENDINGS
from lnclip.pooling import clip_numbers

COMPOSITIONS = Path(__file__).parents[1] / "configs" / "benchmarks.toml"


class Benchmark(BaseModel):
    """One set: where it lies and what its sources are. Globs, in which capitals do not matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    folders: tuple[str, ...] = Field(min_length=1)
    real: tuple[str, ...] = Field(min_length=1)
    fake: tuple[str, ...] = Field(min_length=1)
    exclude: tuple[str, ...] = ()
    in_dataset: bool = False
    """Its train part is what such models are trained on: it counts in no mean."""

    num_real: int | None = None
    """Known videos; ``counts`` says of what."""

    num_fake: int | None = None
    counts: str = ""

    def label_of(self, source: str) -> Label | Literal["excluded"] | None:
        """What the composition says of a source; None is nothing.

        Raises:
            ConfigError: it says two things.
        """
        rules: dict[Label | Literal["excluded"], tuple[str, ...]] = {
            "real": self.real,
            "fake": self.fake,
            "excluded": self.exclude,
        }
        found = [answer for answer, patterns in rules.items() if _matches(source, patterns)]
        if len(found) > 1:
            raise ConfigError(f"{COMPOSITIONS}: {self.name} calls the source {source!r} {' and '.join(found)}")
        return found[0] if found else None


class Found(NamedTuple):
    """What a folder of data sets holds."""

    items: dict[Path, list[Item]]
    """By the index or folder they were read from; ``dataset`` is the benchmark's name, the label the composition's."""

    uncounted: frozenset[str]
    """Names of in-dataset sets."""

    missing: dict[str, str]
    """Name of each set that is not there: why."""

    notes: list[str]
    """What was left out, and counts that are not the known ones."""


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    benchmark: tuple[Benchmark, ...]


def read_benchmarks(path: Path = COMPOSITIONS) -> tuple[Benchmark, ...]:
    """The sets that a TOML file names.

    Raises:
        ConfigError: it cannot be read or has a key or value that cannot be.
    """
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).benchmark
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from error
    except ValidationError as error:
        complaints = [f"{'.'.join(map(str, issue['loc']))}: {issue['msg']}" for issue in error.errors()]
        raise ConfigError(f"{path}: {'; '.join(complaints)}") from error


def find_benchmarks(folder: Path, benchmarks: Sequence[Benchmark]) -> Found:
    """Every set that has a folder in ``folder``: FOLDER/index.csv, or else FOLDER/source/video/frame.

    Raises:
        ConfigError: there is none, a set has two folders, or an index contradicts the composition.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder of data sets")
    found = Found({}, frozenset(one.name for one in benchmarks if one.in_dataset), {}, [])
    subfolders = sorted(path for path in folder.iterdir() if path.is_dir())
    for benchmark in benchmarks:
        places = [path for path in subfolders if _matches(path.name, benchmark.folders)]
        if len(places) > 1:
            raise ConfigError(f"{benchmark.name} has two folders: {places[0]} and {places[1]}; move one elsewhere")
        if not places:
            found.missing[benchmark.name] = f"no folder named {' or '.join(benchmark.folders)}"
            continue
        index = places[0] / "index.csv"
        origin = index if index.exists() else places[0]
        given = read_index(index, "crop") if index.exists() else _read_tree(origin, benchmark)
        items = _compose(benchmark, origin, given, found.notes)
        if items:
            found.items[origin] = items
            found.notes.extend(_count(benchmark, items))
        else:
            found.missing[benchmark.name] = f"{origin} has no crops of its sources as source/video/frame.png"
    if not found.items:
        raise ConfigError(
            f"{folder} holds none of the {len(benchmarks)} benchmark sets; {COMPOSITIONS} has their names"
        )
    return found


def _read_tree(folder: Path, benchmark: Benchmark) -> list[Item]:
    """source/video/frame below a folder; the label of a source that the set has not means nothing."""
    return [
        Item(
            path,
            "real" if benchmark.label_of(path.parts[-3]) == "real" else "fake",
            video=path.parts[-2],
            dataset=benchmark.name,
            source=path.parts[-3],
        )
        for path in sorted(folder.glob("*/*/*"))
        if path.suffix.lower() in IMAGE_ENDINGS
    ]


def _compose(benchmark: Benchmark, origin: Path, items: Sequence[Item], notes: list[str]) -> list[Item]:
    """The items of the set's own sources, with its name; adds to ``notes`` what is left out.

    Raises:
        ConfigError: an item has another label than the composition gives its source.
    """
    composed, left_out = [], Counter[str]()
    labels = {source: benchmark.label_of(source) for source in dict.fromkeys(item.source for item in items)}
    for item in items:
        label = labels[item.source]
        if label is None or label == "excluded":
            left_out[item.source] += 1
        elif label != item.label:
            raise ConfigError(
                f"{origin}: {item.path} is {item.label}, but {benchmark.name}'s composition calls its source "
                f"{item.source!r} {label}; mend the index, or {COMPOSITIONS}"
            )
        else:
            composed.append(item._replace(dataset=benchmark.name))
    for source, count in left_out.items():
        why = "excluded by the composition" if labels[source] else "a source that the composition does not name"
        notes.append(f"{benchmark.name}: {count} crops of {source!r} left out: {why}")
    return composed


def _count(benchmark: Benchmark, items: Sequence[Item]) -> list[str]:
    """A note when there are other numbers of videos than known."""
    _, first = clip_numbers(items)
    counts = Counter(items[position].label for position in first)
    known: dict[Label, int | None] = {"real": benchmark.num_real, "fake": benchmark.num_fake}
    wrong = [
        f"{counts[label]:,} {label} videos, not {number:,}"
        for label, number in known.items()
        if number not in (None, counts[label])
    ]
    return [f"{benchmark.name}: {' and '.join(wrong)} as in {benchmark.counts}"] if wrong else []


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)
