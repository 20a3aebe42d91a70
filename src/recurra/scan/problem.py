"""What a backend is given and what it must return: one cell, one direction, one call."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from recurra.core import Cell, Shared, State

__all__ = ["Problem", "Result"]


class Problem(NamedTuple):
    """One cell over one batch of sequences, all of it checked.

    x: `(T, B, *input_shape)`; state: tensors `(B, ...)`; per_call: tensors with B rows, or `Shared`;
    per_step: `(T, B, ...)`; lengths: the valid steps of each row as Python integers, None where all are T;
    reverse: run each row's valid part from its end to its start; keep_states: return the state after every step.
    """

    cell: Cell
    x: Tensor
    state: State
    per_call: tuple[Tensor | Shared, ...]
    per_step: tuple[Tensor, ...]
    lengths: tuple[int, ...] | None
    reverse: bool
    keep_states: bool


class Result(NamedTuple):
    """y `(T, B, *output_shape)` aligned to the input's time, zero in the padding; the state after each row's last
    valid step; and, if they were asked for, all states `(T, B, ...)`, aligned and zero like y."""

    y: Tensor
    state: State
    states: State | None
