"""Videos to crops: which frames, which face, and what becomes of a run that is cut off."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lnclip.detectors import load_detector
from lnclip.index import Item, read_index, write_index
from lnclip.picture import upright
from lnclip.preprocess import align
from lnclip.sampling import FrameChoice
from lnclip.spec import PreprocessSpec
from lnclip.video import Video
from tests.clips import moving, write_clip, write_sound
from tests.training.data.reports import report_of
from training.data.faces import find_faces, masked_face
from training.data.preparation import Summary, prepare

FOUR = FrameChoice(sampling="spread", count=4)


@pytest.fixture(scope="session")
def group(astronaut: np.ndarray, grace_hopper: np.ndarray) -> np.ndarray:
    """(512, 1024, 3): a smaller face on the left, a larger on the right."""
    return np.hstack([astronaut, grace_hopper[:512]])


def frames_of(summary: Summary) -> list[str]:
    return [item.path.name for item in read_index(summary.crops, "crop")]


def test_frames_are_those_that_the_reference_saves(face, detector_folder, tmp_path):
    """The order of 12 frames is 6, 0, 11, 3, 8, 1, ...; 3 and 11 have no face."""
    clip = write_clip(tmp_path / "clip.mp4", moving(face, 12, without=(3, 11)))
    summary = prepare([clip], "real", tmp_path / "out", detector_folder, choice=FOUR)
    assert frames_of(summary) == ["000000.png", "000001.png", "000006.png", "000008.png"]
    row = report_of(tmp_path / "out")["clip.mp4"]
    assert (row["status"], row["num_crops"]) == ("ok", "4")
    assert sorted(path.name for path in (tmp_path / "out" / row["crops"]).iterdir()) == frames_of(summary)
    assert not (tmp_path / "out" / "journal.jsonl").exists()


@pytest.mark.parametrize(("sampling", "frames"), [("uniform", [0, 7]), ("stride", [0, 2, 6])])
def test_other_samplings(face, detector_folder, tmp_path, sampling, frames):
    """uniform: 0, 3, 7, 11 less those without a face. stride: every second until there are three."""
    clip = write_clip(tmp_path / "clip.mp4", moving(face, 12, without=(3, 4, 11)))
    choice = FrameChoice(sampling=sampling, count=len(frames) if sampling == "stride" else 4, stride=2)
    summary = prepare([clip], "real", tmp_path / "out", detector_folder, choice=choice)
    assert frames_of(summary) == [f"{frame:06d}.png" for frame in frames]


def test_crops_of_a_video_are_what_the_server_would_cut_of_its_frames(face, detector_folder, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", moving(face, 5), turned=(90, False, False))
    turned = [np.rot90(frame, -1) for frame in moving(face, 5)]  # stored lying, upright when turned back
    clip = write_clip(tmp_path / "clip.mp4", turned, turned=(90, False, False))
    summary = prepare([clip], "real", tmp_path / "out", detector_folder, choice=FrameChoice(count=5))
    items, detector = read_index(summary.crops, "crop"), load_detector(detector_folder)
    assert len(items) == 5
    for item, frame in zip(items, Video(clip).frames(), strict=True):
        pixels = upright(frame)
        faces = find_faces(pixels, detector)
        crop = align(pixels, faces.landmarks[0], PreprocessSpec())
        np.testing.assert_array_equal(np.asarray(Image.open(item.path)), crop)


def test_frames_of_a_video_are_one_clip(face, detector_folder, tmp_path):
    for name in ("named.mp4", "nameless.mp4", "other.mp4"):
        write_clip(tmp_path / name, moving(face, 2))
    items = [
        Item(tmp_path / name, "fake", video, "set", "swap", "7", "video")
        for name, video in (("named.mp4", "one"), ("nameless.mp4", ""), ("other.mp4", ""))
    ]
    write_index(tmp_path / "videos.csv", items)
    summary = prepare([tmp_path / "videos.csv"], None, tmp_path / "out", detector_folder)
    crops = read_index(summary.crops, "crop")
    assert [crop.video for crop in crops[:2]] == ["one", "one"]
    assert len({crop.video for crop in crops}) == 3
    assert {crop[1:2] + crop[3:] for crop in crops} == {("fake", "set", "swap", "7", "crop")}


def test_every_video_is_accounted_for(face, detector_folder, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    write_clip(folder / "nobody.mp4", noise)
    write_clip(folder / "single.webm", [face], "libvpx-vp9")
    write_sound(folder / "sound.mp4")
    (folder / "empty.mkv").touch()
    cut = write_clip(folder / "cut.avi", moving(face, 12), "mjpeg", pixel_format="yuvj420p")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    summary = prepare([folder], "real", tmp_path / "out", detector_folder, choice=FOUR)
    report = report_of(tmp_path / "out")
    assert {name: (row["status"], row["code"]) for name, row in report.items()} == {
        "nobody.mp4": ("no_face", ""),
        "single.webm": ("ok", ""),
        "sound.mp4": ("error", "no_video_stream"),
        "empty.mkv": ("error", "empty"),
        "cut.avi": ("ok", "truncated"),
    }
    assert report["nobody.mp4"]["num_frames"] == "8"
    assert (report["single.webm"]["num_crops"], report["cut.avi"]["num_crops"]) == ("1", "4")
    assert "of 12 frames can be decoded" in report["cut.avi"]["reason"]
    assert summary[1:] == (5, 1, 2)


def test_frames_that_are_decoded_in_part_are_passed_over(face, detector_folder, tmp_path):
    clip = write_clip(tmp_path / "clip.avi", moving(face, 12), "mpeg4")
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = np.random.default_rng(0).integers(0, 256, 400, dtype=np.uint8).tobytes()
    clip.write_bytes(data)
    spoilt = {n for n, frame in enumerate(Video(clip).frames()) if frame.is_corrupt}
    assert spoilt
    summary = prepare([clip], "real", tmp_path / "out", detector_folder, choice=FrameChoice(count=12))
    assert frames_of(summary)
    assert not set(frames_of(summary)) & {f"{n:06d}.png" for n in spoilt}
    row = report_of(tmp_path / "out")["clip.avi"]
    assert f"{len(spoilt)} frames are decoded in part and were passed over" in row["reason"]


class TestMasks:
    @pytest.fixture
    def given(self, group: np.ndarray, tmp_path: Path) -> Path:
        """Three frames of two people, the smaller face masked, in the last frame nothing."""
        (tmp_path / "videos" / "deep").mkdir(parents=True)
        (tmp_path / "masks" / "deep").mkdir(parents=True)
        write_clip(tmp_path / "videos" / "deep" / "fake.mp4", [group] * 4)
        mask = np.zeros_like(group)
        mask[90:140, 200:260] = 255
        write_clip(tmp_path / "masks" / "deep" / "fake.mp4", [mask, mask, np.zeros_like(mask)])
        return tmp_path

    def cut(self, given: Path, label: str, detector_folder: Path) -> dict[str, str]:
        prepare([given / "videos"], label, given / "out", detector_folder, choice=FOUR, masks=given / "masks")
        [row] = report_of(given / "out").values()
        return row

    def width(self, given: Path, row: dict[str, str]) -> int:
        return min(Image.open(path).width for path in (given / "out" / row["crops"]).iterdir())

    def test_the_manipulated_face_of_a_fake_is_cut(self, given, detector_folder):
        """Of the frames that both have, and that are not all original."""
        row = self.cut(given, "fake", detector_folder)
        names = sorted(path.name for path in (given / "out" / row["crops"]).iterdir())
        assert names == ["000000.png", "000001.png"]
        assert self.width(given, row) < 200  # the astronaut's face; grace_hopper's is above 250

    def test_the_largest_face_of_a_real_is_cut(self, given, detector_folder):
        row = self.cut(given, "real", detector_folder)
        assert row["num_crops"] == "4"
        assert self.width(given, row) > 250

    def test_no_face_over_the_mask_is_no_crop(self, given, group, detector_folder):
        mask = np.zeros_like(group)
        mask[400:, :100] = 255
        write_clip(given / "masks" / "deep" / "fake.mp4", [mask] * 2)
        row = self.cut(given, "fake", detector_folder)
        assert (row["status"], row["reason"]) == ("no_face", "none of 4 faces lies over manipulated pixels")

    def test_a_fake_without_a_mask_is_an_error(self, given, detector_folder):
        (given / "masks" / "deep" / "fake.mp4").unlink()
        row = self.cut(given, "fake", detector_folder)
        assert (row["status"], row["code"]) == ("error", "no_mask")

    def test_a_mask_of_another_size_is_an_error(self, given, group, detector_folder):
        write_clip(given / "masks" / "deep" / "fake.mp4", [group[:256]])
        row = self.cut(given, "fake", detector_folder)
        assert (row["status"], row["code"]) == ("error", "mask_size")
        assert row["reason"] == "the mask has 1024 x 256 pixels, the picture 1024 x 512"

    def test_masks_are_found_where_faceforensics_puts_them(self, given, detector_folder):
        moved = given / "manipulated" / "Deepfakes" / "masks" / "videos" / "fake.mp4"
        moved.parent.mkdir(parents=True)
        (given / "masks" / "deep" / "fake.mp4").rename(moved)
        (given / "lists").mkdir()
        item = Item(given / "videos" / "deep" / "fake.mp4", "fake", "v", "FF", "Deepfakes", kind="video")
        write_index(given / "lists" / "index.csv", [item])
        masks = given / "manipulated"
        prepare([given / "lists" / "index.csv"], None, given / "out", detector_folder, choice=FOUR, masks=masks)
        assert report_of(given / "out")["fake.mp4"]["num_crops"] == "2"

    def test_grey_level_1_is_not_manipulated(self, group, detector_folder):
        faces = find_faces(group, load_detector(detector_folder))
        assert masked_face(faces, np.full_like(group, 1)) is None
        assert masked_face(faces, np.full_like(group, 2)) == 0

    def test_masks_of_images(self, group, detector_folder, tmp_path):
        for folder, pixels in (
            ("photos", group),
            ("masks", np.pad(np.full((140, 260, 3), 9), ((0, 372), (0, 764), (0, 0)))),
        ):
            (tmp_path / folder).mkdir()
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / folder / "a.png")
        summary = prepare([tmp_path / "photos"], "fake", tmp_path / "out", detector_folder, masks=tmp_path / "masks")
        [crop] = read_index(summary.crops, "crop")
        assert Image.open(crop.path).width < 200
