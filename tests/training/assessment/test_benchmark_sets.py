"""The benchmark sets as they lie on disk: labels by composition, nothing left out unsaid."""

from pathlib import Path

import pytest
from PIL import Image

from lnclip.errors import ConfigError
from lnclip.evaluation_table import summary
from lnclip.index import Item, read_index, write_index
from training.assessment.benchmark_sets import Benchmark, find_benchmarks, read_benchmarks
from training.assessment.evaluation import evaluate
from training.data.faceforensics import METHODS, write_video_indices

FOURTEEN = ["CDF", "CDFv3", "DFD", "DFDC", "FSh", "UADFV", "DFDM", "FFIW", "DSv1", "DSv2", "KoDF", "FAVC", "PGF"]
FOURTEEN += ["IDForge"]

ONE = Benchmark(name="One", title="", folders=("One", "first-*"), real=("real",), fake=("swap*",), exclude=("odd",))


def fill(folder: Path, **sources: int) -> None:
    """So many videos of two frames in each source."""
    for source, count in sources.items():
        for video in range(count):
            for frame in ("000", "015"):
                path = folder / source / f"{video:03}" / f"{frame}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (24, 24), (video, 0, 0)).save(path)


def test_there_are_the_papers_fourteen_and_the_training_set_counts_in_no_mean() -> None:
    sets = read_benchmarks()
    assert [one.name for one in sets if not one.in_dataset] == FOURTEEN
    assert [one.name for one in sets if one.in_dataset] == ["FF"]
    assert all((one.counts != "") == (one.num_real is not None or one.num_fake is not None) for one in sets)


@pytest.mark.parametrize(
    ("name", "source", "label"),
    [
        ("CDFv3", "Real3DPortrait", "fake"),  # the reference's rule calls it fake for its capital R alone
        ("CDFv3", "Celeb-real", "real"),
        ("CDFv3", "IP_LAP", "fake"),
        ("FAVC", "RV-RA-real", "real"),
        ("FAVC", "RV-FA-real", "excluded"),
        ("FAVC", "FV-RA-wav2lip", "fake"),
        ("FAVC", "FV-FA-fsgan", "fake"),
        ("PGF", "real-ar", "real"),
        ("PGF", "ar2en-Wav2Lip", "fake"),
        ("PGF", "video_retalking", "fake"),
        ("FF", "FaceShifter", "excluded"),
        ("FF", "NeuralTextures", "fake"),
        ("FF", "FS", "fake"),
        ("FF", "youtube", "real"),
        ("FSh", "youtube", "real"),
        ("FSh", "FSh", "fake"),
        ("KoDF", "adversarial", "excluded"),
        ("KoDF", "audio-driven", "fake"),
        ("DSv2", "wav2lip", None),
        ("DFDM", "YouTube-real", None),
        ("IDForge", "face_tts_roop", "fake"),
    ],
)
def test_labels_come_from_the_composition(name: str, source: str, label: str | None) -> None:
    [one] = [one for one in read_benchmarks() if one.name == name]
    assert one.label_of(source) == label
    assert one.label_of(source.upper()) == label


def test_a_source_of_two_meanings_is_an_error() -> None:
    both = ONE.model_copy(update={"fake": ("re*",)})
    with pytest.raises(ConfigError, match="One calls the source 'real' real and fake"):
        both.label_of("real")


def test_a_tree_is_read_with_the_compositions_labels_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    fill(tmp_path / "first-x", real=2, Swapped=3, odd=1, stranger=2)
    (tmp_path / "first-x" / "real" / "000" / "notes.txt").write_text("")
    found = find_benchmarks(tmp_path, [ONE])
    [(origin, items)] = found.items.items()
    assert origin == tmp_path / "first-x"
    assert {(item.dataset, item.source, item.label) for item in items} == {
        ("One", "real", "real"),
        ("One", "Swapped", "fake"),
    }
    assert len(items) == 10
    assert {item.video for item in items if item.source == "real"} == {"000", "001"}
    assert found.notes == [
        "One: 2 crops of 'odd' left out: excluded by the composition",
        "One: 4 crops of 'stranger' left out: a source that the composition does not name",
    ]
    assert found.missing == {}


def test_an_index_beside_is_read_in_place_of_the_tree(tmp_path: Path) -> None:
    fill(tmp_path / "One", real=2, swap=2)
    paths = sorted((tmp_path / "One").glob("*/*/*.png"))
    rows = [Item(path, "fake" if "swap" in path.parts else "real", "v", "x", path.parts[-3]) for path in paths[::2]]
    write_index(tmp_path / "One" / "index.csv", rows)
    found = find_benchmarks(tmp_path, [ONE])
    [(origin, items)] = found.items.items()
    assert origin == tmp_path / "One" / "index.csv"
    assert [(item.dataset, item.label) for item in items] == [("One", "real")] * 2 + [("One", "fake")] * 2


