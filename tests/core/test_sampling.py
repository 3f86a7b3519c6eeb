import numpy as np

from lnclip.sampling import FrameChoice, ranked_frames


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
