from pathlib import Path

import pytest

from lnclip.errors import ConfigError
from lnclip.index import Item, read_index, write_index

HEADER = "path,label,video,dataset,source"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    return tmp_path


def written(folder: Path, *lines: str) -> Path:
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "index.csv"


def test_reads_rows_relative_to_the_csv(folder: Path) -> None:
    index = written(folder, HEADER + ",pair,note", "a.png,real,v1,d,pristine,7,x", "b.png,fake,v2,d,swap,7,y")
    assert read_index(index, "crop") == [
        Item(folder / "a.png", "real", "v1", "d", "pristine", "7", "crop"),
        Item(folder / "b.png", "fake", "v2", "d", "swap", "7", "crop"),
    ]


def test_reads_what_a_spreadsheet_writes(folder: Path) -> None:
    index = written(folder, "\ufeff" + HEADER + "\r", "a.png, real ,v,d,s\r")
    assert read_index(index, "crop")[0].label == "real"


def test_reads_what_it_writes(folder: Path) -> None:
    items = [
        Item(folder / "a.png", "real", "v,1", 'd"', "s", "p", "image"),
        Item(folder / "b.png", "fake", "", "", "", "", "image"),
    ]
    (folder / "lists").mkdir()
    write_index(folder / "lists" / "index.csv", items)
    found = read_index(folder / "lists" / "index.csv", "image")
    assert [item._replace(path=item.path.resolve()) for item in found] == items


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["path,label,video"], r"line 1 lacks the columns dataset, source; the first line must name path,label,"),
        ([HEADER], r"has a header and no rows"),
        ([HEADER, "a.png,real,v,d,s", "b.png,Fake,v,d,s"], r"line 3: label is 'Fake', must be real or fake"),
        ([HEADER, ",real,v,d,s"], r"line 2 has no path"),
        ([HEADER, "a.png"], r"line 2: label is ''"),
        ([HEADER + ",kind", "a.png,real,v,d,s,frame"], r"line 2: kind is 'frame', must be one of crop, image, video"),
        ([HEADER + ",kind", "a.png,real,v,d,s,image"], r"line 2 is of kind image.*python -m training prepare"),
        ([HEADER, "a.png,real,v,d,s", "a.png,fake,v,d,s"], r"line 3 has the path of line 2"),
    ],
)
def test_a_bad_row_is_named_with_its_remedy(folder: Path, lines: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=r"index\.csv.*" + complaint):
        read_index(written(folder, *lines), "crop")


def test_missing_files_are_named_and_counted(folder: Path) -> None:
    index = written(folder, HEADER, "a.png,real,v,d,s", *(f"gone{n}.png,real,v,d,s" for n in range(5)))
    with pytest.raises(ConfigError, match=r"5 of 6 files are not there: .*gone0\.png \(line 3\), .* and 2 more; paths"):
        read_index(index, "crop")


def test_what_is_no_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv cannot be read: No such file"):
        read_index(tmp_path / "none.csv", "crop")
    (tmp_path / "picture.csv").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read_index(tmp_path / "picture.csv", "crop")


def test_a_row_without_a_kind_is_what_the_command_reads(folder: Path) -> None:
    index = written(folder, HEADER, "a.png,real,v,d,s")
    assert read_index(index, "image")[0].kind == "image"
    assert read_index(index, "crop")[0].kind == "crop"


def test_where_kinds_may_be_mixed_a_row_without_one_is_a_crop_or_a_video_by_its_content(folder: Path) -> None:
    (folder / "b.png").write_bytes(b"\x00\x00\x00\x18ftypisom")
    (folder / "c.png").touch()
    index = written(folder, HEADER + ",kind", "a.png,real,v,d,s,", "b.png,fake,v,d,s,", "c.png,fake,v,d,s,image")
    assert [item.kind for item in read_index(index, "crop", "image", "video")] == ["crop", "video", "image"]
    with pytest.raises(ConfigError, match="line 4 is of kind image, this command needs crop or video"):
        read_index(index, "crop", "video")
