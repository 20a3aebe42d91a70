"""What calls of one kernel have in common that differ in nothing but addresses: found out once, kept for the next."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from recurra.compiler.calls import addresses
from recurra.compiler.kernel import ROWS, Kernel
from recurra.compiler.varying import actual
from recurra.compiler.words import Address
from recurra.scan.dealing import at_most, deal
from recurra.scan.workspace import Place

__all__ = ["Frame", "Ports", "Sizes", "inner_contiguous"]


class Sizes(NamedTuple):
    """What calls must share to be called alike.

    ragged: whether rows have lengths of their own; size: the context's length where that varies; threads: PyTorch's;
    strides: in time and from row to row, of what is given for every step.
    """

    steps: int
    batch: int
    descend: bool
    ragged: bool
    size: int
    threads: int
    strides: tuple[tuple[int, ...], ...]


class Ports:
    """The ports of a call, in the order in which they are added."""

    def __init__(self) -> None:
        self.words: list[int | Address] = []
        self.ends: list[int | Address] = []

    def row(self, base: int, width: int) -> None:
        """Add what every row has one of, so many numbers, at the address with the number `base`."""
        self.words += (Address(base), 0, width, 0)

    def step(self, base: int, time: int, row: int) -> None:
        """Add what every row has one of at each step, with its strides."""
        self.words += (Address(base), time, row, -1)

    def place(self, place: Place, mask: int = -1) -> None:
        """Add the same, wherever it lies. mask: -1 if every step has its slot, 1 if two are used in turn."""
        self.words += (place.at, place.batch * place.width, place.width, mask)

    def carried(self, place: Place, mask: int, start: int | None, end: int | None) -> None:
        """Add what is carried in slots of time. start, end: the numbers of the addresses where it begins and where its
        end goes; None for zeros, and for nowhere, which an address of 0 means too."""
        self.place(place, mask)
        self.ends += (0 if start is None else Address(start), 0 if end is None else Address(end))


class Frame:
    """A kernel's call but for its addresses. memory: the bytes that the kernel needs for itself."""

    def __init__(self, kernel: Kernel, ports: Ports, constants: int, own: Address, sizes: Sizes, descend: bool) -> None:
        """constants: how many tensors, the first ones, weights are packed from; own: where the kernel's memory lies;
        descend: whether the kernel's time runs backwards."""
        steps, batch, size = sizes.steps, sizes.batch, sizes.size
        self.memory = kernel.memory(steps, batch, size)
        self._sizes = sizes
        self._flops = actual(kernel.flops, size) if size else kernel.flops
        with at_most(sizes.threads):
            self._rows = deal(steps, batch, None, self._flops)  # which the words point to
        places = [Address(k) for k in range(constants)]
        self._call = kernel.call(places, ports.words, ports.ends, own, steps, batch, self._rows, descend, size)

    def words(self, tensors: Sequence[Tensor | None]) -> array[int]:
        """Return the words of a call."""
        return self._call.words(addresses(tensors))

    def run(self, tensors: Sequence[Tensor | None], lengths: tuple[int, ...] | None) -> None:
        """Run the kernel. tensors: those with addresses, by their numbers; lengths: the steps of each row, if they
        differ."""
        if lengths is None:
            self._call(tensors)
            return
        words = self.words(tensors)
        words[ROWS] = deal(self._sizes.steps, self._sizes.batch, lengths, self._flops).words
        self._call.run(words)


def inner_contiguous(t: Tensor) -> Tensor:
    """Return `(T, B, ...)` with each row's numbers in order; time and rows may have any strides."""
    if t.is_contiguous():
        return t
    size = 1
    for n, stride in zip(reversed(t.shape[2:]), reversed(t.stride()[2:]), strict=True):
        if n != 1 and stride != size:
            return t.contiguous()
        size *= n
    return t
