from pathlib import Path

import pytest

from lnclip.errors import ConfigError
from lnclip.index import Item, write_index
from training.data.listing import limit_videos, read_items

FRAMES = (
    "CDFv2/Celeb-real/id0_0000/000.png",
    "CDFv2/Celeb-real/id0_0000/015.png",
    "CDFv2/Celeb-synthesis/id0_id1_0000/000.png",
    "FF/DF/000_003/012.png",
    "FF/real/000/012.png",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """datasets/, as the reference lays it out."""
    for name in FRAMES:
        path = tmp_path / "datasets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "datasets"


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines))  # like the reference's, without a last line break
    return path


def short(items: list[Item]) -> list[tuple[str, ...]]:
    return [(item.label, item.dataset, item.source, item.video, item.path.name) for item in items]


ALL = [
    ("real", "CDFv2", "Celeb-real", "id0_0000", "000.png"),
    ("real", "CDFv2", "Celeb-real", "id0_0000", "015.png"),
    ("fake", "CDFv2", "Celeb-synthesis", "id0_id1_0000", "000.png"),
    ("fake", "FF", "DF", "000_003", "012.png"),
    ("real", "FF", "real", "000", "012.png"),
]


def test_a_tree_is_read_from_the_end_of_its_paths(tree):
    assert short(read_items([tree], "crop")) == ALL
    assert short(read_items([tree / "CDFv2"], "crop")) == ALL[:3]
    assert short(read_items([tree / "FF" / "DF"], "crop")) == ALL[3:4]


def test_a_tree_is_read_from_wherever_the_command_runs(tree, monkeypatch):
    monkeypatch.chdir(tree / "FF")
    assert short(read_items([Path("DF")], "crop")) == ALL[3:4]
    assert short(read_items([Path()], "crop")) == ALL[3:]


def test_what_is_no_tree_is_refused(tree, tmp_path):
    with pytest.raises(ConfigError, match=r"id0_0000 has images 1 levels down: .*000\.png; give a folder of data sets"):
        read_items([tree / "CDFv2" / "Celeb-real" / "id0_0000"], "crop")
    with pytest.raises(ConfigError, match=r"has images 5 levels down"):
        read_items([tmp_path], "crop")
    (tree / "FF" / "stray.png").touch()
    with pytest.raises(ConfigError, match=r"FF has images at different depths: .*, .*; give"):
        read_items([tree / "FF"], "crop")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty holds no images"):
        read_items([tmp_path / "empty"], "crop")


def test_links_are_followed_but_not_in_circles(tree, tmp_path):
    (tree / "FF" / "DF" / "000_003" / "again").symlink_to(tree)
    assert short(read_items([tree], "crop")) == ALL
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "CDF").symlink_to(tree / "CDFv2")
    assert [row[1:] for row in short(read_items([tmp_path / "mine"], "crop"))] == [("CDF", *row[2:]) for row in ALL[:3]]


def test_a_list_is_relative_to_the_working_directory_or_else_to_itself(tree, monkeypatch):
    from_list = written(tree / "test.txt", "\ufeff" + FRAMES[4], "", FRAMES[2] + "\r")
    assert short(read_items([from_list], "crop")) == [ALL[2], ALL[4]]
    monkeypatch.chdir(tree.parent)
    from_here = written(tree / "FF" / "test.txt", f"datasets/{FRAMES[3]}")
    assert short(read_items([from_here], "crop")) == [ALL[3]]


def test_missing_files_of_a_list_are_named(tree):
    listed = written(tree / "test.txt", FRAMES[0], *(f"FF/real/000/{number}.png" for number in range(5)))
    with pytest.raises(ConfigError, match=r"5 of 6 files are not there: FF/real/000/0\.png, .* and 2 more; paths are"):
        read_items([listed], "crop")
    with pytest.raises(ConfigError, match=r"none\.txt cannot be read"):
        read_items([tree / "none.txt"], "crop")
    with pytest.raises(ConfigError, match=r"test\.txt is empty"):
        read_items([written(tree / "test.txt", "", "")], "crop")


