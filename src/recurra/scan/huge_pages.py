"""Large pages for large memory: a new call's memory is touched for the first time, and each page costs a fault."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable
from functools import cache

from torch import Tensor

__all__ = ["LARGE", "on_huge_pages"]

LARGE = 16 << 20
"""Bytes from which on memory is asked for anew at every call (glibc keeps blocks of up to 32 MiB for the next one)."""


def on_huge_pages(t: Tensor) -> Tensor:
    """Return a new tensor, for whose memory the system has been asked to use pages of 2 MiB if it is large.

    Linux only, and a hint: where it is refused, as where the system is set to never use such pages, nothing changes.
    Calls that follow one another, as in training, gain. On a virtual machine that hands free memory back to its host,
    a call after some rest waits for large pages longer than for small ones.
    """
    size = t.nbytes
    if size >= LARGE:
        advise = _madvise()
        if advise is not None:
            page = mmap.PAGESIZE
            start = -(-t.data_ptr() // page) * page
            end = (t.data_ptr() + size) // page * page
            advise(start, end - start, mmap.MADV_HUGEPAGE)
    return t


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    if sys.platform != "linux" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    found = ctypes.CDLL(None).madvise
    found.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return found
