"""What a picture's memory costs is paid once, not for every picture."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

# Three blocks of 24 MB: together more than glibc by itself keeps of what is given back.
FAULTS = """
import resource, sys
import numpy as np
from lnclip.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for turn in range(6):
    if turn == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pictures = [np.ones(24 << 20, np.uint8) for _ in range(3)]
    del pictures
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_freed_memory_is_used_again() -> None:
    faults = {}
    for what in ("give back", "keep"):
        command = [sys.executable, "-c", FAULTS, what]
        faults[what] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert faults["keep"] * 10 < faults["give back"]
