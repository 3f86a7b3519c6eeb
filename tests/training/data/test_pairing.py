from collections import Counter
from pathlib import Path

import pytest

from lnclip.errors import ConfigError
from lnclip.index import Item, read_index, write_index
from training.data.pairing import draw_subsets, write_subsets

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")


def crops(label: str, source: str, video: str, pair: str, num_crops: int = 3) -> list[Item]:
    return [
        Item(Path(f"{source}/{video}/{number}.png"), label, video, "FF", source, pair) for number in range(num_crops)
    ]


@pytest.fixture
def faceforensics() -> list[Item]:
    """20 originals that swap faces two by two, as FaceForensics++ does, by four methods."""
    items = []
    for number in range(20):
        target, donor = f"{number:03}", f"{number ^ 1:03}"
        items += crops("real", "youtube", target, target)
        for method in METHODS:
            items += crops("fake", method, f"{target}_{donor}", target)
    return items


def targets(items: list[Item], label: str) -> set[str]:
    return {item.pair for item in items if item.label == label}


def counts(items: list[Item]) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """Crops and videos by label and source."""
    videos = {(item.label, item.source, item.video) for item in items}
    return Counter(item[1:2] + item[4:5] for item in items), Counter(video[:2] for video in videos)


@pytest.mark.parametrize("num_pairs", [1, 4, 5, 10, None])
def test_subsets_have_equal_counts_and_differ_in_the_relation_alone(faceforensics, num_pairs):
    paired, unpaired = draw_subsets(faceforensics, num_pairs, 0)
    expected = num_pairs or 10
    assert counts(paired) == counts(unpaired)
    assert counts(paired)[1] == {("real", "youtube"): expected} | {("fake", method): expected for method in METHODS}
    assert targets(paired, "real") == targets(paired, "fake") == targets(unpaired, "real")
    assert not targets(unpaired, "real") & targets(unpaired, "fake")
    assert [item for item in paired if item.label == "real"] == [item for item in unpaired if item.label == "real"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_pairs", [3, 9])
def test_no_face_of_the_originals_is_in_an_unpaired_fake(faceforensics, num_pairs, seed):
    """Neither as the target nor as the donor."""
    _, unpaired = draw_subsets(faceforensics, num_pairs, seed)
    donors = {item.video.partition("_")[2] for item in unpaired if item.label == "fake"}
    assert not donors & targets(unpaired, "real")


def test_the_draw_follows_from_the_seed_alone(faceforensics):
    assert draw_subsets(faceforensics, 4, 1) == draw_subsets(faceforensics, 4, 1)
    assert targets(draw_subsets(faceforensics, 4, 1)[0], "real") != targets(
        draw_subsets(faceforensics, 4, 2)[0], "real"
    )
    paired, _ = draw_subsets(faceforensics[::-1], 4, 1)
    assert targets(paired, "real") == targets(draw_subsets(faceforensics, 4, 1)[0], "real")


def test_unequal_material_is_cut_to_equal_counts(caplog):
    """Pair n has n + 1 fake videos of n + 2 crops: whichever two are drawn, the smaller counts hold."""
    caplog.set_level("INFO")
    items = []
    for number in range(4):
        items += crops("real", "original", f"r{number}", str(number))
        for video in range(number + 1):
            items += crops("fake", "swap", f"f{number}-{video}", str(number), number + 2)
    paired, unpaired = draw_subsets(items, 1, 0)
    assert counts(paired) == counts(unpaired)
    smaller = min(int(pair) for subset in (paired, unpaired) for pair in targets(subset, "fake"))
    assert counts(paired)[0]["fake", "swap"] == (smaller + 1) * (smaller + 2)
    assert "fake crops are left out to make the counts equal" in caplog.text


def test_crops_that_are_cut_away_are_spread_over_the_video():
    items = crops("real", "o", "a", "1") + crops("real", "o", "b", "2")
    items += crops("fake", "s", "c", "1", 3) + crops("fake", "s", "d", "2", 9)
    for subset in draw_subsets(items, 1, 0):
        names = [item.path.stem for item in subset if item.video == "d"]
        assert names in ([], ["0", "3", "6"])


def test_too_few_pairs_are_told(faceforensics):
    with pytest.raises(ConfigError, match=r"20 pairs in 10 groups.*enough for 10 pairs and as many others, not for 11"):
        draw_subsets(faceforensics, 11, 0)
    with pytest.raises(ConfigError, match=r"not for 1;"):
        draw_subsets([item for item in faceforensics if item.pair == "000"], None, 0)
    with pytest.raises(ConfigError, match=r"same value in the column pair; fill it in"):
        draw_subsets([item._replace(pair="") for item in faceforensics], None, 0)


def test_pairs_that_are_not_whole_are_left_out(faceforensics, caplog):
    caplog.set_level("INFO")
    without = [item for item in faceforensics if item.label == "fake" or item.pair not in {"000", "001"}]
    paired, unpaired = draw_subsets(without, None, 0)
    assert not (targets(paired, "fake") | targets(unpaired, "fake")) & {"000", "001"}
    assert "2 of 20 pairs lack their real or fake crops" in caplog.text


def test_subsets_are_indices(faceforensics, tmp_path):
    for item in faceforensics:
        path = tmp_path / item.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    write_index(tmp_path / "index.csv", [item._replace(path=tmp_path / item.path) for item in faceforensics])
    write_subsets(tmp_path / "index.csv", tmp_path / "subsets", 4, 0)
    for name in ("paired", "unpaired"):
        assert len(read_index(tmp_path / "subsets" / f"{name}.csv", "crop")) == 4 * 5 * 3
    with pytest.raises(ConfigError, match=r"paired\.csv is there already"):
        write_subsets(tmp_path / "index.csv", tmp_path / "subsets", 4, 0)
