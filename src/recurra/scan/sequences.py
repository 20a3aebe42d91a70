"""Whole sequences, called again as they were called before: the kernels' calls are found by sizes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.core import Cell, State
from recurra.scan.binding import Binding, Guard, Snapshot, bound, plain
from recurra.scan.compiled import tried, worth_again
from recurra.scan.cpp import trained
from recurra.scan.dealing import threads
from recurra.scan.frame import Sizes, inner_contiguous
from recurra.scan.problem import Problem
from recurra.scan.run import Run
from recurra.scan.wave import run_as_wave, worth_a_wave

__all__ = ["Sequences", "prepare_sequences"]

_MOST_SIZES = 256


class Sequences:
    """Whole sequences through a stack of one-directional layers whose states are stacked: `(layers, B, ...)` each.

    Valid as long as nothing about the modules changes. Weights are packed at every call, so that whatever writes to
    them is seen. What it returns is new memory every time.
    """

    def __init__(self, owner: Snapshot, bindings: Sequence[Binding], small: bool) -> None:
        """small: whether to run also what `auto` would leave to the loop."""
        self._same, self._bindings, self._small = Guard(owner, bindings), bindings, small
        self._alone, self._dtype = len(bindings) == 1, bindings[0].dtype
        compiled = bindings[0].program.compiled[False]
        self._forms = [(f.shape, f.dtype) for f in compiled.states]
        self._usual: dict[Any, bool] = {}
        self._runs: dict[Any, list[Run]] = {}
        self._waves: set[Any] = set()

    def __call__(self, x: Tensor, state: Any) -> tuple[Tensor, Any] | None:
        """Return `(y, state)` for x `(T, B, ...)`, or None where this is not a call of the kind that was prepared."""
        if x.dtype is not self._dtype or not plain(x) or not self._same():
            return None
        key = (x.shape, x.stride(), threads(), state is None)
        usual = self._usual.get(key)
        if usual is None:
            usual = self._learn(key, x)
        given: Any = () if state is None else (state,) if type(state) is Tensor else state
        if not usual or (state is not None and not self._takes(given, x.shape[1])):
            return None
        train = any(b.trains(x, given) for b in self._bindings)
        runs = self._runs.get((key, train)) or self._prepared(key, x, train)
        if runs is None:
            return None
        # One layer alone takes and gives its state as it is here, `(1, B, ...)`.
        states: Sequence[State] = [given] if self._alone else self._unstacked(given)
        if key in self._waves and not train:
            others = [(b.constants(), old) for b, old in zip(self._bindings, states, strict=True)]
            x, ends = run_as_wave(runs, x, others, threads())
            return x, self._stacked(ends)
        final: list[State] = []
        for binding, run, old in zip(self._bindings, runs, states, strict=True):
            flat = [*binding.constants(), x, *old]
            if train:
                outputs, new = trained(run, binding.program, self._problem(binding, x, old), flat)
            else:
                outputs, found = run.infer(flat, None)
                new = tuple(found)
            x = outputs[0]
            final.append(new)
        return x, self._stacked(final)

    def _stacked(self, final: Sequence[Sequence[Tensor]]) -> Any:
        last = final[0] if self._alone else tuple(map(torch.stack, zip(*final, strict=True)))
        return last[0] if len(last) == 1 else tuple(last)

    def _unstacked(self, given: State) -> Sequence[State]:
        if not given:
            return [()] * len(self._bindings)
        return list(zip(*(s.unbind(0) for s in given), strict=True))

    def _problem(self, binding: Binding, x: Tensor, old: State) -> Problem:
        return Problem(binding.cell, x, old, (), (), None, False, False)

    def valid(self) -> bool:
        """Tell whether the modules, and how their cells run, are as they were."""
        return self._same() and all(bound(b.cell) is b for b in self._bindings)

    def _takes(self, given: Any, batch: int) -> bool:
        if type(given) is not tuple or len(given) != len(self._forms):
            return False
        pairs = zip(given, self._forms, strict=True)
        return all(self._is(s, (len(self._bindings), batch, *shape), dtype) for s, (shape, dtype) in pairs)

    def _is(self, s: Any, shape: tuple[int, ...], dtype: torch.dtype) -> bool:
        return type(s) is Tensor and s.dtype is dtype and s.shape == shape and plain(s) and s.is_contiguous()

    def _learn(self, key: Any, x: Tensor) -> bool:
        """Find out whether the kernels take inputs like x, and remember it."""
        if len(self._usual) >= _MOST_SIZES:
            self._usual.clear()
            self._runs.clear()
            self._waves.clear()
        first = self._bindings[0]
        fits = x.dim() == 2 + len(first.input_shape) and x.shape[2:] == first.input_shape and x.shape[0] > 0
        fits = fits and inner_contiguous(x) is x and all(worth_again(b, x, self._small) for b in self._bindings)
        self._usual[key] = fits
        return fits

    def _prepared(self, key: Any, x: Tensor, train: bool) -> list[Run] | None:
        """Return the layers' runs for inputs like x; None if their kernels have not been tried yet."""
        made: list[Run] = []
        strides, most = x.stride()[:2], threads()
        if not train and all(tried(b.program, False, False) for b in self._bindings):
            flops = [b.program.compiled[False].kernels["infer"].flops for b in self._bindings]
            if worth_a_wave(x.shape[0], x.shape[1], flops, most):
                self._waves.add(key)
                most = 1
        for binding in self._bindings:
            if not tried(binding.program, train, False):
                return None
            compiled = binding.program.compiled[False]
            sizes = Sizes(x.shape[0], x.shape[1], False, False, 0, most, (strides,))
            parts = (len(binding.program.staged.loop_once), 0, 1)
            made.append(Run(compiled, sizes, parts, key[-1], self._alone))
            width = math.prod(compiled.plan.outputs[0].shape[1:])
            strides = (x.shape[1] * width, width)
        self._runs[key, train] = made
        return made


def prepare_sequences(owner: Any, cells: Sequence[Cell], small: bool) -> Sequences | None:
    """Return the calls of a stack of cells, which belong to the module `owner`, where they can be prepared: all cells
    are bound to their programs, and of one kind. small: whether to run also what `auto` would leave to the loop."""
    bindings: list[Binding] = []
    for cell in cells:
        found = bound(cell)
        if found is None or not found.direct or not found.zeros or False not in found.program.compiled:
            return None
        bindings.append(found)
    if len({str(b.program.compiled[False].states) for b in bindings}) > 1:
        return None
    modules = dict.fromkeys([*owner.modules(), *(m for cell in cells for m in cell.modules())])
    return Sequences(Snapshot(modules), bindings, small)
