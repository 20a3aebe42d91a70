"""Streaming: one step after another through kernels whose calls are prepared, all but the addresses of what changes."""

# A tensor's version counter is public in all but its name.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.compiler.calls import short, tools
from recurra.compiler.emit_tiles import PORTS
from recurra.compiler.kernel import epoch
from recurra.core import Cell
from recurra.scan.binding import Binding, Guard, Snapshot, bound
from recurra.scan.dealing import deal

__all__ = ["Stream", "prepare_stream"]


class Stream:
    """Single steps of a stack of one-directional layers whose states are stacked: `(layers, B, ...)` each.

    Valid for one batch size and kind of number, as long as nothing about the modules changes; weights that are written
    to are packed anew. What it returns is new memory every time.
    """

    def __init__(self, owner: Snapshot, bindings: Sequence[Binding], x: Tensor) -> None:
        self._shape, self._dtype = x.shape, x.dtype
        self._weights = [t for b in bindings for t in b.tensors]
        batch, layers = x.shape[0], len(bindings)
        compiled = bindings[0].program.compiled[False]
        self._state_shapes = [torch.Size((layers, batch, *f.shape)) for f in compiled.states]
        self._state_dtypes = [f.dtype for f in compiled.states]
        self._forms = list(zip(self._state_shapes, self._state_dtypes, strict=True))
        self._count = len(self._forms)
        self._sizes = [
            s.numel() // layers * d.itemsize for s, d in zip(self._state_shapes, self._state_dtypes, strict=True)
        ]
        self._zeros = [torch.zeros(s, dtype=d) for s, d in zip(self._state_shapes, self._state_dtypes, strict=True)]
        self._layers = [_Layer(b, batch) for b in bindings]
        self._same = Guard(owner, bindings)
        self._known = self._versions()
        self._quick: Any = None

    def __call__(self, x: Tensor, state: Any) -> tuple[Tensor, Any] | None:
        """Return `(y, state)`, or None where this is not the call that was prepared."""
        if self._quick is not None:
            return self._quick(x, state)
        found = tools()
        if found is not None:
            self._quick = self._made_by(found)
        if type(x) is not Tensor or x.shape != self._shape or x.dtype is not self._dtype or not x.is_cpu:
            return None
        given: Sequence[Tensor] = self._zeros if state is None else (state,) if type(state) is Tensor else state
        if len(given) != self._count:
            return None
        for s, (shape, dtype) in zip(given, self._forms, strict=True):
            if type(s) is not Tensor or s.shape != shape or s.dtype is not dtype or not s.is_cpu:
                return None
            if not s.is_contiguous() or s.is_neg():
                return None
        if not x.is_contiguous() or torch.is_grad_enabled() or x.is_neg():
            return None
        if not self._same() or self._versions() != self._known:
            return None
        new = [torch.empty_like(s) for s in self._zeros]  # the fastest of the ways to get new memory
        old_at = [s.data_ptr() for s in given]
        new_at = [s.data_ptr() for s in new]
        for k, layer in enumerate(self._layers):
            if k:
                old_at = [at + size for at, size in zip(old_at, self._sizes, strict=True)]
                new_at = [at + size for at, size in zip(new_at, self._sizes, strict=True)]
            x = layer.step(x, old_at, new_at)
        return x, new[0] if self._count == 1 else tuple(new)

    def _made_by(self, found: Any) -> Any:
        """Return the same as a built-in function."""
        same = self._same.within(found, kinds=False)  # of a tensor of another kind, version or address is another
        tools = (same, Tensor, torch.is_grad_enabled, epoch, torch.empty_like)
        known, sizes = array("q", self._known), array("q", self._sizes)
        layers = [layer.parts for layer in self._layers]
        return found.make_stream(
            tools, (self._shape, self._dtype), self._forms, self._zeros, sizes, self._weights, known, layers
        )

    def _versions(self) -> list[int]:
        """Return what tells one state of the weights from another."""
        return [epoch(), *[t._version for t in self._weights], *[t.data_ptr() for t in self._weights]]


class _Layer:
    """One layer's kernel, and the words of its call: what the kernel carries lies where it comes from and goes to."""

    def __init__(self, binding: Binding, batch: int) -> None:
        compiled = binding.program.compiled[False]
        self._kernel = compiled.kernels["infer"]
        self._dtype = binding.dtype
        constants = [t if t.is_contiguous() else t.contiguous() for t in binding.constants()]
        states, alias = compiled.states, compiled.aliases[0]
        rows = deal(1, batch, None, self._kernel.flops)
        results = int(alias is None)
        self._words, held = self._kernel.prepare(constants, 1 + len(states) + results, len(states), batch, rows)
        self._held = (held, constants, rows)
        self._x = at = PORTS + 4 * len(constants)
        self._words[at : at + 4] = array("q", (0, 0, math.prod(binding.input_shape), -1))
        ends = at + 4 * (1 + len(states) + results)
        self._states: list[tuple[int, int, int, bool]] = []
        for k, form in enumerate(states):
            at += 4
            self._words[at : at + 4] = array("q", (0, 0, math.prod(form.shape), -1))
            self._states.append((at, ends + 2 * k, form.dtype.itemsize, k == alias))
        output = compiled.plan.outputs[0].shape[1:]
        self._result = at + 4 if results else 0
        if results:
            self._words[at + 4 : at + 8] = array("q", (0, 0, math.prod(output), -1))
        self._y = torch.empty(batch, *output, dtype=self._dtype)
        self._scratch = torch.empty(self._kernel.scratch * batch, dtype=self._dtype)
        self._needs_scratch = self._scratch.numel() > 0
        at_scratch = 8 if self._needs_scratch else 0
        self.parts = (
            self._words, self._x, self._result, at_scratch, self._states, self._y, self._scratch, self._kernel.address,
            short(batch * self._kernel.flops),
        )  # fmt: skip
        """All of it, as `calls.cpp` takes it."""

    def step(self, x: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor:
        """Return y; the state is read at the addresses `old` and written at `new`."""
        words = self._words[:]
        y = torch.empty_like(self._y)
        if self._needs_scratch:
            scratch = torch.empty_like(self._scratch)
            words[8] = scratch.data_ptr()
        words[self._x] = x.data_ptr()
        y_at = y.data_ptr()
        for (port, end, size, is_y), before, after in zip(self._states, old, new, strict=True):
            words[port] = words[end] = before
            words[port + 1] = ((y_at if is_y else after) - before) // size
            if is_y:
                words[end + 1] = after
        if self._result:
            words[self._result] = y_at
        self._kernel.run(words)
        return y


def prepare_stream(owner: Any, cells: Sequence[Cell], x: Tensor) -> Stream | None:
    """Return the stream of a stack of cells for inputs like x `(B, ...)`, where it can be prepared: all of them are
    bound to their programs, and of one kind. owner: the module that they belong to."""
    bindings: list[Binding] = []
    for cell in cells:
        found = bound(cell)
        if found is None or not found.direct or not found.zeros or not found.fits(x, None):
            return None
        if any(t.is_inference() for t in found.tensors):  # these have no version, so writes to them cannot be seen
            return None
        bindings.append(found)
    if len({str(b.program.compiled[False].states) for b in bindings}) > 1:
        return None
    modules = dict.fromkeys([*owner.modules(), *(m for cell in cells for m in cell.modules())])
    snapshot = Snapshot(modules)
    return Stream(snapshot, bindings, x)
