"""Peak memory of one training step, from the kernel's own account of this process (Linux)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from kernel_contestants.in_torch import in_recurra, torch_nn, workload

__all__ = ["memory"]


def memory(*, cell: str, shape: Sequence[int], contestant: str) -> Iterator[dict[str, Any]]:
    """Yield the bytes that three training steps in a row need at their highest beyond what was there before.

    Run in a process of its own, with MALLOC_MMAP_THRESHOLD_ set so that freed tensors go back to the system. A step in
    a small shape (but one that is worth compiling) comes first: what is compiled and loaded then is not counted, a
    workspace of the real shape is.
    """
    make = {"recurra": in_recurra, "torch.nn": torch_nn}[contestant]
    tiny = make(workload(cell, (2, 16, *shape[2:]), 1)).train  # type: ignore[arg-type]
    real = make(workload(cell, tuple(shape), 1)).train  # type: ignore[arg-type]
    assert tiny is not None
    assert real is not None
    torch.ones(2, requires_grad=True).tanh().sum().backward()
    tiny()
    tiny()
    Path("/proc/self/clear_refs").write_text("5")
    before = _kilobytes("VmRSS")
    for _ in range(3):
        real()
    yield {"bytes": 1024 * (_kilobytes("VmHWM") - before)}


def _kilobytes(entry: str) -> int:
    found = re.search(rf"^{entry}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])
