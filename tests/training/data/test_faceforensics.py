"""FaceForensics++'s own layout and splits become indices; the counts are the official ones."""

import json

import pytest

from lnclip.errors import ConfigError
from lnclip.index import read_index
from training.data.faceforensics import METHODS, write_video_indices


def lay_out(root, pairs, methods=METHODS):
    """Empty files where the download script puts its videos."""
    originals = root / "original_sequences/youtube/c23/videos"
    originals.mkdir(parents=True, exist_ok=True)
    for name in {name for pair in pairs for name in pair}:
        (originals / f"{name}.mp4").touch()
    for method in methods:
        folder = root / "manipulated_sequences" / method / "c23/videos"
        folder.mkdir(parents=True, exist_ok=True)
        for first, second in pairs:
            (folder / f"{first}_{second}.mp4").touch()
            (folder / f"{second}_{first}.mp4").touch()


@pytest.fixture
def splits(tmp_path):
    """Splits of the official sizes: 360, 70 and 70 pairs of 1,000 videos."""
    names = [f"{number:03d}" for number in range(1000)]
    pairs = [list(pair) for pair in zip(names[::2], names[1::2], strict=True)]
    folder = tmp_path / "splits"
    folder.mkdir()
    for split, part in {"train": pairs[:360], "val": pairs[360:430], "test": pairs[430:]}.items():
        (folder / f"{split}.json").write_text(json.dumps(part))
    lay_out(tmp_path / "ff", pairs)
    return folder


def test_the_official_splits_give_the_official_counts(tmp_path, splits):
    written = write_video_indices(tmp_path / "ff", splits, tmp_path / "indices")
    assert [path.name for path in written] == ["train.csv", "val.csv", "test.csv"]
    train, val, test = (read_index(path, "video") for path in written)
    counts = [tuple(sum(i.label == label for i in items) for label in ("real", "fake")) for items in (train, val, test)]
    assert counts == [(720, 4 * 720), (140, 4 * 140), (140, 4 * 140)]  # method of the papers: 3,600 training videos
    parts = [{item.pair for item in items} for items in (train, val, test)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 1000  # nobody is in two splits


def test_a_fake_is_paired_with_its_target(tmp_path, splits):
    write_video_indices(tmp_path / "ff", splits, tmp_path / "indices")
    fake = next(i for i in read_index(tmp_path / "indices/train.csv", "video") if i.video == "001_000")
    assert (fake.pair, fake.label, fake.source, fake.dataset) == ("001", "fake", "Deepfakes", "FF")
    assert fake.path.resolve() == (tmp_path / "ff/manipulated_sequences/Deepfakes/c23/videos/001_000.mp4").resolve()


def test_faceshifter_is_a_test_set_of_its_own(tmp_path, splits):
    lay_out(tmp_path / "ff", json.loads((splits / "test.json").read_text()), ["FaceShifter"])
    written = write_video_indices(tmp_path / "ff", splits, tmp_path / "indices")
    items = read_index(written[-1], "video")
    assert {item.dataset for item in items} == {"FSh"}
    assert (sum(i.label == "real" for i in items), sum(i.label == "fake" for i in items)) == (140, 140)


def test_missing_videos_are_counted_and_named(tmp_path, splits):
    (tmp_path / "ff/original_sequences/youtube/c23/videos/123.mp4").unlink()
    with pytest.raises(ConfigError, match=r"1 videos are not there: .*123\.mp4"):
        write_video_indices(tmp_path / "ff", splits, tmp_path / "indices")


@pytest.mark.parametrize("content", ["{}x", "[[1, 2, 3]]", "7"])
def test_a_damaged_split_is_named(tmp_path, splits, content):
    (splits / "val.json").write_text(content)
    with pytest.raises(ConfigError, match=r"val\.json is no list of pairs"):
        write_video_indices(tmp_path / "ff", splits, tmp_path / "indices")


def test_missing_splits_say_where_they_come_from(tmp_path, splits):
    with pytest.raises(ConfigError, match="comes with FaceForensics' code"):
        write_video_indices(tmp_path / "ff", tmp_path, tmp_path / "indices")
