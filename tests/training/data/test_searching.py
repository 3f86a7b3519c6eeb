import itertools

import numpy as np
import pytest

from lnclip.sampling import FrameChoice, ranked_frames
from training.data.searching import FaceSearch

COUNT = 6


class Clip:
    """Frames that are their own numbers, some with a face; keeps count of what is asked of it."""

    def __init__(self, num_frames: int, faces: set[int]) -> None:
        self.num_frames, self.faces = num_frames, faces
        self.num_decodings, self.num_looks, self.most_held = 0, 0, 0
        self.held: set[int] = set()

    def frames(self):
        self.num_decodings += 1
        return iter(range(self.num_frames))

    def look(self, index: int, frame: int) -> bool:
        assert index == frame
        self.num_looks += 1
        if index in self.faces:
            self.held.add(index)
            self.most_held = max(self.most_held, len(self.held))
        return index in self.faces

    def search(self, choice: FrameChoice, num_expected: int) -> list[int]:
        search = FaceSearch(choice, self.frames, self.look, self.held.remove)
        search.run(num_expected)
        assert set(search.found) == self.held
        return search.found


def walked(choice: FrameChoice, clip: Clip) -> list[int]:
    """What the reference saves: one frame after another in the order until there are enough."""
    with_faces = (index for index in ranked_frames(choice, clip.num_frames) if index in clip.faces)
    return sorted(itertools.islice(with_faces, choice.count))


@pytest.mark.parametrize("sampling", ["uniform", "stride", "spread"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("error", [-7, 0, 5])
def test_finds_the_faces_that_a_walk_through_the_order_would(sampling, share, error):
    """Whatever the file says about its number of frames."""
    rng = np.random.default_rng(0)
    for num_frames in (1, 6, 31, 90):
        clip = Clip(num_frames, set(np.flatnonzero(rng.random(num_frames) < share).tolist()))
        choice = FrameChoice(sampling=sampling, count=COUNT, stride=3)
        assert clip.search(choice, max(1, num_frames + error)) == walked(choice, clip)
        assert clip.most_held <= COUNT + 1


def test_one_decoding_is_enough_when_every_frame_has_a_face():
    for sampling in ("uniform", "stride", "spread"):
        clip = Clip(100, set(range(100)))
        clip.search(FrameChoice(sampling=sampling, count=COUNT), 100)
        assert (clip.num_decodings, clip.num_looks) == (1, COUNT)


def test_a_long_video_without_a_face_is_looked_through_in_few_decodings():
    clip = Clip(10_000, set())
    assert clip.search(FrameChoice(count=32), 10_000) == []
    assert clip.num_looks == 10_000
    assert clip.num_decodings == 9  # 32 + 64 + ... + 32 * 2^8 = 16352


def test_frames_that_can_no_longer_be_wanted_are_not_looked_at():
    """The middle has no face; the second decoding wants the first or the last, and finds the first."""
    clip = Clip(40, {0, 39})
    assert clip.search(FrameChoice(count=1), 40) == [0]
    assert (clip.num_decodings, clip.num_looks) == (2, 2)
