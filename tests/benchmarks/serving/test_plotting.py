"""What a request's time is made of, in numbers written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.serving.measured import Load, Measurement, ModelSplit
from benchmarks.serving.plotting import label, plot, time_parts


def split(name: str, queue_us: float, infer_us: float, overhead_us: float = 0.0) -> ModelSplit:
    return ModelSplit(name, 10, 0, 10, 10, queue_us, 100.0, infer_us, 200.0, overhead_us)


def measurement(latencies_us: list[float], steps: list[ModelSplit], model: ModelSplit) -> Measurement:
    return Measurement(
        load=Load("concurrency", 2),
        is_stable=True,
        windows=[],
        duration_s=1.0,
        latencies_us=np.array(latencies_us),
        answered_s=np.zeros(len(latencies_us)),
        marshal_us=10.0,
        faces=2,
        errors={},
        delayed_share=0.0,
        client_cores=0.1,
        server_cores=1.0,
        model=model,
        steps=steps,
    )


def test_the_parts_of_a_request_add_up_to_its_mean_latency() -> None:
    steps = [split("image_decoder", 1000.0, 3700.0), split("face_encoder", 2000.0, 9700.0)]
    whole = split("deepfake_detector", 0.0, 0.0, overhead_us=17_700.0)  # 18 ms with the tensors in and out
    parts = time_parts(measurement([19_000.0, 21_000.0], steps, whole))
    assert parts == pytest.approx(
        {"image_decoder": 4.0, "face_encoder": 10.0, "queues": 3.0, "between models": 1.0, "outside the server": 2.0}
    )


def test_a_model_of_its_own_has_no_steps() -> None:
    parts = time_parts(measurement([10_000.0], [], split("face_encoder", 1000.0, 5700.0, overhead_us=500.0)))
    assert parts == pytest.approx(
        {"face_encoder": 6.0, "queues": 1.0, "between models": 0.5, "outside the server": 2.5}
    )


def test_draws_loads_without_an_answer_too() -> None:
    silent = measurement([], [], split("face_encoder", 0.0, 0.0))
    assert len(plot([silent], "nothing").axes) == 2
    assert len(plot([silent, measurement([10.0], [], silent.model)], "one").axes) == 2


def test_names_a_load_briefly() -> None:
    assert label(Load("concurrency", 4)) == "4 in flight"
    assert label(Load("request_rate", 2.5)) == "2.5/s"
