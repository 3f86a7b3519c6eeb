"""The container that serves on GPUs: what it is, and which TensorRT its plans must be built with."""

TRITON_IMAGE = "nvcr.io/nvidia/tritonserver:26.07-py3"
"""Triton 2.71.0."""

TENSORRT_PACKAGE = "tensorrt-cu13"

TENSORRT = "11.1.0.106"
"""In that image; a plan of any other version does not load there. ``pyproject.toml`` pins the extra
``tensorrt`` to the same. Source: triton-inference-server/server issue 8969."""
