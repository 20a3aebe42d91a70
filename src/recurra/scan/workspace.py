"""Memory of one call in one piece: what kernels keep from step to step and for one another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recurra.compiler.words import Address
from recurra.scan.huge_pages import LARGE, on_huge_pages

__all__ = ["Form", "Fresh", "Layout", "Place"]

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

    def kind(self, batch: int) -> tuple[tuple[int, ...], torch.dtype]:
        """Return the shape and type of a tensor of its own that holds the value."""
        return (self.slots, batch, *self.shape), self.dtype


class Place(NamedTuple):
    """Where a value lies, its slots one after another, and the numbers in a row."""

    at: Address
    width: int
    form: Form
    batch: int

    def part(self, start: int, slots: int) -> Place:
        """Return some of the slots."""
        skip = start * self.batch * self.width * self.form.dtype.itemsize
        return Place(self.at.after(skip), self.width, Form(slots, self.form.shape, self.form.dtype), self.batch)

    def tensor(self, memory: Tensor) -> Tensor:
        """Return the value, `(slots, B, *shape)`, a view of the memory that it lies in."""
        flat = memory[self.at.offset : self.at.offset + self.form.size(self.batch)]
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

    def places(self, base: int) -> list[Place]:
        """Return where the values lie in memory whose address has the number `base`."""
        return [Place(Address(base, offset), width, form, self._batch) for offset, width, form in self._values]


class Fresh:
    """New tensors of the same kinds at every call. zeros: whether they begin with zeros, not with anything."""

    def __init__(self, kinds: Iterable[tuple[Sequence[int], torch.dtype]], zeros: bool = False) -> None:
        self._kinds = [(tuple(shape), _strides(shape), dtype) for shape, dtype in kinds]
        self._plain = not zeros and all(math.prod(s) * d.itemsize < LARGE for s, _, d in self._kinds)
        self._zeros = zeros

    def __call__(self) -> list[Tensor]:
        """Return them."""
        if self._plain:  # by the fastest of the ways to get new memory of any type
            return [torch.empty_strided(shape, strides, dtype=dtype) for shape, strides, dtype in self._kinds]
        make = torch.zeros if self._zeros else torch.empty
        return [on_huge_pages(make(shape, dtype=dtype)) for shape, _, dtype in self._kinds]


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.prod(max(1, n) for n in shape[d + 1 :]) for d in range(len(shape)))
