import itertools

import numpy as np
import pytest

from training.data.frames import FrameChoice, ranked_frames
from training.data.searching import FaceSearch

COUNT = 6


def spread(num_frames: int) -> list[int]:
    return list(ranked_frames(FrameChoice(sampling="spread", count=1), num_frames))


def spread_by_trying_all(num_frames: int) -> list[int]:
    """The rule word for word: each time the index farthest from all taken, the smallest of equals."""
    taken = [num_frames // 2]
    while len(taken) < num_frames:
        free = [index for index in range(num_frames) if index not in taken]
        distances = [min(abs(index - other) for other in taken) for index in free]
        taken.append(free[int(np.argmax(distances))])
    return taken


def test_spread_is_the_order_of_the_reference():
    assert spread(20)[:11] == [10, 0, 19, 5, 14, 2, 7, 12, 16, 1, 3]


def test_spread_takes_the_farthest_frame_each_time():
    assert all(spread(num) == spread_by_trying_all(num) for num in (*range(1, 60), 97, 128, 199))


def test_no_frames_give_no_order():
    for sampling in ("uniform", "stride", "spread"):
        assert list(ranked_frames(FrameChoice(sampling=sampling), 0)) == []


def test_uniform_truncates_as_the_reference_does():
    """linspace(0, 99, 7) is 0, 16.5, 33, 49.5, 66, 82.5, 99."""
    assert list(ranked_frames(FrameChoice(sampling="uniform", count=7), 100)) == [0, 16, 33, 49, 66, 82, 99]
    # In whole numbers this one would be 15: the reference's floating point gives 14.999...
    assert list(ranked_frames(FrameChoice(sampling="uniform", count=100), 28))[14:16] == [14, 15]
    assert [int(value) for value in np.linspace(0, 27, 100)].count(14) == 4


def test_uniform_takes_each_frame_of_a_short_video_once():
    assert list(ranked_frames(FrameChoice(sampling="uniform", count=32), 5)) == [0, 1, 2, 3, 4]
    assert list(ranked_frames(FrameChoice(sampling="uniform", count=1), 5)) == [0]


def test_stride_is_every_so_many():
    assert list(ranked_frames(FrameChoice(sampling="stride", count=2, stride=4), 10)) == [0, 4, 8]


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
