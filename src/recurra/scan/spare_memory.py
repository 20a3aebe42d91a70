"""Working memory of calls. What a call gives back is kept for the next one of its size: memory from the system is
touched for the first time page by page, and each page costs a fault, on a virtual machine perhaps its host's too."""

from __future__ import annotations

import ctypes
import mmap
import threading
import weakref

import torch
from torch import Tensor

__all__ = ["SpareMemory", "working_memory"]

_LEAST = 16 << 20
"""Bytes from which on the C library would ask the system anew at every call (glibc keeps blocks of up to 32 MiB)."""

_PAGE = 2 << 20
"""Bytes of a large page."""

_MOST = 8


class SpareMemory:
    """Blocks that nobody uses, at most `most` of them, the longest unused given up first.

    A block comes back when the last tensor that lies in it is gone, views included. The system is told that it may take
    a spare block's pages if it runs out of memory, and that large pages are welcome.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._blocks: list[mmap.mmap] = []
        # A block may come back while the same thread looks for one: wherever Python frees memory.
        self._lock = threading.RLock()

    def take(self, size: int) -> Tensor:
        """Return so many bytes, of any content: a tensor that cannot be resized."""
        whole = -(-size // _PAGE) * _PAGE
        with self._lock:
            fitting = [b for b in self._blocks if whole <= len(b) <= 2 * whole]
            block = min(fitting, key=len, default=None)
            if block is not None:
                self._blocks = [b for b in self._blocks if b is not block]
        if block is None:
            block = mmap.mmap(-1, whole, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                block.madvise(mmap.MADV_HUGEPAGE)
        lent = (ctypes.c_char * len(block)).from_buffer(block)
        weakref.finalize(lent, self._back, block).atexit = False
        return torch.frombuffer(lent, dtype=torch.uint8, count=size)

    def _back(self, block: mmap.mmap) -> None:
        block.madvise(mmap.MADV_FREE)
        with self._lock:
            self._blocks.append(block)
            del self._blocks[: -self._most]


_spare = SpareMemory() if hasattr(mmap, "MADV_FREE") else None


def working_memory(size: int, *, zeros: bool = False) -> Tensor:
    """Return so many bytes for a call to work in. zeros: filled with them; else of any content."""
    if size < _LEAST or _spare is None:
        return torch.zeros(size, dtype=torch.uint8) if zeros else torch.empty(size, dtype=torch.uint8)
    memory = _spare.take(size)
    if zeros:
        return memory.zero_()
    # As torch.empty does then: NaN, read as numbers.
    return memory.fill_(255) if torch.are_deterministic_algorithms_enabled() else memory