def one_frame(root: Path, source: str) -> Path:
    path = root / "set" / source / "video" / "0.png"
    path.parent.mkdir(parents=True)
    path.touch()
    return path.parents[2]


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("Celeb-real", "real"),
        ("YouTube-real", "real"),
        ("real-ar", "real"),
        ("RV-RA-real", "real"),
        ("Real3DPortrait", "fake"),
        ("original", "fake"),
    ],
)
def test_a_source_is_judged_by_its_whole_name(tmp_path, source, label, caplog):
    """Names and labels as in the reference; folders above and below do not count."""
    caplog.set_level("INFO")
    [item] = read_items([one_frame(tmp_path / "real-videos", source)], "crop")
    assert item.label == label
    assert f"set/{source}: {label} (by its name)" in caplog.text


def test_each_decision_is_logged_once_and_doubtful_ones_are_warned_of(tree, tmp_path, caplog):
    caplog.set_level("INFO")
    read_items([tree], "crop")
    assert caplog.text.count("Celeb-real") == 1
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    read_items([one_frame(tmp_path, "Real3DPortrait")], "crop")
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert 'write Real3DPortrait = "real" into a TOML file and give it with --labels' in warning.getMessage()


def test_labels_settle_a_source(tree, caplog):
    caplog.set_level("INFO")
    labels = written(tree / "labels.toml", 'DF = "real"', '"CDFv2/Celeb-real" = "fake"', 'Celeb-real = "real"')
    items = read_items([tree], "crop", labels)
    assert [item.label for item in items] == ["fake", "fake", "fake", "real", "real"]
    assert f"FF/DF: real (by {labels})" in caplog.text


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('DF = "Real"', r"DF = 'Real': must be"),
        ("DF = 0", r"DF = 0: must be"),
        ("[DF]", r"DF = \{\}: must be"),
        ("DF real", "is not a TOML file"),
    ],
)
def test_a_label_that_is_none_is_refused(tree, content, complaint):
    with pytest.raises(ConfigError, match=r"labels\.toml.*" + complaint):
        read_items([tree], "crop", written(tree / "labels.toml", content))


def test_an_index_says_its_labels_itself(tree):
    write_index(tree / "index.csv", [Item(tree / FRAMES[3], "real", "v", "d", "DF")])
    labels = written(tree / "labels.toml", 'DF = "fake"')
    assert [item.label for item in read_items([tree / "index.csv"], "crop", labels)] == ["real"]


def test_files_given_twice_count_once(tree, caplog):
    caplog.set_level("INFO")
    listed = written(tree / "test.txt", FRAMES[3], FRAMES[3])
    assert short(read_items([listed, tree, tree / "FF"], "crop")) == [ALL[3], *ALL[:3], ALL[4]]
    assert "3 files are given more than once" in caplog.text
    write_index(tree / "index.csv", [Item(tree / FRAMES[3], "real", "v", "d", "DF")])
    with pytest.raises(ConfigError, match=r"012\.png is given as real and as fake"):
        read_items([tree / "index.csv", tree], "crop")


@pytest.fixture
def items() -> list[Item]:
    """20 videos of 5 frames."""
    return [
        Item(Path(f"{video}/{frame}.png"), "real", str(video), "d", "s") for video in range(20) for frame in range(5)
    ]


def test_a_limit_takes_whole_videos_and_cuts_the_last(items):
    kept = limit_videos(items, 23)
    assert len(kept) == 23
    counts = sorted([item.video for item in kept].count(video) for video in {item.video for item in kept})
    assert counts == [3, 5, 5, 5, 5]
    assert kept == [item for item in items if item in kept]
    assert {item.video for item in kept} != {"0", "1", "2", "3", "4"}


def test_a_limit_takes_the_same_videos_each_time(items):
    videos = {item.video for item in limit_videos(items, 20)}
    assert {item.video for item in limit_videos(items[::-1], 20)} == videos
    assert {item.video for item in limit_videos(items, 20, seed=1)} != videos
    assert videos < {item.video for item in limit_videos(items, 40)}


def test_no_limit_is_all(items):
    assert limit_videos(items, None) == limit_videos(items, 100) == limit_videos(items, 1000) == items


def test_crops_without_a_video_are_each_one(items):
    nameless = [item._replace(video="") for item in items]
    assert len(limit_videos(nameless, 7)) == 7
    assert limit_videos(nameless, 7) != nameless[:7]
