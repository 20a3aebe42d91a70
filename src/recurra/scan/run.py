"""The kernels' calls that are alike in all sizes: the forward, and what it keeps for the backward after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from recurra.scan.backward import Backpropagation
from recurra.scan.dealing import threads
from recurra.scan.forward import Inference, Training
from recurra.scan.frame import Sizes, inner_contiguous
from recurra.scan.hoisted import LoopInputs
from recurra.scan.kernels import Compiled
from recurra.scan.problem import Problem

__all__ = ["Run", "run_for"]

_MOST_RUNS = 128
_MOST_CALLS = 32


class Run:
    """Calls of the same sizes, each prepared at the first one of its kind.

    Every call is given `LoopInputs.flat`, with None for a state of zeros. Memory is handed from `forward` to `backward`
    by the caller, so that it can be freed in between.
    """

    def __init__(
        self, compiled: Compiled, sizes: Sizes, parts: tuple[int, int, int], zeros: bool, stacked: bool = False
    ) -> None:
        """parts: how many tensors there are of each kind, but for states; zeros: whether these are not given; stacked:
        whether a state is `(1, B, ...)`, as of a stack of one layer."""
        self.compiled, self.stacked = compiled, stacked
        self._sizes, self._parts = sizes, parts
        states = len(compiled.states)
        self._zeros: list[Tensor | None] = [None] * states if zeros else []
        self.count = sum(parts) + (0 if zeros else states)
        """How many tensors `LoopInputs.flat` has."""
        self._steps = range(parts[0] + parts[1], sum(parts))
        derived, outputs = compiled.derived, compiled.plan.outputs
        self._grad_outputs = [k for k, leaf in enumerate(derived.output_grads) if leaf is not None]
        self._grad_finals = [len(outputs) + k for k, leaf in enumerate(derived.first) if leaf is not None]
        self._integers = any(not f.dtype.is_floating_point for f in compiled.states)
        self._infer: Inference | None = None
        self._train: Training | None = None
        self._backwards: dict[Any, Backpropagation] = {}

    def given(self, flat: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """Return what a forward is given: every row's numbers in order, time and rows of `steps` in any."""
        if not all(map(Tensor.is_contiguous, flat)):
            inner = self._steps
            flat = [inner_contiguous(t) if k in inner else t.contiguous() for k, t in enumerate(flat)]
        return [*flat, *self._zeros] if self._zeros else flat

    def split(self, flat: Sequence[Tensor]) -> LoopInputs:
        """Return `LoopInputs.flat` by kinds, with states `(B, ...)`."""
        a, b, c = self._parts
        states: Sequence[Tensor | None] = self._zeros or flat[a + b + c :]
        if self.stacked:
            states = [s if s is None else s.squeeze(0) for s in states]
        return LoopInputs(list(flat[:a]), list(flat[a : a + b]), list(flat[a + b : a + b + c]), states)

    def infer(self, flat: Sequence[Tensor], lengths: tuple[int, ...] | None) -> tuple[list[Tensor], list[Tensor]]:
        """Run the forward for its own sake; return outputs and final states."""
        given = self.given(flat)
        return self.inference(given)(given, lengths)

    def inference(self, given: Sequence[Tensor | None]) -> Inference:
        """Return the forward for its own sake, prepared."""
        if self._infer is None:
            self._infer = Inference(self.compiled, self._sizes, given, self.stacked)
        return self._infer

    def forward(
        self, flat: Sequence[Tensor], lengths: tuple[int, ...] | None
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Run the forward of a training step; return outputs, final states, and what the backward has to be given."""
        given = self.given(flat)
        if self._train is None:
            self._train = Training(self.compiled, self._sizes, given, self.stacked)
        return self._train(given, lengths)

    def backward(
        self,
        flat: Sequence[Tensor],
        kept: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        wanted: Sequence[bool],
        problem: Problem,
    ) -> list[Tensor | None]:
        """Run the backward kernel and the epilogue; return the gradient of every input that wants one, perhaps of
        others too.

        kept: what `forward` returned for this; grads: of outputs and final states; wanted: for all of `flat`.
        """
        of_outputs = [self._ordered(k, grads[k], problem.x) for k in self._grad_outputs]
        of_finals = [
            g if g is None or g.is_contiguous() else g.contiguous() for g in map(grads.__getitem__, self._grad_finals)
        ]
        loop = [t if t.is_contiguous() else t.contiguous() for t in flat[: self._steps.stop]]
        given = [*loop, *kept, *of_outputs, *of_finals]
        most = threads()
        key = (tuple(wanted), most, *[g.stride() for g in of_outputs])
        call = self._backwards.get(key)
        if call is None:
            if len(self._backwards) >= _MOST_CALLS:
                self._backwards.clear()
            sizes = self._sizes._replace(threads=most, strides=tuple(g.stride()[:2] for g in of_outputs))
            asked = (*wanted, *(False for _ in self._zeros))
            call = self._backwards[key] = Backpropagation(self.compiled, sizes, given, asked)
        found = call(given, problem)
        if self.stacked:
            first = self._steps.stop
            found[first:] = [g if g is None else g.unsqueeze(0) for g in found[first:]]
        return found[: self.count]

    def results(self, outputs: Sequence[Tensor], finals: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Return all that a call makes, and those of it that no gradient flows through."""
        made = (*outputs, *finals)
        return made, [t for t in made if not t.is_floating_point()] if self._integers else []

    def _ordered(self, k: int, grad: Tensor | None, x: Tensor) -> Tensor:
        """Return an output's gradient: zeros where there is none."""
        if grad is None:
            row = self.compiled.plan.outputs[k].shape[1:]
            return x.new_zeros(row).expand(*x.shape[:2], *row)
        return inner_contiguous(grad)


def run_for(compiled: Compiled, problem: Problem, inputs: LoopInputs) -> Run:
    """Return the run for a problem and inputs of these sizes, kept for the next one like it."""
    steps, batch = problem.x.shape[:2]
    strides = tuple(inner_contiguous(t).stride()[:2] for t in inputs.steps)
    ragged = problem.lengths is not None
    sizes = Sizes(steps, batch, problem.reverse, ragged, compiled.size, threads(), strides)
    zeros = any(s is None for s in inputs.state)
    found = compiled.runs.get((sizes, zeros))
    if found is None:
        if len(compiled.runs) >= _MOST_RUNS:
            compiled.runs.clear()
        parts = (len(inputs.once), len(inputs.call), len(inputs.steps))
        found = compiled.runs[sizes, zeros] = Run(compiled, sizes, parts, zeros)
    return found
