"""Built loops, ready to be called: addresses and strides in."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.compiler.build import Built, build, target
from recurra.compiler.calls import Call, address_of
from recurra.compiler.emit_cpp import Emitted, emit, preamble
from recurra.compiler.emit_tiles import PORTS
from recurra.compiler.ir import Graph, Value
from recurra.compiler.plan import LoopPlan
from recurra.compiler.varying import actual
from recurra.compiler.words import Address, Words

__all__ = ["ROWS", "TELLS", "WAITS", "Kernel", "Rows", "compile_loops", "epoch", "forget_weights"]


def compile_loops(
    graph: Graph, loops: Sequence[tuple[str, LoopPlan, Sequence[Value]]], dtype: torch.dtype
) -> dict[str, Kernel]:
    """Emit and build several loops as one library; return them by name. Raises Unsupported."""
    real = "float" if dtype == torch.float32 else "double"
    emitted = {n: emit(graph, p, n, dtype.itemsize, target(), results) for n, p, results in loops}
    built = build(preamble(real, target()) + "".join(e.code for e in emitted.values()))
    return {name: Kernel(name, e, built, dtype) for name, e in emitted.items()}


_epoch = [0]


def forget_weights() -> None:
    """Have all weights packed anew: needed while streaming, after a write that PyTorch cannot see."""
    _epoch[0] += 1


_FEW_ROWS = 12
"""Products of the step's input are computed ahead, many steps at once, for fewer rows than this: more fill the tiles by
themselves, and then the sums need not go through memory."""


def epoch() -> int:
    """Return a number that changes when weights are to be packed anew."""
    return _epoch[0]


class Kernel:
    """One loop."""

    def __init__(self, name: str, emitted: Emitted, built: Built, dtype: torch.dtype) -> None:
        self.names = [p.name for p in emitted.ports]
        self.flops = emitted.flops
        self.early = emitted.early
        self.source = built.source
        self._emitted = emitted
        self._dtype = dtype
        self._run: Any = getattr(built.library, name)
        self._run.argtypes = [ctypes.c_void_p]
        self._run.restype = None
        self.wave: Any = built.library.wave
        """Runs several loops, each of which waits for the one before; `scan/wave.py` hands it the words."""
        self.wave.argtypes = [ctypes.c_void_p]
        self.wave.restype = None
        self._panels = [-(-size // 16) * 16 for size, _ in emitted.panels]

    def memory(self, steps: int, batch: int, size: int) -> int:
        """Return the bytes of memory that a call needs for itself. size: the context's length, where it varies."""
        return sum(self._parts(steps, batch, size))

    def call(
        self,
        constants: Sequence[Address],
        ports: Iterable[int | Address],
        ends: Iterable[int | Address],
        memory: Address,
        steps: int,
        batch: int,
        rows: Rows,
        descend: bool,
        size: int,
    ) -> Call:
        """Return a call.

        constants: the first ports, contiguous, from which weights are packed; ports: four words for every other one,
        and ends: two for everything that is carried, as `emit_cpp` says; memory: as much as `memory` tells; rows:
        which thread runs which rows, how far.
        """
        scratch, ahead, panels, _ = self._parts(steps, batch, size)
        # Packed anew at every call, which costs little, so that even a write that PyTorch cannot see is seen.
        words: list[int | Address] = [
            steps, batch, descend, *rows.words,
            memory if scratch else 0, memory.after(scratch) if ahead else 0, bool(panels), size, 0, 0,
        ]  # fmt: skip
        for c in constants:
            words += (c, 0, 0, 0)
        words += [*ports, *ends]
        panel = memory.after(scratch + ahead)
        bounds = panel.after(panels)
        for numbers, (_, ranges) in zip(self._panels, self._emitted.panels, strict=True):
            words += (panel, bounds)
            panel, bounds = panel.after(numbers * self._dtype.itemsize), bounds.after(ranges * 8)
        return Call(Words(words), self._run, steps * batch * actual(self.flops, size))

    def _parts(self, steps: int, batch: int, size: int) -> tuple[int, int, int, int]:
        """Return the bytes of scratch, of products computed ahead, of packed weights and of their ranges."""
        made, number = self._emitted, self._dtype.itemsize
        early = made.ahead if batch < _FEW_ROWS and steps > 1 else 0
        scratch = actual(made.scratch, size) * batch
        ranges = sum(ranges for _, ranges in made.panels)
        return _lines(scratch * number), _lines(early * batch * number), sum(self._panels) * number, ranges * 8

    @property
    def scratch(self) -> int:
        """Numbers of scratch memory a row."""
        return self._emitted.scratch

    def prepare(
        self, constants: Sequence[Tensor], ports: int, ends: int, batch: int, rows: Rows
    ) -> tuple[array[int], list[Tensor]]:
        """Return the words of single steps, but for `ports` ports and `ends` ends after the constants that are still
        zero, and what has to be kept as long as they are used. The weights are packed."""
        panels = self._memory()
        words = array("q", (1, batch, 0, *rows.words, 0, 0, 0, 0, 0, 0))
        for c in constants:
            words.extend((c.data_ptr(), 0, 0, 0))
        words.extend([0] * (4 * ports + 2 * ends))
        words.extend(self._addresses(panels))
        # A run over no rows packs, and does nothing else.
        nothing = array("q", [0, 0, 0, *_NOWHERE.words, 0, 0, bool(panels), 0, 0, 0, *words[PORTS:]])
        self._run(nothing.buffer_info()[0])
        return words, panels

    @property
    def address(self) -> int:
        """Where the loop's code begins."""
        return address_of(self._run)

    def run(self, words: array[int]) -> None:
        """Run words that are complete."""
        self._run(words.buffer_info()[0])

    def _addresses(self, held: Sequence[Tensor]) -> list[int]:
        if not held:
            return []
        words: list[int] = []
        panel, bounds = held[0].data_ptr(), held[1].data_ptr()
        for size, (_, ranges) in zip(self._panels, self._emitted.panels, strict=True):
            words += (panel, bounds)
            panel += size * self._dtype.itemsize
            bounds += ranges * 8
        return words

    def _memory(self) -> list[Tensor]:
        """Return memory for packed weights and their ranges; nothing where there are none."""
        if not self._panels:
            return []
        panels = torch.empty(sum(self._panels), dtype=self._dtype)
        return [panels, torch.empty(sum(ranges for _, ranges in self._emitted.panels), dtype=torch.int64)]


def _lines(size: int) -> int:
    """Return a number of bytes, rounded up to lines of the cache."""
    return -(-size // 64) * 64


class Rows:
    """Which rows each thread runs, and how far.

    first: where each thread's rows begin in order; counts: how many of each thread's rows run at each step
    (threads, T), in order of length; lengths: the steps of each row; both None where all rows run all steps. shared:
    how many threads share all rows, each running some of their units; then `first` is that of one thread.
    """

    def __init__(
        self,
        first: Tensor,
        order: Tensor,
        counts: Tensor | None = None,
        lengths: Tensor | None = None,
        shared: int = 1,
    ) -> None:
        self._kept = (first, order, counts, lengths)
        addresses = (0 if t is None else t.data_ptr() for t in self._kept)
        threads = -shared if shared > 1 else first.shape[0] - 1
        self.words = array("q", (threads, *addresses))
        """What a kernel is told of them."""


ROWS = slice(3, 8)
"""The words in which a kernel is told of its rows."""

WAITS = 12
"""The word that says where the loop before it in a wave tells how far it is."""

TELLS = 13
"""The word that says where it is to tell that itself."""
_NOWHERE = Rows(torch.zeros(2, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
