"""docs/CLIENT.md: its examples run, and it explains every field of a row."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from client.rows import Row
from tests.conftest import ROOT, jpeg

DOCUMENT = (ROOT / "docs" / "CLIENT.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", DOCUMENT, re.DOTALL)


def block(kind: str, word: str) -> str:
    [found] = [text for language, text in BLOCKS if language == kind and word in text]
    return found


@pytest.fixture
def photo(tmp_path: Path, astronaut) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(astronaut))
    return path


@pytest.mark.slow
def test_a_plain_client_gets_the_answer(triton, photo: Path) -> None:
    program = block("python", "tritonclient")
    assert len(program.splitlines()) <= 15
    command = [sys.executable, "-c", program, triton.grpc_url, str(photo)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.match(r"(fake|real) \[[01]\.\d+\]\n\[ *\d+\. ", answer)


@pytest.mark.slow
def test_curl_gets_the_answer(triton, photo: Path) -> None:
    script = block("sh", "curl").replace("url=$1 photo=$2", f"url={triton.http_url} photo={photo}")
    answer = json.loads(subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout)
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert outputs["verdict"][0] in {"fake", "real"}
    assert len(outputs["face_box"]) == 4


def test_every_field_of_a_row_is_explained() -> None:
    names = {field.alias or name for name, field in Row.model_fields.items()}
    assert names <= set(re.findall(r"`(\w+)`", DOCUMENT))
