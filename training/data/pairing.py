"""Subsets that tell whether it helps to train on the originals of the very fakes: paired and unpaired.

K pairs S are drawn, and K others S'. Paired: the real videos of S and the fakes of S. Unpaired: the
same real videos, and the fakes of S'. Of each manipulation both have as many videos and as many
crops, so only the relation differs. Source: the idea is arXiv 2508.06248's, whose lists are not
published; this construction is ours.

A fake called TTT_SSS, as in FaceForensics++, shows the face of video SSS in video TTT. Pairs joined
by such a fake go to the same side, so no face of S is in a fake of S'.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from lnclip.errors import ConfigError
from lnclip.index import Item, Label, read_index, write_index

log = logging.getLogger(__name__)

TARGET_DONOR = re.compile(r"\d+_(\d+)")


def write_subsets(index: Path, out: Path, num_pairs: int | None, seed: int) -> None:
    """Draw the subsets and write ``out``/paired.csv and unpaired.csv.

    Args:
        index: CSV of crops with the column pair.
        out: folder to write.
        num_pairs: K; None is as many as there can be.
        seed: another draw for another seed.

    Raises:
        ConfigError: the index has no pairs, or too few; ``out`` holds subsets already.
    """
    places = [out / "paired.csv", out / "unpaired.csv"]
    for place in places:
        if place.exists():
            raise ConfigError(f"{place} is there already; choose another --out or remove it")
    subsets = draw_subsets(read_index(index, "crop"), num_pairs, seed)
    out.mkdir(parents=True, exist_ok=True)
    for place, items in zip(places, subsets, strict=True):
        write_index(place, items)
        counts = [sum(item.label == label for item in items) for label in ("real", "fake")]
        log.info("%s: %d real and %d fake crops", place, *counts)


def draw_subsets(items: Sequence[Item], num_pairs: int | None, seed: int) -> tuple[list[Item], list[Item]]:
    """The paired and the unpaired subset, in the order of ``items``.

    Raises:
        ConfigError: there are no pairs, or too few.
    """
    pairs: dict[str, dict[Label, list[Item]]] = {}
    for item in items:
        if item.pair:
            pairs.setdefault(item.pair, {"real": [], "fake": []})[item.label].append(item)
    whole = {name: pair for name, pair in pairs.items() if pair["real"] and pair["fake"]}
    if not whole:
        raise ConfigError("no two rows, one real and one fake, have the same value in the column pair; fill it in")
    if len(whole) < len(pairs):
        log.info("%d of %d pairs lack their real or fake crops and are left out", len(pairs) - len(whole), len(pairs))
    ours, others = _draw(_joined(whole), num_pairs, np.random.default_rng(seed))
    reals = [item for name in ours for item in whole[name]["real"]]
    paired, unpaired = _as_many(*([item for name in side for item in whole[name]["fake"]] for side in (ours, others)))
    position = {item.path: number for number, item in enumerate(items)}
    subsets = [sorted(reals + fakes, key=lambda item: position[item.path]) for fakes in (paired, unpaired)]
    return subsets[0], subsets[1]


def _joined(pairs: Mapping[str, Mapping[Label, Sequence[Item]]]) -> list[list[str]]:
    """Groups of pairs that share faces: whose fakes name another's real video as their donor."""
    home = {(item.dataset, _last(item.video)): name for name, pair in pairs.items() for item in pair["real"]}
    group = {name: name for name in pairs}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for name, pair in pairs.items():
        for item in pair["fake"]:
            match = TARGET_DONOR.fullmatch(_last(item.video))
            donor = home.get((item.dataset, match[1])) if match else None
            if donor:
                group[root(name)] = root(donor)
    groups: dict[str, list[str]] = {}
    for name in sorted(pairs):
        groups.setdefault(root(name), []).append(name)
    return sorted(groups.values())


def _last(video: str) -> str:
    return PurePosixPath(video).name


def _draw(groups: Sequence[list[str]], num_pairs: int | None, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """K pairs and K others, of different groups."""
    shuffled = [groups[number] for number in rng.permutation(len(groups))]
    sizes = np.cumsum([len(group) for group in shuffled])
    largest = int(np.minimum(sizes, sizes[-1] - sizes).max())
    if num_pairs is None:
        num_pairs = largest
    if not 1 <= num_pairs <= largest:
        raise ConfigError(
            f"the index has {sizes[-1]} pairs in {len(groups)} groups that share no face: enough for {largest} pairs "
            f"and as many others, not for {num_pairs or 1}; give fewer with --pairs"
        )
    border = int(np.searchsorted(sizes, num_pairs)) + 1
    sides = (shuffled[:border], shuffled[border:])
    ours, others = ([name for group in side for name in group][:num_pairs] for side in sides)
    return ours, others


def _as_many(ours: Sequence[Item], others: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Fakes of both sides, cut so that each manipulation has as many videos and as many crops."""
    kept: tuple[list[Item], list[Item]] = ([], [])
    for source in sorted({item.source for item in ours} & {item.source for item in others}):
        # The longest with the longest: so the fewest crops are lost.
        sides = [sorted(_videos(side, source), key=len, reverse=True) for side in (ours, others)]
        for videos in zip(*sides, strict=False):
            size = min(map(len, videos))
            for side, video in zip(kept, videos, strict=True):
                side += [video[number * len(video) // size] for number in range(size)]
    if not kept[0]:
        raise ConfigError("the pairs drawn have no manipulation (column source) in common; draw more, or another seed")
    num_lost = len(ours) + len(others) - 2 * len(kept[0])
    if num_lost:
        log.info("%d fake crops are left out to make the counts equal", num_lost)
    return kept


def _videos(items: Sequence[Item], source: str) -> list[list[Item]]:
    """Crops of one manipulation by their video; without one each is a video of its own."""
    videos: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        if item.source == source:
            videos.setdefault((item.dataset, item.video or str(item.path)), []).append(item)
    return list(videos.values())
