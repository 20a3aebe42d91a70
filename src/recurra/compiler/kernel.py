"""Built loops, ready to be called: pointers and strides in, packed weights kept as long as the weights stay the
same."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.compiler.build import Built, build, target
from recurra.compiler.emit_cpp import Emitted, emit
from recurra.compiler.ir import Graph, Value
from recurra.compiler.plan import LoopPlan

__all__ = ["Kernel", "Port", "compile_loops", "forget_weights"]

Port = tuple[Tensor | None, int, int, int]
"""What a pointer of the kernel is given: a tensor, its stride in time, its stride from row to row, and its slots'
mask."""


def compile_loops(
    graph: Graph, loops: Sequence[tuple[str, LoopPlan, Sequence[Value]]], dtype: torch.dtype
) -> dict[str, Kernel]:
    """Emit and build several loops as one library; return them by name. Raises Unsupported."""
    real = "float" if dtype == torch.float32 else "double"
    emitted = {n: emit(graph, p, n, dtype.itemsize, target(), results) for n, p, results in loops}
    header = f'#include "runtime.h"\ntypedef {real} R;\ntypedef Lanes<R, {target().vector_bytes // dtype.itemsize}> L;\ntypedef L::V V;\n'  # noqa: E501
    built = build(header + "".join(e.code for e in emitted.values()))
    return {name: Kernel(name, e, built, dtype) for name, e in emitted.items()}


_FEW_STEPS = 4
"""Packed weights are kept between calls of so few steps only (streaming); longer calls pack them anew, which costs them
little, so that even a write that PyTorch cannot see (through `.data` or NumPy) is seen."""

_epoch = [0]


def forget_weights() -> None:
    """Have all weights packed anew: needed while streaming, after a write that PyTorch cannot see."""
    _epoch[0] += 1


class Kernel:
    """One loop."""

    def __init__(self, name: str, emitted: Emitted, built: Built, dtype: torch.dtype) -> None:
        self.names = [p.name for p in emitted.ports]
        self.flops = emitted.flops
        self.source = built.source
        self._emitted = emitted
        self._dtype = dtype
        self._run: Any = getattr(built.library, name)
        self._run.argtypes = [ctypes.c_void_p, ctypes.c_long] + [ctypes.c_void_p] * 3 + [ctypes.c_long] * 3
        self._run.restype = None
        self._pack: Any = getattr(built.library, f"{name}_pack")
        self._pack.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self._pack.restype = None
        self._packed: tuple[Any, list[Tensor], list[Tensor]] | None = None
        self._array = ctypes.c_int64 * (4 * (len(self.names) + 1) + 2 * len(emitted.panels))

    def __call__(
        self,
        ports: Sequence[Port],
        constants: Sequence[Tensor],
        steps: int,
        batch: int,
        rows: tuple[Tensor, Tensor, Tensor | None],
        descend: bool,
    ) -> None:
        """Run. ports: one for every name; constants: those among them that weights are packed from; rows: where each
        thread's rows begin, the rows, and how many run at each step (threads, T), or None."""
        panels = self._panels(constants, ports, reuse=steps <= _FEW_STEPS)
        scratch = torch.empty(max(1, self._emitted.scratch * batch), dtype=self._dtype)
        pointers: list[int] = []
        for t, _, _, _ in ports:
            pointers.append(0 if t is None else t.data_ptr())
        columns = list(zip(*ports, strict=True)) if ports else [(), (), (), ()]
        a = self._array(
            *pointers, scratch.data_ptr(), *columns[1], 0, *columns[2], 0, *columns[3], 0, *panels
        )  # fmt: skip
        first, order, counts = rows
        self._run(
            a, steps, first.data_ptr(), order.data_ptr(), None if counts is None else counts.data_ptr(),
            int(descend), batch, first.shape[0] - 1,
        )  # fmt: skip

    def _panels(self, constants: Sequence[Tensor], ports: Sequence[Port], reuse: bool) -> list[int]:
        """Return pointers to packed weights: the last ones, if they may be used again and no weight was written to."""
        if not self._emitted.panels:
            return []
        # A tensor of inference mode has no version, so writes into it cannot be seen.
        key = None
        if reuse and not any(c.is_inference() for c in constants):
            key = (_epoch[0], *((c.data_ptr(), c._version) for c in constants))
        kept = self._packed
        if kept is None or key is None or kept[0] != key:
            pointers = (ctypes.c_void_p * max(1, len(ports)))(*(0 if t is None else t.data_ptr() for t, *_ in ports))
            packed: list[Tensor] = []
            for k, (size, ranges) in enumerate(self._emitted.panels):
                panel, bounds = torch.empty(size, dtype=self._dtype), torch.empty(ranges, dtype=torch.int64)
                self._pack(pointers, k, panel.data_ptr(), bounds.data_ptr())
                packed += [panel, bounds]
            # The weights are kept too, so that no other tensor can take their address.
            kept = self._packed = (key, packed, list(constants))
        return [t.data_ptr() for t in kept[1]]
