"""Who is who in a video: cases drawn by hand."""

from __future__ import annotations

import pytest

from client.rows import Face, Track, VideoFrame
from client.video.tracks import MOST_MISSED, SAME_IOU, as_rows, counting, follow, iou
from tests.client.video.faces import face, frames_of


def tracks_of(*faces: list[Face]) -> list[list[tuple[int, float]]]:
    """Of each track its frames, counted from 0, with its p_fake there."""
    return [list(zip(track.frames, track.p_fakes, strict=True)) for track in follow(frames_of(*faces))]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 0, 10, 10), 1.0),
        ((5, 0, 15, 10), 50 / 150),
        ((5, 5, 15, 15), 25 / 175),
        ((2, 2, 4, 4), 4 / 100),
        ((10, 0, 20, 10), 0.0),
        ((40, 40, 50, 50), 0.0),
    ],
)
def test_overlap_by_hand(other: tuple[float, float, float, float], expected: float) -> None:
    assert iou((0, 0, 10, 10), other) == pytest.approx(expected)
    assert iou(other, (0, 0, 10, 10)) == pytest.approx(expected)


def test_one_person_who_moves_is_one_track() -> None:
    """115 of 100 pixels a frame: of boxes 200 wide 85 / 315 overlap. 125 would be 75 / 325, below the limit."""
    assert 75 / 325 < SAME_IOU < 85 / 315
    assert tracks_of([face(0, 0.1)], [face(115, 0.2)], [face(230, 0.3)]) == [[(0, 0.1), (1, 0.2), (2, 0.3)]]
    assert len(tracks_of([face(0, 0.1)], [face(125, 0.2)])) == 2


def test_two_people_who_cross_keep_their_tracks() -> None:
    """One goes right by 30 a frame, the other, not quite as tall, left: where both overlap both, the larger
    overlap wins. From frame 2 to 3 the right one has 70 of 130 with itself, 51 of 149 with the other."""
    right = [face(30 * step, 0.1) for step in range(6)]
    left = [face(165 - 30 * step, 0.9, y=40) for step in range(6)]
    frames = [sorted(pair, key=lambda one: one.box[0]) for pair in zip(right, left, strict=True)]
    assert [[one.p_fake for one in pair] for pair in frames] == [[0.1, 0.9]] * 3 + [[0.9, 0.1]] * 3
    assert tracks_of(*frames) == [[(n, 0.1) for n in range(6)], [(n, 0.9) for n in range(6)]]


def test_of_two_that_fit_the_nearer_is_taken_and_the_other_is_new() -> None:
    assert tracks_of([face(0, 0.1)], [face(40, 0.9), face(10, 0.2)]) == [[(0, 0.1), (1, 0.2)], [(1, 0.9)]]


def test_one_face_goes_on_one_track_only() -> None:
    """Two people, one of whom is hidden: the track of the hidden one does not take the other's face."""
    frames = [[face(0, 0.1), face(60, 0.9)], [face(50, 0.9)], [face(0, 0.1), face(60, 0.9)]]
    assert tracks_of(*frames) == [[(0, 0.1), (2, 0.1)], [(0, 0.9), (1, 0.9), (2, 0.9)]]


@pytest.mark.parametrize("num_missed", [1, MOST_MISSED, MOST_MISSED + 1])
def test_one_who_leaves_and_comes_back_is_the_same_for_a_while(num_missed: int) -> None:
    gone: list[list[Face]] = [[]] * num_missed
    tracks = tracks_of([face(0, 0.1)], *gone, [face(5, 0.2)])
    if num_missed <= MOST_MISSED:
        assert tracks == [[(0, 0.1), (num_missed + 1, 0.2)]]
    else:
        assert tracks == [[(0, 0.1)], [(num_missed + 1, 0.2)]]


def test_a_cut_to_others_begins_new_tracks() -> None:
    frames = [[face(0, 0.1)], [face(0, 0.1)], [face(300, 0.8), face(500, 0.2)], [face(300, 0.8), face(500, 0.2)]]
    assert tracks_of(*frames) == [[(0, 0.1), (1, 0.1)], [(2, 0.8), (3, 0.8)], [(2, 0.2), (3, 0.2)]]


def test_no_face_is_no_track() -> None:
    assert tracks_of([], []) == []
    assert counting([], []) == []


def test_a_row_names_frames_by_their_place_in_the_video() -> None:
    frames = frames_of([face(0, 0.25)], [face(0, 0.5), face(500, 1.0)])
    assert as_rows(follow(frames), frames) == (
        Track(id=0, frames=(0, 5), p_fake=(0.25 + 0.5) / 2),
        Track(id=1, frames=(5,), p_fake=1.0),
    )


@pytest.mark.parametrize(
    ("lengths", "count"),
    [((5, 2), [5]), ((5, 3), [5, 3]), ((2, 1), [2]), ((1, 1), [1, 1]), ((9, 2, 2), [9])],
)
def test_short_tracks_count_only_where_there_are_no_longer_ones(lengths: tuple[int, ...], count: list[int]) -> None:
    """Three frames are enough, or all frames with a face where those are fewer."""
    frames = frames_of(
        *[[face(200 * who, 0.5) for who, length in enumerate(lengths) if number < length] for number in range(9)]
    )
    assert [len(track.frames) for track in counting(follow(frames), frames)] == count


def test_if_no_track_is_long_enough_all_count() -> None:
    """Four frames with a face, each somewhere else."""
    frames: list[VideoFrame] = frames_of(*[[face(200 * number, 0.5)] for number in range(4)])
    assert len(counting(follow(frames), frames)) == 4
