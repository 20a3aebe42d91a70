"""Memory of one call in one piece: what kernels keep from step to step and for one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Form", "Layout", "Place"]

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
    """Where a value lies, its slots one after another: an address, numbers in a row, and the memory with the offset in
    it."""

    at: int
    width: int
    form: Form
    batch: int
    memory: Tensor
    offset: int

    def part(self, start: int, slots: int) -> Place:
        """Return some of the slots."""
        skip = start * self.batch * self.width * self.form.dtype.itemsize
        form = Form(slots, self.form.shape, self.form.dtype)
        return Place(self.at + skip, self.width, form, self.batch, self.memory, self.offset + skip)

    def tensor(self) -> Tensor:
        """Return the value, `(slots, B, *shape)`, a view of the memory."""
        flat = self.memory[self.offset : self.offset + self.form.size(self.batch)]
        return flat.view(self.form.dtype).view(self.form.slots, self.batch, *self.form.shape)


class Layout:
    """Values side by side. size: the bytes that all of them take."""

    def __init__(self, forms: Sequence[Form], batch: int) -> None:
        self._batch = batch
        self._values: list[tuple[int, int, Form]] = []
        self.size = 0
        for form in forms:
            self._values.append((self.size, math.prod(form.shape), form))
            self.size += -(-form.size(batch) // _LINE) * _LINE

    def allocate(self, zero: bool) -> Tensor:
        """Return memory for them, filled with zeros or not at all."""
        make = torch.zeros if zero else torch.empty
        return make(self.size, dtype=torch.uint8)

    def places(self, memory: Tensor) -> list[Place]:
        """Return where the values lie in memory that was allocated for them."""
        at, batch = memory.data_ptr(), self._batch
        return [Place(at + offset, width, form, batch, memory, offset) for offset, width, form in self._values]
