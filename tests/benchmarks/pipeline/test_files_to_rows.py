"""Routes take turns, their times count only while their scores agree, and the rows' arithmetic is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.pipeline.files_to_rows import Measured, Route, Turn, check_scores, measure_routes, summarise
from lnclip.errors import LnclipError

A, B, C = Path("a.jpg"), Path("b.jpg"), Path("c.jpg")
EXPECTED = {A: (0.2, 0.7), B: (), C: (0.9,)}


def route(name: str, precision: str = "fp32", answers: list[dict] | None = None, log: list[str] | None = None) -> Route:
    """A route that gives one answer after the other, then the expected one."""
    given = iter(answers or [])

    def score(files):
        if log is not None:
            log.append(name)
        return next(given, EXPECTED)

    return Route(name=name, precision=precision, score=score)


def test_the_routes_take_turns_and_another_goes_first_each_time():
    log: list[str] = []
    measured = measure_routes([route(name, log=log) for name in "xyz"], [A, B, C], rounds=4)
    assert "".join(log) == "xyz" + "xyz" + "yzx" + "zxy" + "xyz"
    assert {name: len(turns) for name, turns in measured.turns.items()} == {"x": 4, "y": 4, "z": 4}
    assert (measured.images, measured.faces) == (3, 3)
    assert all(turn.seconds > 0 and turn.server_cpu_s == 0 for turns in measured.turns.values() for turn in turns)


@pytest.mark.parametrize("turn", [0, 2])
def test_a_route_whose_scores_go_astray_stops_the_run_whenever_it_does(turn: int):
    astray = [EXPECTED] * turn + [{**EXPECTED, C: (0.8,)}]
    with pytest.raises(LnclipError, match=r"y: p_fake differs by 0\.1 > 1e-05 from the papers' path over 3 faces"):
        measure_routes([route("x"), route("y", answers=astray)], [A, B, C], rounds=3)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({A: (0.2, 0.7), B: ()}, r"c\.jpg has no row where the papers' path finds 1"),
        ({**EXPECTED, A: (0.2,)}, r"a\.jpg has 1 faces where the papers' path finds 2"),
        ({**EXPECTED, B: (0.5,)}, r"b\.jpg has 1 faces where the papers' path finds 0"),
    ],
)
def test_every_file_needs_the_same_faces(found: dict, said: str):
    with pytest.raises(LnclipError, match=said):
        check_scores(route("y"), EXPECTED, found)


@pytest.mark.parametrize(("precision", "near", "far"), [("fp32", 0.9 + 9e-6, 0.9 + 2e-5), ("bf16", 0.919, 0.921)])
def test_how_far_a_score_may_be_off_is_the_precisions_own_limit(precision: str, near: float, far: float):
    check_scores(route("y", precision), EXPECTED, {**EXPECTED, C: (near,)})
    with pytest.raises(LnclipError, match="p_fake differs"):
        check_scores(route("y", precision), EXPECTED, {**EXPECTED, C: (far,)})


def test_a_score_that_is_no_number_never_agrees():
    with pytest.raises(LnclipError, match="p_fake differs by nan"):
        check_scores(route("y", "bf16"), EXPECTED, {**EXPECTED, C: (float("nan"),)})


def test_int8_is_judged_by_its_ranks_once_there_are_enough_faces():
    many = {Path(f"{number}.jpg"): (number / 40,) for number in range(40)}
    moved = {path: (p * 0.8 + 0.05,) for path, (p,) in many.items()}
    check_scores(route("y", "int8"), many, moved)
    mirrored = {path: (1 - p,) for path, (p,) in many.items()}
    with pytest.raises(LnclipError, match=r"rank correlation is -1\.0+ < 0\.99"):
        check_scores(route("y", "int8"), many, mirrored)


def test_rows_by_hand():
    # 12 images with 18 faces. Round by round 24, 12, 36 s against 6, 4, 4 s: 4, 3 and 9 times as fast.
    papers = [Turn(24.0, 36.0, 0.0, 0.0), Turn(12.0, 24.0, 0.0, 0.0), Turn(36.0, 36.0, 0.0, 0.0)]
    ours = [Turn(6.0, 1.2, 6.0, 3.0), Turn(4.0, 0.8, 4.0, 5.0), Turn(4.0, 0.4, 8.0, 4.0)]
    reference, served = summarise(Measured({"papers": papers, "ours": ours}, images=12, faces=18))
    assert reference.name == "papers"
    assert (reference.images_per_s, reference.slowest, reference.fastest) == pytest.approx((0.5, 1 / 3, 1.0))
    assert (reference.ratio, reference.cores, reference.encoder_batch) == pytest.approx((1.0, 1.5, 0.0))
    assert (served.images_per_s, served.slowest, served.fastest) == pytest.approx((3.0, 2.0, 3.0))
    assert served.faces_per_s == pytest.approx(4.5)
    assert served.ratio == pytest.approx(4.0)  # not 3.0 / 0.5 = 6: the rounds' own ratios count
    assert served.cores == pytest.approx(1.2)  # of 7.2 / 6, 4.8 / 4 and 8.4 / 4
    assert served.cpu_ms == pytest.approx(600.0)  # of 600, 400 and 700
    assert served.encoder_batch == pytest.approx(4.0)
