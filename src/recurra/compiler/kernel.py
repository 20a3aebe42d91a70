"""Built loops, ready to be called: addresses and strides in, packed weights kept as long as the weights stay the
same."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.compiler.build import Built, build, target
from recurra.compiler.emit_cpp import Emitted, emit, preamble
from recurra.compiler.ir import Graph, Value
from recurra.compiler.plan import LoopPlan

__all__ = ["Kernel", "Rows", "compile_loops", "forget_weights"]


def compile_loops(
    graph: Graph, loops: Sequence[tuple[str, LoopPlan, Sequence[Value]]], dtype: torch.dtype
) -> dict[str, Kernel]:
    """Emit and build several loops as one library; return them by name. Raises Unsupported."""
    real = "float" if dtype == torch.float32 else "double"
    emitted = {n: emit(graph, p, n, dtype.itemsize, target(), results) for n, p, results in loops}
    built = build(preamble(real, target()) + "".join(e.code for e in emitted.values()))
    return {name: Kernel(name, e, built, dtype) for name, e in emitted.items()}


_FEW_STEPS = 4
"""Packed weights are kept between calls of so few steps only (streaming); longer calls pack them anew, which costs them
little, so that even a write that PyTorch cannot see (through `.data` or NumPy) is seen."""

_epoch = [0]


def forget_weights() -> None:
    """Have all weights packed anew: needed while streaming, after a write that PyTorch cannot see."""
    _epoch[0] += 1


_FEW_ROWS = 12
"""Products of the step's input are computed ahead, many steps at once, for fewer rows than this: more fill the tiles by
themselves, and then the sums need not go through memory."""


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
        self._pack: Any = getattr(built.library, f"{name}_pack")
        self._pack.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self._pack.restype = None
        self._packed: tuple[Any, list[int], list[Tensor]] | None = None

    def __call__(
        self,
        constants: Sequence[Tensor],
        ports: Iterable[int],
        ends: Iterable[int],
        steps: int,
        batch: int,
        rows: Rows,
        descend: bool,
    ) -> None:
        """Run.

        constants: the first ports, contiguous, from which weights are packed; ports: four words for every other one,
        and ends: two for everything that is carried, as `emit_cpp` says; rows: which thread runs which rows, how far.
        """
        made = self._emitted
        scratch = torch.empty(made.scratch * batch, dtype=self._dtype) if made.scratch else None
        early = made.ahead and batch < _FEW_ROWS and steps > 1
        ahead = torch.empty(made.ahead * batch, dtype=self._dtype) if early else None
        words = array("q", (
            steps, batch, rows.threads, descend, rows.first, rows.order, rows.counts, rows.lengths,
            0 if scratch is None else scratch.data_ptr(), 0 if ahead is None else ahead.data_ptr(),
        ))  # fmt: skip
        for c in constants:
            words.extend((c.data_ptr(), 0, 0, 0))
        words.extend(ports)
        words.extend(ends)
        # Another thread may pack anew meanwhile: what this call uses is held until it is over.
        panels, _held = self._panels(constants, reuse=steps <= _FEW_STEPS)
        words.extend(panels)
        self._run(words.buffer_info()[0])

    def _panels(self, constants: Sequence[Tensor], reuse: bool) -> tuple[list[int], list[Tensor]]:
        """Return the addresses of packed weights, and what they belong to: the last ones, if they may be used again and
        no weight was written to."""
        if not self._emitted.panels:
            return [], []
        # A tensor of inference mode has no version, so writes into it cannot be seen.
        key = None
        if reuse and not any(c.is_inference() for c in constants):
            key = (_epoch[0], *[(c.data_ptr(), c._version) for c in constants])
        kept = self._packed
        if kept is None or key is None or kept[0] != key:
            pointers = (ctypes.c_void_p * max(1, len(constants)))(*(c.data_ptr() for c in constants))
            packed: list[Tensor] = []
            for k, (size, ranges) in enumerate(self._emitted.panels):
                panel, bounds = torch.empty(size, dtype=self._dtype), torch.empty(ranges, dtype=torch.int64)
                self._pack(pointers, k, panel.data_ptr(), bounds.data_ptr())
                packed += [panel, bounds]
            # The weights are kept too, so that no other tensor can take their address.
            keep = [*packed, *(c.detach() for c in constants)]
            kept = (key, [t.data_ptr() for t in packed], keep)
            self._packed = kept
        return kept[1], kept[2]


class Rows:
    """Which rows each thread runs, and how far.

    first: where each thread's rows begin in order; counts: how many of each thread's rows run at each step
    (threads, T), in order of length; lengths: the steps of each row; both None where all rows run all steps.
    """

    def __init__(
        self, first: Tensor, order: Tensor, counts: Tensor | None = None, lengths: Tensor | None = None
    ) -> None:
        self.keep = (first, order, counts, lengths)
        self.threads = first.shape[0] - 1
        self.first, self.order = first.data_ptr(), order.data_ptr()
        self.counts = 0 if counts is None else counts.data_ptr()
        self.lengths = 0 if lengths is None else lengths.data_ptr()
