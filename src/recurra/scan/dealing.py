"""Which thread runs which rows of a batch, and how far each row goes."""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from recurra.compiler.kernel import Rows

__all__ = ["deal"]

_WORK_A_THREAD = 400_000
"""Floating point operations a step and thread, times steps, below which another thread costs more than it brings."""

_POINTWISE = 2000
"""Operations that a row's step is counted for, beside its matrix products."""


def deal(steps: int, batch: int, lengths: tuple[int, ...] | None, flops: int) -> Rows:
    """Deal the rows of a batch out to torch's number of threads, or to fewer where there is little to do.

    lengths: each row's steps, None where all have `steps`; flops: of one row's step.
    """
    most = min(torch.get_num_threads(), batch)
    threads = 1
    if most > 1:
        work = (flops + _POINTWISE) * batch * steps
        threads = max(1, min(most, math.ceil(work / _WORK_A_THREAD)))
    return _even(batch, threads) if lengths is None else _uneven(lengths, steps, threads)


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
