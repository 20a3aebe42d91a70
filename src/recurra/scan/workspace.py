"""Memory of one call in one piece: what kernels keep from step to step and for one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Form", "Place", "allocate", "memory_size", "places"]

_LINE = 64
"""Bytes of a line of the cache: every value begins on one."""


class Form(NamedTuple):
    """What a value needs: so many slots of time, each `(B, *shape)` numbers."""

    slots: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    def size(self, batch: int) -> int:
        """Return the bytes it takes."""
        return self.slots * batch * math.prod(self.shape) * self.dtype.itemsize


class Place(NamedTuple):
    """Where a value lies, its slots one after another: an address, and the memory with the offset in it."""

    at: int
    form: Form
    batch: int
    memory: Tensor
    offset: int

    @property
    def width(self) -> int:
        """Numbers of one row."""
        return math.prod(self.form.shape)

    def part(self, start: int, slots: int) -> Place:
        """Return some of the slots."""
        skip = start * self.batch * self.width * self.form.dtype.itemsize
        form = self.form._replace(slots=slots)
        return Place(self.at + skip, form, self.batch, self.memory, self.offset + skip)

    def tensor(self) -> Tensor:
        """Return the value, `(slots, B, *shape)`, a view of the memory."""
        flat = self.memory[self.offset : self.offset + self.form.size(self.batch)]
        return flat.view(self.form.dtype).view(self.form.slots, self.batch, *self.form.shape)


def allocate(forms: Sequence[Form], batch: int, zero: bool) -> Tensor:
    """Return memory for values, filled with zeros or not at all."""
    make = torch.zeros if zero else torch.empty
    return make(memory_size(forms, batch), dtype=torch.uint8)


def memory_size(forms: Sequence[Form], batch: int) -> int:
    """Return the bytes that `allocate` takes."""
    return sum(_lines(f, batch) for f in forms)


def places(forms: Sequence[Form], batch: int, memory: Tensor) -> list[Place]:
    """Return where the values lie in memory that was allocated for them."""
    found: list[Place] = []
    at = memory.data_ptr()
    offset = 0
    for form in forms:
        found.append(Place(at + offset, form, batch, memory, offset))
        offset += _lines(form, batch)
    return found


def _lines(form: Form, batch: int) -> int:
    return -(-form.size(batch) // _LINE) * _LINE
