"""Shared fixtures, and the one rule for skipping: a marked test runs only where it can."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import skimage.data
from PIL import Image

from lnclip.architecture import KNOWN
from lnclip.detection import Detections
from lnclip.preprocess import cut_faces
from lnclip.spec import PreprocessSpec

ROOT = Path(__file__).parent.parent

AVAILABLE = {
    "gpu": lambda: shutil.which("nvidia-smi") is not None,
    "browser": lambda: bool(shutil.which("chromium") or list(PLAYWRIGHTS.glob("chromium-*"))),
}
PLAYWRIGHTS = Path.home() / ".cache" / "ms-playwright"
"""Where ``playwright install chromium`` puts its own."""

QUIET_BROWSER = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""Chromium as root in a container, asking nobody anything."""

# Five points of each photograph, read off the pictures by eye, in the order of the spec's template.
ASTRONAUT_POINTS = [[206, 101], [245, 100], [229, 122], [207, 137], [248, 136]]
GRACE_HOPPER_POINTS = [[226, 205], [309, 209], [263, 258], [225, 291], [299, 295]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for name, is_available in AVAILABLE.items():
        if is_available():
            continue
        for item in items:
            if name in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"needs {name}"))


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """(512, 512, 3) RGB; NASA, public domain."""
    return skimage.data.astronaut()


@pytest.fixture(scope="session")
def grace_hopper() -> np.ndarray:
    """(600, 512, 3) RGB; US Navy, public domain."""
    return np.asarray(Image.open(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB"))


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    """An encoded JPEG of an RGB picture."""
    return encoded(pixels, "JPEG", quality=95, **options)


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def spec() -> PreprocessSpec:
    return PreprocessSpec()


@pytest.fixture(scope="session")
def face_crops(astronaut: np.ndarray, grace_hopper: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    """(48, 224, 224, 3): both faces, their landmarks moved about, brighter, darker, mirrored."""
    rng = np.random.default_rng(0)
    crops = []
    for index in range(48):
        frame, points = ((astronaut, ASTRONAUT_POINTS), (grace_hopper, GRACE_HOPPER_POINTS))[index % 2]
        moved = (np.array(points) + rng.normal(0, 4, (5, 2))).astype(np.float32)
        face = Detections(np.zeros((1, 4), np.float32), moved[None], np.ones(1, np.float32))
        [crop] = cut_faces(frame, face, 0, spec).crops
        toned = np.clip(crop * rng.uniform(0.3, 1.5, 3), 0, 255).astype(np.uint8)
        crops.append(toned[:, ::-1] if index % 4 < 2 else toned)
    return np.stack(crops)


@pytest.fixture(scope="session")
def random_run(tmp_path_factory: pytest.TempPathFactory, face_crops: np.ndarray) -> Path:
    """A run of the small architecture whose random weights were given a head that tells faces apart."""
    from export.spread import write_random_run

    out = tmp_path_factory.mktemp("runs") / "random"
    write_random_run(out, KNOWN["demo-4x192-p32"], face_crops)
    return out


@pytest.fixture(scope="session")
def crops_index(tmp_path_factory: pytest.TempPathFactory, face_crops: np.ndarray) -> Path:
    """Those crops as files with an index; the labels alternate and mean nothing."""
    folder = tmp_path_factory.mktemp("crops")
    lines = ["path,label,video,dataset,source"]
    for number, crop in enumerate(face_crops):
        Image.fromarray(crop).save(folder / f"{number:02}.png")
        lines.append(f"{number:02}.png,{('real', 'fake')[number % 2]},v{number},photos,photos")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder / "index.csv"


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, random_run: Path, crops_index: Path) -> Path:
    """That run's FP32 graph and its proof of parity."""
    from export.onnx_export import export_run

    out = tmp_path_factory.mktemp("exports") / "random"
    export_run(random_run, out, ["fp32"], crops_index)
    return out


@pytest.fixture(scope="session")
def detector_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MTCNN as ``python -m export face-detector`` writes it; to be copied, for its graphs take ten seconds."""
    from export.face_detector import install_mtcnn

    out = tmp_path_factory.mktemp("detector")
    install_mtcnn(out)
    return out / "face_detector" / "1"


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory, exported: Path, detector_folder: Path) -> Path:
    """What Triton serves: MTCNN and that graph, CPU flavour."""
    from export.publishing import publish
    from server.repository import init_repository

    out = tmp_path_factory.mktemp("build") / "repository"
    init_repository(out)
    shutil.copytree(detector_folder, out / "face_detector" / "1", dirs_exist_ok=True)
    publish(exported, out)
    return out


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory, repository: Path):
    """A real tritonserver on that repository, on loopback and free ports."""
    from server.embedded import StartOptions, discard, start

    run_dir = tmp_path_factory.mktemp("run") / ".run"
    yield start(StartOptions(repository=repository, run_dir=run_dir))
    discard(run_dir)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, one for each module: while Playwright is open, asyncio.run fails in this thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET_BROWSER)
        yield chromium
        chromium.close()


@pytest.fixture
def not_root() -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
