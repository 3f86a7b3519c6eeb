"""The two shares: their arithmetic by hand, and all of them once against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.corpus import write_corpus
from benchmarks.pipeline import shares as pipeline_shares
from benchmarks.pipeline.share import Aim, Share
from benchmarks.pipeline.shares import (
    check_answers,
    crops_share,
    ensemble_share,
    measure_crops_share,
    measure_ensemble_share,
)
from benchmarks.pipeline.stages import Stages
from benchmarks.pipeline.turns import Settings
from benchmarks.random_service import random_service
from benchmarks.records import Figure
from benchmarks.serving.windows import Windowing
from lnclip.errors import LnclipError

QUICK = Settings(
    rounds=1,
    windowing=Windowing(interval_s=0.3, max_trials=3, warmup_requests=2),
    concurrencies=(2,),
    batch_sizes=(1, 4),
    turn_s=0.1,
)


def test_nineteen_of_twenty_crops_come_through() -> None:
    assert crops_share(server_per_s=190.0, alone=200.0) == pytest.approx(0.95)


def test_two_cores_with_stages_of_eighty_milliseconds_could_do_25_images_a_second() -> None:
    assert ensemble_share(images_per_s=22.5, cores=2, cpu_s=0.080) == pytest.approx(0.90)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (Share(Aim("part", 0.95), [0.947, 0.96, 0.93], 0, {}), ("part", "94.7%", "at least 95%", False)),
        (Share(Aim("part", 0.95), [0.95], 0, {}), ("part", "95.0%", "at least 95%", True)),
        (Share(Aim("time", 6.0, "ms"), [5.96], 0, {}), ("time", "5.96 ms", "at most 6 ms", True)),
        (Share(Aim("time", 6.0, "ms"), [6.01], 0, {}), ("time", "6.01 ms", "at most 6 ms", False)),
    ],
)
def test_a_share_in_words(share: Share, words: tuple[str, str, str, bool]) -> None:
    assert share.figure() == Figure(*words)


@pytest.mark.slow
def test_the_two_shares_of_a_real_server(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    under_load = pipeline_shares.under_load
    monkeypatch.setattr(
        pipeline_shares,
        "under_load",
        lambda target, load, payloads, settings: (
            sent.extend(payloads if target.mode == "crops" else []) or under_load(target, load, payloads, settings)
        ),
    )
    pictures = write_corpus(tmp_path / "corpus", 3, sizes=((640, 480),), faces=(0, 1, 2))
    paths = [picture.path for picture in pictures]
    with random_service(work, "demo-4x192-p32") as server:
        crops = measure_crops_share(server, paths, QUICK)
        ensemble = measure_ensemble_share(server, paths, QUICK)
        with Stages(server.repository) as stages:
            stages.runner.run = lambda crops, run=stages.runner.run: (answer := run(crops))._replace(
                p_fake=1 - answer.p_fake
            )
            with pytest.raises(LnclipError, match="the server says"):
                check_answers(server, [path.read_bytes() for path in paths], stages)

    for share in (crops, ensemble):
        assert json.loads(json.dumps(share.details, allow_nan=False))["rounds"]
        assert len(share.samples) == 1
        assert share.value == share.samples[0]
    assert set(crops.details["alone_first_look"]) == {1, 4}
    [turn] = crops.details["rounds"]
    assert crops.value == pytest.approx(turn["per_s"] / turn["alone"][crops.details["alone_batch"]])
    assert turn["per_s"] == pytest.approx(turn["server"]["throughput"], rel=0.5)
    assert len(sent) == 3
    assert all(map(any, sent)), "a black crop costs the server nothing"
    [turn] = ensemble.details["rounds"]
    stages_s = sum(ms for stage, ms in turn["stages_cpu_ms"].items() if stage != "encode") / 1000
    assert ensemble.value == pytest.approx(turn["per_s"] * stages_s / ensemble.details["cores"])
