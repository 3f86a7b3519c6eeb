"""glibc's allocator, told to keep the memory of one picture for the next.

A process that decodes pictures gives tens of megabytes back after each, and faults in thousands of fresh pages
for the next one: in a served decoder that took as long as decoding.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Source: glibc, malloc.h."""

LARGEST_KEPT_BYTES = 32 << 20
"""Blocks that are taken from the heap; larger ones, of frames above 11 megapixels, are returned at once."""

KEPT_BYTES = 256 << 20
"""Of free heap that a process holds on to, at most."""


def keep_freed_memory() -> None:
    """For this process, from now on; without effect where the C library is another."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        set_option(M_TRIM_THRESHOLD, KEPT_BYTES)
