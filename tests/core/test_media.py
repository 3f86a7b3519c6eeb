"""Kinds by content: real files of FFmpeg's and Pillow's own writers, under their names and under wrong ones."""

import os

import numpy as np
import pytest

from lnclip.media import HEAD_BYTES, has_media_ending, is_media, kind_of, read_head
from tests.clips import shade, write_clip, write_sound
from tests.conftest import encoded

CONTAINERS = {
    "clip.mp4": "libx264",
    "clip.mov": "libx264",
    "clip.mkv": "libx264",
    "clip.avi": "mpeg4",
    "clip.webm": "libvpx",
    "clip.ts": "mpeg2video",
    "clip.m2ts": "mpeg2video",
    "clip.mpg": "mpeg2video",
    "clip.wmv": "wmv2",
    "clip.flv": "flv",
    "clip.3gp": "mpeg4",
    "clip.y4m": "wrapped_avframe",
}
STILLS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")


@pytest.mark.parametrize(("name", "codec"), CONTAINERS.items(), ids=list(CONTAINERS))
def test_a_video_is_one_whatever_it_is_called(name: str, codec: str, tmp_path):
    head = read_head(write_clip(tmp_path / name, [shade(n, 128, 176) for n in range(12)], codec))
    assert {kind_of(head, wrong) for wrong in (name, "clip.jpg", "clip", "")} == {"video"}
    assert is_media(head, "clip.bin")


@pytest.mark.parametrize("kind", STILLS)
def test_an_image_is_one_whatever_it_is_called(kind: str, astronaut: np.ndarray):
    head = encoded(astronaut[::8, ::8], kind)[:HEAD_BYTES]
    assert {kind_of(head, wrong) for wrong in ("photo.mp4", "photo.ts", "photo", "photo.jpg")} == {"image"}
    assert is_media(head, "photo.bin")


def test_where_the_content_says_nothing_the_ending_does():
    assert [kind_of(b"", name) for name in ("a.mp4", "a.MOV", "a.jpg", "a", "a.csv")] == [
        *("video", "video", "image", "image", "image")
    ]
    assert [kind_of(b"some words", name) for name in ("a.webm", "a.png")] == ["video", "image"]


def test_two_letters_are_not_enough_for_an_image(astronaut: np.ndarray):
    for head in (b"BM is an abbrevi", b"P5-something else", b"G" * 100, b"", b"RIFF1234WAVEfmt "):
        assert not is_media(head, "words.bin")
    for kind in ("BMP", "PPM"):
        assert is_media(encoded(astronaut, kind)[:16], "words.bin")


def test_sound_by_itself_is_no_media(tmp_path):
    for name in ("sound.m4a", "sound.aac"):
        assert not is_media(read_head(write_sound(tmp_path / name)), name)


def test_pictures_in_a_video_container_are_images():
    assert kind_of(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "IMG_1.HEIC") == "image"
    assert kind_of(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "picture.mp4") == "image"


def test_typescript_is_no_transport_stream():
    program = b"Graph.draw();\n" * 100  # begins with the sync byte, 0x47, too
    assert not has_media_ending("module.ts")
    assert not is_media(program[:HEAD_BYTES], "module.ts")
    assert has_media_ending("clip.MP4")


def test_a_pipe_is_not_waited_for_nor_emptied(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert read_head(tmp_path / "pipe") == b""
    assert read_head(tmp_path / "gone") == b""
    assert read_head("nul\0") == b""
