"""The fetcher against a small web server, and what it refuses to read."""

from __future__ import annotations

import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from export import retinaface_weights
from export.retinaface_weights import fetch, load_weights
from lnclip.errors import ArtifactError, ConfigError, SetupError
from lnclip.identity import file_sha256


class Site:
    """Files by path, served on loopback."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut_bytes = 0
        """How much of a file is left unsent."""
        self.requests: list[str] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests.append(self.path)
                content = site.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) - site.cut_bytes])

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def offer(self, content: bytes) -> str:
        """Serve an archive; its address."""
        self.files["/retinaface.zip"] = content
        return f"http://127.0.0.1:{self.server.server_port}/retinaface.zip"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


def archive(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for name, content in members.items():
            target.writestr(name, content)
    return file.getvalue()


def pickled(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.fixture(scope="module")
def good(random_weights: Path) -> bytes:
    """An archive like the published one."""
    return archive(**{"retinaface_resnet50.pth": random_weights.read_bytes()})


SMALL = {"a.pth": pickled({"w": torch.zeros(1)})}
"""Enough where the network's tensors are not what is tested."""


def test_keeps_a_download_as_tensors_alone(
    site: Site, good: bytes, tmp_path: Path, random_tensors: dict[str, torch.Tensor]
) -> None:
    kept = fetch(tmp_path / "weights", site.offer(good))
    assert kept == tmp_path / "weights" / "retinaface.safetensors"
    loaded = load_file(kept)
    assert loaded.keys() == random_tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in random_tensors.items())
    assert {path.name for path in kept.parent.iterdir()} == {kept.name, "retinaface.zip.sha256"}


def test_downloads_once_and_holds_upstream_to_what_it_saw(site: Site, good: bytes, tmp_path: Path) -> None:
    kept = fetch(tmp_path, site.offer(good))
    assert fetch(tmp_path, site.offer(good)) == kept
    assert len(site.requests) == 1
    kept.unlink()
    with pytest.raises(ArtifactError, match=r"retinaface\.zip has SHA-256 [0-9a-f]{64}, must be"):
        fetch(tmp_path, site.offer(archive(**SMALL)))
    with kept.open("wb") as file:
        file.write(b"spoilt")
    assert load_file(fetch(tmp_path, site.offer(good)))


def test_refuses_another_checksum_than_the_one_given(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="must be 00000"):
        fetch(tmp_path, site.offer(archive(**SMALL)), sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(archive(**SMALL, **{"setup.py": b""}), r"one \.pth and nothing else.*setup\.py", id="extra"),
        pytest.param(archive(**{"../a.pth": SMALL["a.pth"]}), r"one \.pth and nothing else", id="traversal"),
        pytest.param(archive(**{"folder/a.pth": SMALL["a.pth"]}), r"one \.pth and nothing else", id="folder"),
        pytest.param(archive(**{"a.exe": b""}), r"one \.pth and nothing else", id="another kind"),
        pytest.param(archive(), r"one \.pth and nothing else", id="empty"),
        pytest.param(b"<html>Sign in</html>", "is damaged: File is not a zip", id="no archive"),
        pytest.param(archive(**{"a.pth": b"text"}), "is no file of weights", id="no pickle"),
        pytest.param(archive(**{"a.pth": pickled({"w": Path("x")})}), "is no file of weights", id="code"),
        pytest.param(archive(**{"a.pth": pickled([1])}), "more than named tensors", id="a list"),
        pytest.param(archive(**SMALL), r"does not fit: .* is missing.*\(457 in all\)", id="another network"),
    ],
)
def test_refuses_what_is_not_the_published_archive(content: bytes, complaint: str, site: Site, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=complaint) as caught:
        fetch(tmp_path, site.offer(content))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_ends_early_is_refused(site: Site, tmp_path: Path) -> None:
    site.cut_bytes = 10
    with pytest.raises(SetupError, match=r"it ended after \d+ of \d+ bytes"):
        fetch(tmp_path, site.offer(archive(**SMALL)))
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_does_not_end_is_refused(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retinaface_weights, "MAX_DOWNLOAD_BYTES", 100)
    with pytest.raises(SetupError, match="cannot be downloaded: more than"):
        fetch(tmp_path, site.offer(archive(**SMALL)))


def test_an_archive_that_unpacks_too_large_is_refused(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retinaface_weights, "MAX_MEMBER_BYTES", 100)
    with pytest.raises(ArtifactError, match="unpacks to more than"):
        fetch(tmp_path, site.offer(archive(**SMALL)))


def test_says_what_to_do_without_a_network(site: Site, tmp_path: Path) -> None:
    url = site.offer(b"").replace("retinaface.zip", "gone.zip")
    with pytest.raises(SetupError) as caught:
        fetch(tmp_path, url)
    assert str(caught.value) == (
        f"{url} cannot be downloaded: HTTP Error 404: Not Found. Download it elsewhere and give --weights FILE"
    )
    site.server.shutdown()
    site.server.server_close()
    with pytest.raises(SetupError, match=r"gone\.zip cannot be downloaded: .*Connection refused.*--weights FILE"):
        fetch(tmp_path, url)


def test_reads_every_kind_of_file(random_weights: Path, good: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(good)
    save_file(torch.load(random_weights, weights_only=True), tmp_path / "a.safetensors")
    for path in (random_weights, tmp_path / "a.zip", tmp_path / "a.safetensors"):
        weights = load_weights(path)
        assert len(weights.tensors) == 456
        assert (weights.name, weights.sha256) == (path.name, file_sha256(path))


def test_refuses_a_file_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    with pytest.raises(ConfigError, match=r"a\.onnx: weights are a \.pth, \.zip or \.safetensors"):
        load_weights(tmp_path / "a.onnx")
    with pytest.raises(ArtifactError, match=r"b\.pth cannot be read: No such file"):
        load_weights(tmp_path / "b.pth")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"body.conv1.weight": None}, r"body\.conv1\.weight is missing \(1 in all\)"),
        ({"fc.weight": torch.zeros(2)}, r"fc\.weight is unexpected \(1 in all\)"),
        (
            {"ClassHead.0.conv1x1.bias": torch.zeros(6)},
            r"ClassHead\.0\.conv1x1\.bias is \(6,\), must be \(4,\) \(1 in all\)",
        ),
    ],
)
def test_names_the_tensor_that_does_not_fit(
    change: dict[str, torch.Tensor | None], complaint: str, random_tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    tensors = {name: tensor for name, tensor in {**random_tensors, **change}.items() if tensor is not None}
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(ArtifactError, match=complaint):
        load_weights(tmp_path / "a.safetensors")
