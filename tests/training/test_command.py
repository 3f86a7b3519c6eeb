"""``python -m training`` as it is typed: exit status, stdout for the product, stderr for the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def training(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", "training", *map(str, words)]
    return subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_help_names_every_command_and_is_quick(tmp_path: Path) -> None:
    answer = training("--help", cwd=tmp_path)
    assert answer.returncode == 0
    assert all(command in answer.stdout for command in ("fit", "evaluate", "prepare", "demo-data"))
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, training.__main__; print('torch' in sys.modules, 'lightning' in sys.modules)",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["fit", "--config", "none.toml", "--out", "run"], "error: none.toml cannot be read: No such file"),
        (["prepare", "nowhere", "--label", "real", "--out", "crops"], "error: nowhere is not there"),
        (["evaluate", "nowhere", "--index", "a.csv", "--out", "x"], "error: nowhere/model.json cannot be read"),
    ],
)
def test_what_the_user_can_fix_is_one_line_and_status_2(tmp_path: Path, words: list[str], complaint: str) -> None:
    answer = training(*words, cwd=tmp_path)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith(complaint)
    assert answer.stderr.count("\n") == 1


def test_a_missing_index_is_found_before_torch_is_imported(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from lnclip.errors import ConfigError
from training.config import TrainConfig
from training.fitting import fit
try:
    fit(TrainConfig.model_validate({"train_index": "none.csv"}), Path("run"))
except ConfigError as error:
    print(error, "torch" in sys.modules, "lightning" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout == "none.csv cannot be read: No such file or directory False False\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_fit_and_evaluate_print_their_product_alone(tmp_path: Path, small_index: Path) -> None:
    (tmp_path / "run.toml").write_text(f'train_index = "{small_index}"\nbatch_size = 8\n[spec]\ninput_px = 64\n')
    fitted = training("fit", "--config", "run.toml", "--out", "runs/a", "--set", "epochs=1", cwd=tmp_path)
    assert (fitted.returncode, fitted.stdout) == (0, "runs/a\n"), fitted.stderr
    assert "epoch 1 of 1: loss" in fitted.stderr
    assert "Warning" not in fitted.stderr
    evaluated = training("evaluate", "runs/a", "--index", small_index, "--out", "eval", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "noise" in evaluated.stdout
    assert (tmp_path / "eval" / "predictions.parquet").exists()


@pytest.mark.slow
def test_prepare_ends_with_1_when_a_file_could_not_be_read(tmp_path: Path, detector_folder: Path, astronaut) -> None:
    from PIL import Image

    Image.fromarray(astronaut).save(tmp_path / "a.png")
    words = ("--label", "real", "--detector", detector_folder)
    fine = training("prepare", "a.png", *words, "--out", "fine", cwd=tmp_path)
    assert (fine.returncode, fine.stdout) == (0, "fine/index.csv\n"), fine.stderr
    (tmp_path / "b.png").write_bytes(b"")
    answer = training("prepare", "a.png", "b.png", *words, "--out", "crops", cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (1, "crops/index.csv\n")
    assert "1 crops of 2 files, 0 without a face, 1 unreadable: crops/report.csv" in answer.stderr
