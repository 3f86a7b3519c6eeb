"""The parts of an image's CPU time add up to the whole, and what is missing is said."""

from __future__ import annotations

import pytest

from benchmarks.pipeline.costs import Cost, StageTime
from benchmarks.pipeline.files_to_rows import Result
from benchmarks.pipeline.share import Aim, Share
from benchmarks.pipeline.tables import REST, cpu_parts, routes_table, shares_table, stages_table

CPU_MS = {"decode": [5, 4, 9], "detect": [50, 50, 50], "align": [3, 3, 3], "encode": [90, 90, 90],
          "encode_batched": [40, 44, 30], "verdict": [0, 1, 2]}  # fmt: skip
STAGES = [
    StageTime(stage=stage, batch=1.0, samples=[Cost(cpu / 2, cpu) for cpu in costs]) for stage, costs in CPU_MS.items()
]


def test_what_the_stages_do_not_need_themselves_is_transport_and_the_rest():
    parts = cpu_parts(STAGES, cpu_ms=125.0)  # 125 - (5 + 50 + 3 + 40 + 1); the encoder at the server's batch, not at 1
    assert parts == {"decode": 5, "detect": 50, "align": 3, "encode": 40, "verdict": 1, REST: pytest.approx(26.0)}


def test_the_stage_table_has_shares_of_the_whole_and_no_share_for_the_encoder_one_by_one():
    text = stages_table(STAGES, cpu_parts(STAGES, cpu_ms=125.0))
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in text.splitlines()}
    assert cells["detect"] == ["1.0", "25.00", "25.00..25.00", "50.00", "40%"]
    assert cells["encode"][-1] == "-"
    assert cells["encode, batched"][3:] == ["40.00", "32%"]
    assert cells[REST][3:] == ["26.00", "21%"]


def test_a_precision_that_is_not_here_is_a_row_with_its_reason():
    row = Result("papers' path", 1.0, 0.9, 1.1, 1.6, 1.0, 1.9, 1900.0, 0.0)
    text = routes_table([row], {"bf16": "this processor has no bf16"})
    assert "not here: this processor has no bf16" in text
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_a_share_whose_rounds_did_not_settle_says_so():
    text = shares_table([Share(Aim("part", 0.95), [0.97, 0.93, 0.96], 2, {})])
    assert [cell.strip() for cell in text.splitlines()[-1].split("|")[1:-1]] == [
        "part",
        "96.0%",
        "93.0%..97.0%",
        "3",
        "2",
    ]
