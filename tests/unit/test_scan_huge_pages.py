"""Large memory is asked for on large pages, and nothing else is."""

from __future__ import annotations

import mmap
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from recurra.scan.huge_pages import on_huge_pages

MAPS = Path("/proc/self/smaps")

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or "VmFlags" not in (MAPS.read_text() if MAPS.exists() else ""),
    reason="the system does not tell what was advised about memory",
)


def advised(t: Tensor) -> bool:
    """Tell whether the mapping in which the middle of a tensor lies carries the advice."""
    middle, inside = t.data_ptr() + t.nbytes // 2, False
    for line in MAPS.read_text().splitlines():
        span = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if span:
            inside = int(span[1], 16) <= middle < int(span[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return "hg" in line.split()
    return False


def test_large_memory_is_advised_and_small_memory_is_not() -> None:
    # Fresh from the system: what torch.empty gives may lie where advised memory has lain.
    fresh = mmap.mmap(-1, 40 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    large, small = torch.frombuffer(fresh, dtype=torch.uint8), torch.empty(1 << 20, dtype=torch.uint8)
    before = advised(small)  # small memory may lie where large memory has lain
    assert not advised(large)
    assert on_huge_pages(large) is large
    assert on_huge_pages(small) is small
    assert advised(large)
    assert advised(small) is before
    large.fill_(7)
    assert bool((large == 7).all())
