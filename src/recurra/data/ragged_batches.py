"""Batches of whole sequences of different lengths: shuffled anew in every epoch, the longer beside the longer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

__all__ = ["batch_order", "padded"]

_POOL = 20
"""Batches whose sequences are sorted by length together: enough to save padding, few enough to stay shuffled."""


def batch_order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int, start: int = 0) -> Iterator[list[int]]:
    """Yield the numbers of the sequences of each batch of an epoch, from batch `start` on: a pure function."""
    draw = random.Random(f"{seed} {epoch}")
    order = list(range(len(lengths)))
    draw.shuffle(order)
    batches: list[list[int]] = []
    for first in range(0, len(order), batch_size * _POOL):
        pool = sorted(order[first : first + batch_size * _POOL], key=lambda i: lengths[i])
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    draw.shuffle(batches)
    yield from batches[start:]


def padded(sequences: Sequence[Sequence[int] | Tensor]) -> tuple[Tensor, Tensor]:
    """Return sequences of numbers as `(B, T)` int64, zero behind each one's end, and their lengths `(B,)`.

    Sequences of several numbers a step, `(T, columns)`, become `(B, T, columns)`.
    """
    lengths = torch.tensor([len(s) for s in sequences], dtype=torch.int64)
    if not sequences:
        return lengths.new_zeros(0, 0), lengths
    return pad_sequence([torch.as_tensor(s, dtype=torch.int64) for s in sequences], batch_first=True), lengths