def test_crops_of_our_own_listing_of_faceforensics_have_their_reals(tmp_path: Path) -> None:
    for source in ("youtube", *METHODS, "FaceShifter"):
        kind = "original_sequences" if source == "youtube" else "manipulated_sequences"
        videos = tmp_path / kind / source / "c23" / "videos"
        videos.mkdir(parents=True)
        for name in ("000", "001") if source == "youtube" else ("000_001", "001_000"):
            (videos / f"{name}.mp4").touch()
    (tmp_path / "splits").mkdir()
    for split in ("train", "val", "test"):
        (tmp_path / "splits" / f"{split}.json").write_text('[["000", "001"]]')
    *_, test, faceshifter = write_video_indices(tmp_path, tmp_path / "splits", tmp_path / "listed")
    for folder, listed in (("FF", test), ("FSh", faceshifter)):
        (tmp_path / "sets" / folder).mkdir(parents=True)
        crops = [item._replace(kind="crop") for item in read_index(listed, "video")]  # as prepare carries them over
        write_index(tmp_path / "sets" / folder / "index.csv", crops)
    found = find_benchmarks(tmp_path / "sets", read_benchmarks())
    counts = {path.parent.name: [item.label for item in items] for path, items in found.items.items()}
    assert {name: (each.count("real"), each.count("fake")) for name, each in counts.items()} == {
        "FF": (2, 8),
        "FSh": (2, 2),
    }
    assert not [note for note in found.notes if "left out" in note]


def test_an_index_that_contradicts_the_composition_is_an_error(tmp_path: Path) -> None:
    fill(tmp_path / "One", real=1)
    [path, _] = sorted((tmp_path / "One").glob("*/*/*.png"))
    write_index(tmp_path / "One" / "index.csv", [Item(path, "fake", "v", "x", "real")])
    with pytest.raises(ConfigError, match=r"One/index\.csv: .* is fake, but One's composition calls its source 'real'"):
        find_benchmarks(tmp_path, [ONE])


def test_other_counts_than_known_are_told(tmp_path: Path) -> None:
    fill(tmp_path / "One", real=2, swap=3)
    known = ONE.model_copy(update={"num_real": 2, "num_fake": 1400, "counts": "the official list"})
    assert find_benchmarks(tmp_path, [known]).notes == ["One: 3 fake videos, not 1,400 as in the official list"]
    exact = ONE.model_copy(update={"num_real": 2, "num_fake": 3, "counts": "the official list"})
    assert find_benchmarks(tmp_path, [exact]).notes == []


def test_sets_that_are_not_there_are_named_with_the_reason(tmp_path: Path) -> None:
    fill(tmp_path / "One", real=1, swap=1)
    (tmp_path / "Two").mkdir()
    others = [ONE.model_copy(update={"name": name, "folders": (name,)}) for name in ("Two", "Three")]
    found = find_benchmarks(tmp_path, [ONE, *others])
    assert found.missing["Three"] == "no folder named Three"
    assert found.missing["Two"].startswith(f"{tmp_path / 'Two'} has no crops of its sources")
    with pytest.raises(ConfigError, match="holds none of the 2 benchmark sets"):
        find_benchmarks(tmp_path, others)
    with pytest.raises(ConfigError, match="nowhere is no folder of data sets"):
        find_benchmarks(tmp_path / "nowhere", [ONE])


def test_two_folders_of_one_set_are_an_error(tmp_path: Path) -> None:
    fill(tmp_path / "One", real=1)
    fill(tmp_path / "first-2", real=1)
    with pytest.raises(ConfigError, match=r"One has two folders: .*One and .*first-2; move one elsewhere"):
        find_benchmarks(tmp_path, [ONE])


def test_a_typo_in_the_file_is_an_error_that_names_the_key(tmp_path: Path) -> None:
    text = '[[benchmark]]\nname = "A"\ntitle = "A"\nfolders = ["A"]\nreal = ["r"]\nfake = ["f"]\nexcluded = []\n'
    (tmp_path / "sets.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"sets\.toml: benchmark\.0\.excluded: Extra inputs"):
        read_benchmarks(tmp_path / "sets.toml")


@pytest.mark.slow
def test_one_command_evaluates_what_is_there(tmp_path: Path, random_run: Path, crops_index: Path) -> None:
    crops = [item.path.read_bytes() for item in read_index(crops_index, "crop")]
    number = 0
    for folder, source in (("UADFV", "real"), ("UADFV", "fake"), ("FF", "real"), ("FF", "DF"), ("CDFv2", "Celeb-real")):
        for video in range(3):
            path = tmp_path / "data" / folder / source / f"v{video}" / "0.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(crops[number])
            number += 1
    answer = evaluate(random_run, [], tmp_path / "out", benchmarks=tmp_path / "data")
    sets = answer["metrics"]["datasets"]
    assert sets["UADFV"]["videos"] == sets["FF"]["videos"] == {"real": 3, "fake": 3}
    assert sets["CDF"]["not_measurable"]
    assert answer["metrics"]["mean"]["of"] == ["UADFV"]
    assert answer["metrics"]["pooled"]["videos"] == {"real": 6, "fake": 3}  # of UADFV and CDF
    assert set(answer["missing"]) == set(FOURTEEN) - {"UADFV", "CDF"}
    text = summary(answer)
    assert "missing: DFDC: no folder named DFDC or DFDC-test" in text
    assert "note: UADFV: 3 real videos, not 49 and 3 fake videos, not 49 as in the whole set" in text
