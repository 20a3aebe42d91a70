"""Which thread runs which rows of a batch, and how far each row goes."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Generator
from functools import lru_cache

import torch

from recurra.compiler.kernel import Rows

__all__ = ["at_most", "deal", "sharing", "threads"]

_WORK_A_THREAD = 400_000
"""Floating point operations a step and thread, times steps, below which another thread costs more than it brings."""

_WORK_A_SHARE = 200_000
"""Floating point operations a step and thread below which threads that share rows lose, by meeting at every step, as
often as they win (`benchmarks/two_threads.py`)."""

_POINTWISE = 2000
"""Operations that a row's step is counted for, beside its matrix products."""


def deal(steps: int, batch: int, lengths: tuple[int, ...] | None, flops: int) -> Rows:
    """Deal the rows of a batch out to torch's number of threads, or to fewer where there is little to do.

    Where there are at least twice as many threads as rows, and steps are large, all threads share all rows.
    lengths: each row's steps, None where all have `steps`; flops: of one row's step.
    """
    most = threads()
    if lengths is None and steps > 1:
        shared = sharing(batch, flops, most)
        if shared > 1:
            return _shared(batch, shared)
    hands = 1
    if min(most, batch) > 1:
        work = (flops + _POINTWISE) * batch * steps
        hands = max(1, min(most, batch, math.ceil(work / _WORK_A_THREAD)))
    return _even(batch, hands) if lengths is None else _uneven(lengths, steps, hands)


def sharing(batch: int, flops: int, most: int) -> int:
    """Return how many of `most` threads share all rows; 1 where there are too many rows for that, or too little to do.

    flops: of one row's step."""
    return max(1, min(most, flops * batch // _WORK_A_SHARE)) if most >= 2 * batch > 0 else 1


def threads() -> int:
    """Return how many threads a call of the running thread may use: PyTorch's number, or what `at_most` says."""
    return getattr(_here, "most", None) or torch.get_num_threads()


@contextlib.contextmanager
def at_most(most: int) -> Generator[None]:
    """Limit the threads that calls of the running thread may use."""
    before = getattr(_here, "most", None)
    _here.most = most
    try:
        yield
    finally:
        _here.most = before


_here = threading.local()


@lru_cache(maxsize=256)
def _shared(batch: int, shared: int) -> Rows:
    return Rows(torch.tensor([0, batch]), torch.arange(batch), shared=shared)


@lru_cache(maxsize=256)
def _even(batch: int, threads: int) -> Rows:
    first = torch.tensor([batch * k // threads for k in range(threads + 1)])
    return Rows(first, torch.arange(batch))


@lru_cache(maxsize=64)
def _uneven(lengths: tuple[int, ...], steps: int, threads: int) -> Rows:
    """Deal rows out in order of length, so that every thread has as much to do."""
    order = sorted(range(len(lengths)), key=lambda b: -lengths[b])
    hands = [order[k::threads] for k in range(threads)]
    first = torch.tensor([0, *(sum(len(h) for h in hands[: k + 1]) for k in range(threads))])
    n = torch.tensor(lengths, dtype=torch.int64)
    counts = torch.stack([(n[h].unsqueeze(0) > torch.arange(steps).unsqueeze(1)).sum(1) for h in hands])
    return Rows(first, torch.tensor([b for h in hands for b in h], dtype=torch.int64), counts, n)
