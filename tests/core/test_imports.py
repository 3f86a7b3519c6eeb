"""DESIGN's dependency table, held by reading the imports: stages meet in files, not in code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

FIRST_PARTY = {"lnclip", "training", "export", "model_repository", "server", "client", "benchmarks", "tests"}
ML = {"torch", "open_clip", "timm", "torchvision", "peft", "lightning", "torchmetrics", "safetensors"}
ENGINES = {
    "onnx",
    "onnxscript",
    "onnxruntime",
    "openvino",
    "nncf",
    "tensorrt",
    "tensorrt_rtx_bindings",
    "tensorrt_rtx_libs",
}
HEAVY = ML | ENGINES | {
    "sklearn", "skimage", "matplotlib", "huggingface_hub", "av", "pyarrow", "retinaface", "fsspec", "rich", "tenacity",
    "ray", "gradio", "tritonclient", "triton_python_backend_utils", "cv2", "PIL", "scipy", "transformers", "google",
}  # fmt: skip

ALLOWED = {
    "lnclip": (set(), {"cv2", "PIL"}),
    "training": (
        {"lnclip"},
        ML | {"sklearn", "skimage", "matplotlib", "huggingface_hub", "av", "pyarrow", "cv2", "PIL"},
    ),
    "export": (
        {"lnclip", "server"},
        ENGINES | {"torch", "retinaface", "safetensors", "cv2", "PIL", "sklearn", "scipy"},
    ),
    "model_repository": ({"lnclip"}, {"triton_python_backend_utils", "cv2"}),
    "server": ({"lnclip"}, {"tritonclient", "google"}),
    "client": ({"lnclip"}, {"tritonclient", "PIL", "av", "pyarrow", "fsspec", "rich", "tenacity", "ray", "gradio"}),
    "benchmarks": (FIRST_PARTY - {"tests"}, HEAVY),
}  # fmt: skip
"""Folder -> first-party packages and heavy libraries it may import."""

MODULES = {
    "lnclip/engines.py": {"torch", "onnxruntime", "openvino"},
    "lnclip/onnx_session.py": {"onnxruntime"},
    "lnclip/metrics.py": {"sklearn", "scipy"},
    "lnclip/encoder.py": {"torch", "timm", "safetensors"},
    "lnclip/towers.py": {"torch", "open_clip", "timm"},
    "lnclip/video.py": {"av"},
    "lnclip/picture.py": {"av"},
}
"""What single modules of lnclip may import beside."""


def imported(path: Path) -> set[str]:
    """Top-level names of every package that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


FILES = [path.relative_to(ROOT) for folder in ALLOWED for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_stage_imports_only_what_it_may(file):
    folder = file.parts[0]
    first_party, heavy = ALLOWED[folder]
    names = imported(ROOT / file)
    assert names & FIRST_PARTY - {folder} <= first_party
    assert names & HEAVY <= heavy | MODULES.get(str(file), set())


def test_only_publishing_imports_the_server():
    importers = {f.name for f in FILES if f.parts[0] == "export" and "server" in imported(ROOT / f)}
    publishing = {"publishing.py", "candidate.py", "checking.py", "reloading.py"}
    plans = {"engine.py", "detector_plan.py"}  # they read the served max_batch_size
    assert importers <= {*publishing, *plans, "__main__.py"}


def test_adapters_are_short():
    assert all(len(path.read_text().splitlines()) < 80 for path in (ROOT / "model_repository").rglob("model.py"))


def test_the_shared_package_imports_without_torch_in_the_serving_environment():
    """Every module but the encoder's, the towers', the metrics' and the videos', with numpy 1.26."""
    others = {"encoder", "towers", "metrics", "video", "picture", "__init__"}
    names = sorted(p.stem for p in (ROOT / "lnclip").glob("*.py") if p.stem not in others)
    program = f"""
import importlib, numpy, sys
for name in {names}: importlib.import_module("lnclip." + name)
assert numpy.__version__ == "1.26.4", numpy.__version__
assert "torch" not in sys.modules
"""
    subprocess.run([ROOT / ".venv-triton/bin/python", "-c", program], check=True)


def test_both_environments_cut_the_same_crops(astronaut, spec, tmp_path):
    import numpy as np

    np.save(tmp_path / "frame.npy", astronaut)
    program = f"""
import numpy as np, hashlib
from lnclip.detection import Detections, letterbox
from lnclip.preprocess import cut_faces, normalise
from lnclip.spec import PreprocessSpec
from lnclip.geometry import target_landmarks
frame, spec = np.load({str(tmp_path / "frame.npy")!r}), PreprocessSpec()
points = (target_landmarks(spec, 150) + [150, 40]).astype(np.float32)
face = Detections(np.zeros((1, 4), np.float32), points[None], np.ones(1, np.float32))
crops = cut_faces(frame, face, 0, spec).crops
for values in (crops, letterbox(frame), normalise(crops, spec)):
    print(hashlib.sha256(values.tobytes()).hexdigest(), spec.spec_id)
"""
    answers = {
        subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout
        for python in (sys.executable, ROOT / ".venv-triton/bin/python")
    }
    assert len(answers) == 1
