"""One call of the kernels: the forward, and what it keeps for the backward after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from torch import Tensor

from recurra.compiler.ir import Value
from recurra.scan.backward import Backpropagation
from recurra.scan.dealing import threads
from recurra.scan.forward import Inference, Training
from recurra.scan.frame import Sizes, contiguous, inner_contiguous
from recurra.scan.hoisted import LoopInputs
from recurra.scan.kernels import Compiled
from recurra.scan.problem import Problem

__all__ = ["Run"]

_MOST_CALLS = 256
_Call = TypeVar("_Call")


class Run:
    """One call, prepared at the first one of its sizes.

    Memory is handed from `forward` to `backward` by the caller, so that it can be freed in between.
    """

    def __init__(self, compiled: Compiled, problem: Problem, inputs: LoopInputs) -> None:
        self.compiled, self.problem = compiled, problem
        self._sizes = (len(inputs.once), len(inputs.call), len(inputs.steps))
        self._zeros = [None] * len(inputs.state) if any(s is None for s in inputs.state) else []
        self.count = sum(self._sizes) + len(inputs.state) - len(self._zeros)
        """How many tensors `inputs.flat` has."""

    def split(self, flat: Sequence[Tensor]) -> LoopInputs:
        """Return `LoopInputs.flat` by kinds."""
        a, b, c = self._sizes
        states = self._zeros or flat[a + b + c :]
        return LoopInputs(list(flat[:a]), list(flat[a : a + b]), list(flat[a + b : a + b + c]), states)

    def infer(self, inputs: LoopInputs) -> tuple[list[Tensor], list[Tensor]]:
        """Run the forward for its own sake; return outputs and final states."""
        given, strides = _forward(inputs)
        sizes = self._of(strides)
        call = self._prepared((Inference, sizes), lambda: Inference(self.compiled, sizes, given))
        return call(given, self.problem.lengths)

    def forward(self, inputs: LoopInputs) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Run the forward of a training step; return outputs, final states, and what the backward has to be given."""
        given, strides = _forward(inputs)
        sizes = self._of(strides)
        call = self._prepared((Training, sizes), lambda: Training(self.compiled, sizes, given))
        return call(given, self.problem.lengths)

    def backward(
        self, inputs: LoopInputs, kept: Sequence[Tensor], grads: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Run the backward kernel and the epilogue; return the gradient of every input that wants one.

        kept: what `forward` returned for this; grads: of outputs and final states; wanted: for all of `inputs.flat`.
        """
        derived, outputs = self.compiled.derived, self.compiled.plan.outputs
        triples = zip(derived.output_grads, grads, outputs, strict=False)
        of_outputs = [inner_contiguous(self._filled(g, like)) for leaf, g, like in triples if leaf is not None]
        pairs = zip(derived.first, grads[len(outputs) :], strict=True)
        of_finals = [g if g is None else g.contiguous() for v, g in pairs if v is not None]
        loop = contiguous([*inputs.once, *inputs.call, *inputs.steps])
        given = [*loop, *kept, *of_outputs, *of_finals]
        sizes = self._of(tuple(g.stride()[:2] for g in of_outputs))
        wanted = (*wanted, *(False for _ in self._zeros))
        key = (Backpropagation, sizes, wanted)
        call = self._prepared(key, lambda: Backpropagation(self.compiled, sizes, given, wanted))
        return call(given, self.problem)[: self.count]

    def _of(self, strides: tuple[tuple[int, ...], ...]) -> Sizes:
        p = self.problem
        steps, batch = p.x.shape[:2]
        ragged, size = p.lengths is not None, self.compiled.size
        return Sizes(steps, batch, p.reverse, ragged, size, threads(), strides)

    def _prepared(self, key: Any, prepare: Callable[[], _Call]) -> _Call:
        calls = self.compiled.calls
        found = calls.get(key)
        if found is None:
            if len(calls) >= _MOST_CALLS:
                calls.clear()
            found = calls[key] = prepare()
        return found

    def _filled(self, grad: Tensor | None, like: Value) -> Tensor:
        """Return an output's gradient: zeros where there is none."""
        if grad is not None:
            return grad
        return self.problem.x.new_zeros(()).expand(*self.problem.x.shape[:2], *like.shape[1:])


def _forward(inputs: LoopInputs) -> tuple[list[Tensor | None], tuple[tuple[int, ...], ...]]:
    """Return what a forward is given, and the strides of what it is given for every step."""
    steps = [inner_contiguous(t) for t in inputs.steps]
    states = [s if s is None or s.is_contiguous() else s.contiguous() for s in inputs.state]
    return [*contiguous(inputs.once), *contiguous(inputs.call), *steps, *states], tuple(t.stride()[:2] for t in steps)
