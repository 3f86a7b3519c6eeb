"""FaceForensics++ as it lies on disk after its own download script: videos and official splits -> video indices.

    ROOT/original_sequences/youtube/c23/videos/000.mp4
    ROOT/manipulated_sequences/METHOD/c23/videos/000_003.mp4    target 000, donor 003
    ROOT/manipulated_sequences/METHOD/masks/videos/000_003.mp4  optional
    SPLITS/train.json, val.json, test.json                      pairs such as ["071", "054"]

Source: ondyari/FaceForensics, dataset/ and dataset/splits/.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lnclip.errors import ConfigError
from lnclip.index import Item, write_index

log = logging.getLogger(__name__)

Compression = Literal["raw", "c23", "c40"]

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
"""What the papers train on. FaceShifter is on the same targets: a test set of its own."""

SHOWN = 3


def write_video_indices(root: Path, splits: Path, out: Path, compression: Compression = "c23") -> list[Path]:
    """Write ``out``/train.csv, val.csv, test.csv, and faceshifter.csv where it was downloaded.

    A fake's pair is its target's number: frame i of 000_003 shows the same moment as frame i of 000.

    Raises:
        ConfigError: a split cannot be read, or one of its videos is not there.
    """
    out.mkdir(parents=True, exist_ok=True)
    pairs = {split: _read_split(splits / f"{split}.json") for split in ("train", "val", "test")}
    indices = {split: _items(root, pairs[split], METHODS, "FF", compression) for split in pairs}
    if (root / "manipulated_sequences" / "FaceShifter").is_dir():
        indices["faceshifter"] = _items(root, pairs["test"], ("FaceShifter",), "FSh", compression)
    missing = [item.path for items in indices.values() for item in items if not item.path.is_file()]
    if missing:
        shown = ", ".join(map(str, missing[:SHOWN])) + (f" and {len(missing) - SHOWN} more" if missing[SHOWN:] else "")
        raise ConfigError(f"{len(missing)} videos are not there: {shown}; download FaceForensics++ {compression} again")
    written = [out / f"{name}.csv" for name in indices]
    for path, items in zip(written, indices.values(), strict=True):
        write_index(path, items)
        log.info("%s: %d real and %d fake videos", path, *(sum(i.label == x for i in items) for x in ("real", "fake")))
    return written


def _read_split(path: Path) -> list[tuple[str, str]]:
    """The pairs of a split.

    Raises:
        ConfigError: it is not a list of pairs of names.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [(str(first), str(second)) for first, second in found]
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; it comes with FaceForensics' code") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f'{path} is no list of pairs such as ["071", "054"]: {error}') from error


def _items(
    root: Path, pairs: Sequence[tuple[str, str]], methods: Sequence[str], dataset: str, compression: Compression
) -> list[Item]:
    """Both videos of every pair, and both orders of it by every method."""
    originals = root / "original_sequences" / "youtube" / compression / "videos"
    items = [
        Item(originals / f"{name}.mp4", "real", name, dataset, "youtube", pair=name, kind="video")
        for pair in pairs
        for name in pair
    ]
    for method in methods:
        folder = root / "manipulated_sequences" / method / compression / "videos"
        items += [
            Item(folder / f"{target}_{donor}.mp4", "fake", f"{target}_{donor}", dataset, method, target, "video")
            for first, second in pairs
            for target, donor in ((first, second), (second, first))
        ]
    return items
