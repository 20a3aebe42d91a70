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
from recurra.scan.wave import Wave, worth_a_wave, worth_two_ways

__all__ = ["Sequences", "prepare_sequences"]

_MOST_SIZES = 256


class Sequences:
    """Whole sequences through layers of one or two directions whose states are stacked: `(layers * directions, B, ...)`
    each.

    Valid as long as nothing about the modules changes. Weights are packed at every call, so that whatever writes to
    them is seen. What it returns is new memory every time.
    """

    def __init__(self, owner: Snapshot, layers: Sequence[Sequence[Binding]], small: bool) -> None:
        """layers: one or two directions each; small: whether to run also what `auto` would leave to the loop."""
        bindings = [binding for layer in layers for binding in layer]
        self._layers = layers
        self._two_way = len(layers[0]) > 1
        self._same, self._bindings, self._small = Guard(owner, bindings), bindings, small
        self._alone, self._dtype = len(bindings) == 1, bindings[0].dtype
        compiled = bindings[0].program.compiled[False]
        self._forms = [(f.shape, f.dtype) for f in compiled.states]
        self._usual: dict[Any, bool] = {}
        self._runs: dict[Any, list[list[Run]]] = {}
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
        states = iter([given] if self._alone else self._unstacked(given))
        wave = Wave(threads()) if key in self._waves and not train else None
        final: list[Sequence[Tensor]] = []
        for layer, prepared in zip(self._layers, runs, strict=True):
            outputs: list[Tensor] = []
            for binding, run in zip(layer, prepared, strict=True):
                old = next(states)
                flat = [*binding.constants(), x, *old]
                if train:
                    made, new = trained(run, binding.program, self._problem(binding, x, old), flat)
                elif wave is not None:
                    made, new = wave.add(run, flat, follows=bool(final) and not self._two_way)
                else:
                    made, new = run.infer(flat, None)
                outputs.append(made[0])
                final.append(new)
            if wave is not None and self._two_way:
                wave.run()
                wave = Wave(threads())
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 2)
        if wave is not None and not self._two_way:
            wave.run()
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

    def _prepared(self, key: Any, x: Tensor, train: bool) -> list[list[Run]] | None:
        """Return the layers' runs for inputs like x; None if their kernels have not been tried yet."""
        if not all(tried(b.program, train, False) for b in self._bindings):
            return None
        steps, batch = x.shape[:2]
        strides, most = x.stride()[:2], threads()
        if not train and most > 1:
            flops = [b.program.compiled[False].kernels["infer"].flops for b in self._bindings]
            if (worth_two_ways if self._two_way else worth_a_wave)(steps, batch, flops, most):
                self._waves.add(key)
                most = 1
        made: list[list[Run]] = []
        for layer in self._layers:
            width = 0
            made.append([])
            for direction, binding in enumerate(layer):
                compiled = binding.program.compiled[False]
                sizes = Sizes(steps, batch, direction == 1, False, 0, most, (strides,))
                parts = (len(binding.program.staged.loop_once), 0, 1)
                made[-1].append(Run(compiled, sizes, parts, key[-1], self._alone))
                width += math.prod(compiled.plan.outputs[0].shape[1:])
            strides = (batch * width, width)
        self._runs[key, train] = made
        return made


def prepare_sequences(owner: Any, layers: Sequence[Sequence[Cell]], small: bool) -> Sequences | None:
    """Return the calls of layers of cells, which belong to the module `owner`, where they can be prepared: all cells
    are bound to their programs, and of one kind. small: whether to run also what `auto` would leave to the loop."""
    cells = [cell for layer in layers for cell in layer]
    bindings: list[Binding] = []
    for cell in cells:
        found = bound(cell)
        if found is None or not found.direct or not found.zeros or False not in found.program.compiled:
            return None
        bindings.append(found)
    if len({str(b.program.compiled[False].states) for b in bindings}) > 1:
        return None
    modules = dict.fromkeys([*owner.modules(), *(m for cell in cells for m in cell.modules())])
    left = iter(bindings)
    return Sequences(Snapshot(modules), [[next(left) for _ in layer] for layer in layers], small)
