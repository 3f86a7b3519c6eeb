"""`benchmarks training`: the three variants compute the same, and the record holds what was measured."""

import json
import os

import pytest
import torch

from benchmarks.training_loops import Setting, twins
from benchmarks.training_speed import _check_losses, run_training
from lnclip.errors import LnclipError


def test_the_papers_encoder_has_our_weights():
    torch.manual_seed(0)
    encoder, vision = twins("demo-4x192-p32")
    pixels = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        theirs = encoder.head(torch.nn.functional.normalize(vision.eval()(pixel_values=pixels).pooler_output, dim=1))
        torch.testing.assert_close(theirs, encoder.eval()(pixels).logits, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_run_leaves_a_record_with_raw_samples(tmp_path):
    setting = Setting(encoder="demo-4x192-p32", batch_size=4, compile=False, threads=1)
    text = run_training(setting, rounds=2, steps=1, out=tmp_path)
    (path,) = tmp_path.glob("*_training.json")
    record = json.loads(path.read_text())
    assert {row["variant"]: row["trainable"] for row in record["rows"]}["ours"] == 2 * 192 * (4 * 2 + 2) + 2 * 193
    assert all(len(samples) == 2 and min(s["seconds"] for s in samples) > 0 for samples in record["samples"].values())
    losses = {variant: [sample["loss"] for sample in samples] for variant, samples in record["samples"].items()}
    assert losses["ours"] == pytest.approx(losses["papers"], rel=1e-3)  # steps later they still go the same way
    assert losses["full"] != pytest.approx(losses["papers"], rel=1e-3)
    assert record["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert "papers' loop" in text
    assert path.with_suffix(".md").read_text().count("|") > 10
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_times_of_loops_that_compute_something_else_are_refused():
    from benchmarks.training_loops import Measured

    same, other = Measured(1.0, 0.7, 1, 1), Measured(1.0, 0.71, 1, 1)
    _check_losses({"ours": same, "papers": same, "full": same})
    with pytest.raises(LnclipError, match=r"ours has the loss 0\.710000 where the papers' loop has 0\.700000"):
        _check_losses({"ours": other, "papers": same, "full": same})
