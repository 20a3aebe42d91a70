"""What a task offers whose model can be looked at step by step, as `recurra diagnose` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from recurra.core import Batch
from recurra.core.errors import ArgumentError

__all__ = ["LOOKED_THROUGH", "NOT_THERE", "Observable", "full_rows"]

LOOKED_THROUGH = 2000
"""Sequences among which rows are looked for."""

NOT_THERE = -100
"""The target of a step that is not looked at."""


@runtime_checkable
class Observable(Protocol):
    """A model that can show its network some of its data."""

    def observed(self, paths: Sequence[Path], rows: int, steps: int) -> tuple[nn.Module, Batch]:
        """Return what of the network runs step by step, and rows of data that are all full, targets included."""
        ...


def full_rows(batch: Batch, rows: int, steps: int) -> Batch:
    """Return the first rows of a batch that are `steps` long, cut there; the longest ones where there are too few.

    Targets `(B,)`, one a row, stand at its last step, and are `NOT_THERE` before.
    """
    if rows < 1 or steps < 2:
        raise ArgumentError(f"expected at least 1 row and 2 steps to look at, got {rows} and {steps}")
    lengths = batch.lengths if batch.lengths is not None else torch.full(batch.inputs.shape[:1], batch.inputs.shape[1])
    chosen = lengths.clamp(max=steps).argsort(descending=True, stable=True)[:rows]
    shortest = int(lengths[chosen].clamp(max=steps).min()) if len(chosen) else 0
    if shortest < 2:
        raise ArgumentError(f"expected {rows} rows of at least 2 steps to look at, the longest are of {shortest}")
    targets = batch.targets
    if targets is not None and targets.dim() == 1:
        told = torch.full((len(chosen), shortest), NOT_THERE)
        told[:, -1] = targets[chosen]
        return Batch(batch.inputs[chosen, :shortest], told)
    return Batch(batch.inputs[chosen, :shortest], None if targets is None else targets[chosen, :shortest])
