"""hf: sources, by the real client of Hugging Face against a server here that answers as theirs does."""

import logging
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lnclip.artifact import Artifact
from lnclip.errors import ArtifactError, ConfigError, SetupError
from lnclip.identity import file_sha256
from tests.conftest import ROOT
from tests.training.published import checkpoints
from training.published import downloading
from training.published.importing import import_run

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SOURCE = f"hf:somebody/tiny@{COMMIT}"


class Hub(ThreadingHTTPServer):
    """Serves one repository's files at /somebody/tiny/resolve/COMMIT/; the fault it is told to show."""

    def __init__(self, folder) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.folder = folder
        self.fault = None
        self.num_cuts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def refuse(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        _, owner, name, _, commit, file = self.path.split("/")
        path = self.server.folder / file
        if (owner, name) != ("somebody", "tiny"):
            return self.refuse(401, "RepoNotFound")
        if self.server.fault == "gated":
            return self.refuse(403, "GatedRepo")
        if commit != COMMIT:
            return self.refuse(404, "RevisionNotFound")
        if not path.is_file():
            return self.refuse(404, "EntryNotFound")
        content = path.read_bytes()
        is_cut = self.server.fault == "cut" and file == "model.safetensors" and self.command == "GET"
        if is_cut and self.server.num_cuts:
            return self.refuse(503, "")
        self.send_response(200)
        self.send_header("ETag", f'"{file_sha256(path)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[: len(content) // 2] if is_cut else content)
            self.server.num_cuts += is_cut
            self.close_connection = True
        return None


@pytest.fixture
def hub(tmp_path, monkeypatch):
    network, head = checkpoints.clip()[1], checkpoints.face_head()
    tensors = checkpoints.gend_tensors(network.tensors, head)
    folder = checkpoints.write_folder(tmp_path / "published", tensors, checkpoints.gend_config("openai/clip-tiny"))
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    point_at(monkeypatch, server.url, tmp_path / "cache")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def point_at(monkeypatch, url, cache):
    """What HF_ENDPOINT and HF_HOME do in a new process."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between retries


def test_a_repository_is_imported_and_its_files_recorded(hub, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        artifact = import_run(SOURCE, tmp_path / "run")
    assert artifact.provenance.inputs == {
        f"{SOURCE}/{name}": file_sha256(hub.folder / name) for name in ("model.safetensors", "config.json")
    }
    assert artifact.identity.head == "normalised"
    assert "nothing to compare it with" in caplog.text


@pytest.mark.slow
def test_the_command_does_it_too(hub, tmp_path):
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "training", "import", SOURCE, "--out", str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "run")), done.stderr
    assert Artifact.load(tmp_path / "run" / "model.json").provenance.name == "run"


def test_a_known_checksum_is_verified(hub, tmp_path, monkeypatch, caplog):
    digest = file_sha256(hub.folder / "model.safetensors")
    monkeypatch.setitem(downloading.PINNED, "somebody/tiny", (COMMIT, digest))
    monkeypatch.setitem(downloading.VERIFIED, digest, SOURCE)
    with caplog.at_level(logging.INFO):
        import_run(SOURCE, tmp_path / "run")
    assert f"model.safetensors is {SOURCE}" in caplog.text


def test_another_checksum_leaves_no_run(hub, tmp_path, monkeypatch):
    monkeypatch.setitem(downloading.PINNED, "somebody/tiny", (COMMIT, "ab" * 32))
    with pytest.raises(ArtifactError, match=r"has SHA-256 [0-9a-f]{64}, must be (ab){32}: not used"):
        import_run(SOURCE, tmp_path / "runs" / "tiny")
    assert not (tmp_path / "runs").exists()


def test_a_download_that_is_cut_off_leaves_no_run(hub, tmp_path):
    hub.fault = "cut"
    with pytest.raises(SetupError, match=r"cannot be downloaded: .*python -m training import FOLDER"):
        import_run(SOURCE, tmp_path / "runs" / "tiny")
    assert hub.num_cuts == 1
    assert not (tmp_path / "runs").exists()


def test_without_a_network_it_says_what_to_fetch_by_hand(tmp_path, monkeypatch):
    point_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "cache")
    with pytest.raises(SetupError, match=rf"huggingface.co/somebody/tiny/tree/{COMMIT} .*import FOLDER --out"):
        import_run(SOURCE, tmp_path / "run")


def test_a_gated_repository_says_how_to_get_in(hub, tmp_path):
    hub.fault = "gated"
    with pytest.raises(SetupError, match=r"somebody/tiny is gated: accept its licence .* HF_TOKEN"):
        import_run(SOURCE, tmp_path / "run")


def test_a_repository_that_is_not_there_is_named(hub, tmp_path):
    with pytest.raises(ConfigError, match="there is no nobody/tiny"):
        import_run(f"hf:nobody/tiny@{COMMIT}", tmp_path / "run")


def test_a_commit_that_is_not_there_is_named(hub, tmp_path):
    with pytest.raises(ConfigError, match="has no commit ffff"):
        import_run(f"hf:somebody/tiny@{'f' * 40}", tmp_path / "run")


def test_a_repository_without_weights_is_named(hub, tmp_path):
    (hub.folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"has none of model.safetensors"):
        import_run(SOURCE, tmp_path / "run")


@pytest.mark.parametrize("revision", ["", "@main", "@891ce01"])
def test_a_source_without_a_whole_commit_is_told_the_known_one(revision, tmp_path):
    with pytest.raises(
        ConfigError, match="for example hf:yermandy/GenD_CLIP_L_14@891ce014a0308386c4d7d25b3dcf436a22db5504"
    ):
        import_run(f"hf:yermandy/GenD_CLIP_L_14{revision}", tmp_path / "run")


def test_a_source_without_a_commit_is_told_where_they_are(tmp_path):
    with pytest.raises(ConfigError, match=r"huggingface.co/yermandy/GenD_PE_L/commits/main"):
        import_run("hf:yermandy/GenD_PE_L", tmp_path / "run")
