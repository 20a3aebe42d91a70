"""The 64-bit words that native code is called with, prepared once for all calls of a kind: only addresses are new."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Address", "Words"]


class Address(NamedTuple):
    """An address that a call will know: so many bytes after the one with the number `base`."""

    base: int
    offset: int = 0

    def after(self, size: int) -> Address:
        """Return the address `size` bytes on."""
        return Address(self.base, self.offset + size)


class Words:
    """Words of which some are addresses."""

    def __init__(self, words: Iterable[int | Address]) -> None:
        given = list(words)
        self.fixed = array("q", [0 if isinstance(w, Address) else w for w in given])
        """The words with zeros in place of addresses."""
        self._addresses = [(k, w.base, w.offset) for k, w in enumerate(given) if isinstance(w, Address)]
        self.moves = array("q", [n for move in self._addresses for n in move])
        """Three numbers for every address: its word, the number of its base, and bytes after that."""

    def __call__(self, bases: Sequence[int]) -> array[int]:
        """Return the words of one call."""
        words = self.fixed[:]
        for k, base, offset in self._addresses:
            words[k] = bases[base] + offset
        return words
