"""parity.json names the packages that took part, whichever distribution of ONNX Runtime is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from export import onnx_export


@pytest.mark.parametrize("installed", ["onnxruntime", "onnxruntime-gpu"])
def test_onnx_runtime_is_named_as_it_is_installed(monkeypatch: pytest.MonkeyPatch, installed: str) -> None:
    def version(package: str) -> str:
        if package.startswith("onnxruntime") and package != installed:
            raise PackageNotFoundError(package)
        return "1.2"

    monkeypatch.setattr(onnx_export, "version", version)
    found = onnx_export._versions()
    assert found.keys() == {*onnx_export.PACKAGES, installed, "python"}
    assert found[installed] == "1.2"
