"""Both directions of a layer at once, on two of Python's threads, for so few rows that one alone leaves processors
idle: in training, and in calls that are not prepared (`scan/wave.py` does the same natively)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from recurra.core import Cell
from recurra.scan import at_most, bound, mode

__all__ = ["both", "worth_two_threads"]

_WEIGHTS = 800_000
"""Weights of one direction from which on a second thread wins: they no longer lie in a processor's own cache, and the
step waits for them. With fewer, waking a thread costs what it brings (`benchmarks/two_threads.py`)."""

_NAME = "recurra-direction"
_Made = TypeVar("_Made")


def worth_two_threads(cells: Sequence[Cell], x: Tensor) -> bool:
    """Tell whether two cells over the same input are to run side by side.

    There are at least twice as many threads as rows, and the weights are many. Both have run by their kernels before,
    so they draw no random numbers, whose order would be left to chance. And nothing that each thread has for itself is
    at work but autograd's switches. torch.compile traces one thread only.
    """
    if torch.compiler.is_compiling():
        return False
    if len(cells) != 2 or threading.current_thread().name.startswith(_NAME):
        return False
    if torch.get_num_threads() < 2 * max(x.shape[1], 1) or any(bound(cell) is None for cell in cells):
        return False
    weights = min(sum(p.numel() for p in cell.parameters()) for cell in cells)
    return weights >= _WEIGHTS and mode() is None


def both(here: Callable[[], _Made], there: Callable[[], _Made]) -> tuple[_Made, _Made]:
    """Run two functions at once, the second on a thread of its own, and return what they return.

    An exception of the first is raised once the second has ended.
    """
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    half = torch.get_num_threads() // 2

    def work() -> _Made:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad), at_most(half):
            return there()

    waiting = _worker().submit(work)
    try:
        with at_most(half):
            first = here()
    finally:
        waiting.exception()
    return first, waiting.result()


@cache
def _worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, _NAME)


os.register_at_fork(after_in_child=_worker.cache_clear)  # a thread does not live on in a forked process
