"""Pass 2, stage: which operations run before the loop, in it, and after it.

Every value depends on some of four things: parameters, the call's context, the step's input, the carried state.

    once      parameters only: once a call, in PyTorch; gradients flow by autograd
    per call  the context: once a call for every row, in PyTorch
    before    the step's input (and parameters): over all T * B steps at once, in PyTorch: one matrix product
    loop      the carried state
    after     needed by y alone, behind a large matrix product: over all T * B steps at once

Views and constants cost nothing, so they go wherever they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import Value, has_rows, topological
from recurra.compiler.trace import Traced

__all__ = ["Staged", "stage"]

_PARAMETER, _CONTEXT, _INPUT, _STATE = 0, 1, 2, 4
_LARGE = 2**15
"""Weights up to which a product that y alone needs stays in the loop. It costs no pass over memory there, and is faster
at any batch but for large weights and few rows, which read them from memory anew at every step (256 x 256 and one row:
0.89 of the speed)."""

_FREE = ("reshape", "permute", "expand", "slice", "fill", "stop")


@dataclass
class Staged:
    """The step, cut into stages.

    once, per_call, before: what has to be computed ahead of the loop; loop_once, loop_call, loop_steps: the leaves
    of the loop among parameters and what is made of them, the context, and what changes with every step; state: the
    carried state's leaves; outputs: what the loop gives at every step; new: the new state. after: y, if it is made
    after the loop from `outputs` and leaves; None if y is `outputs[0]`. foreign: why the loop cannot be compiled, where
    it has an operation of torch that only torch can run.
    """

    traced: Traced
    hoisted: bool
    state: list[Value]
    new: list[Value]
    once: list[Value]
    per_call: list[Value]
    before: list[Value]
    loop_once: list[Value]
    loop_call: list[Value]
    loop_steps: list[Value]
    outputs: list[Value]
    after: Value | None = None
    after_leaves: list[Value] = field(default_factory=list[Value])
    foreign: Unsupported | None = None

    @property
    def leaves(self) -> list[Value]:
        """All leaves of the loop."""
        return [*self.loop_once, *self.loop_call, *self.loop_steps, *self.state]


def stage(traced: Traced, per_step: Iterable[int], hoist: bool) -> Staged:
    """Cut a traced step into stages.

    per_step: which of the context's entries change with every step; hoist: whether matrix products of the step's input
    are computed before the loop, or in it.
    """
    inputs = {traced.x, *(traced.context[k] for k in per_step)}
    needs = _needs(traced, inputs)
    order = topological([*traced.new, traced.y])
    needed = set(topological(traced.new))
    after = _after(order, needs, needed, traced, hoist) if traced.y not in needed else set[Value]()
    if not hoist and any(v.op == "aten" and needs[v] == _INPUT for v in order):
        hoist = True

    def repeated(v: Value) -> bool:
        """Tell whether v is parameters alone, but repeated for every row: it is made where it is used."""
        return needs[v] == _PARAMETER and has_rows(v.shape)

    def early(v: Value) -> bool:
        if repeated(v):
            return False
        return needs[v] in (_PARAMETER, _CONTEXT) or (hoist and needs[v] == _INPUT)

    outputs = [traced.y]
    if traced.y in after:
        # Views of what does not depend on the state are made again after the loop, where the batch is another.
        outputs = _frontier(outputs, lambda v: v in after or repeated(v) or v.op in _FREE or not _by_rows(v))
    looped = [v for v in outputs if needs[v] & _STATE or v is traced.y]
    after_early = [v for v in outputs if v not in looped]
    leaves = _frontier([*traced.new, *looped], lambda v: not early(v) or not _by_rows(v) or _passes(v))
    leaves = [v for v in leaves if v.op != "fill"]
    state = list(traced.state)
    loop_once = [v for v in leaves if needs[v] == _PARAMETER and v not in state]
    loop_call = [v for v in leaves if needs[v] == _CONTEXT]
    loop_steps = [v for v in leaves if needs[v] & _INPUT]
    extra = [v for v in after_early if v.op != "fill"]
    return Staged(
        traced, hoist, state, list(traced.new),
        [v for v in [*loop_once, *(e for e in extra if needs[e] == _PARAMETER)] if v.op != "input"],
        [v for v in loop_call if v.op != "input"],
        [v for v in [*loop_steps, *(e for e in extra if needs[e] & _INPUT)] if v.op != "input"],
        loop_once, loop_call, loop_steps, looped,
        traced.y if traced.y in after else None,
        [*looped, *extra],
        _foreign([*traced.new, *looped], leaves),
    )  # fmt: skip


def _foreign(roots: Iterable[Value], leaves: list[Value]) -> Unsupported | None:
    known = set(leaves)
    for v in topological(roots, leaves):
        if v.op in ("aten", "part") and v not in known:
            return Unsupported(str(v.attrs[0]) if v.op == "aten" else v.op, "the compiler has no rule for it", v.where)
    return None


def _by_rows(v: Value) -> bool:
    """Tell whether a value can be handed over from stage to stage: it has its rows first, or none."""
    return not has_rows(v.shape) or v.shape[0] == -1


def _passes(v: Value) -> bool:
    """Tell whether a view is made again where it is used, what it looks at being handed over in its stead."""
    return v.op in _FREE and all(_by_rows(a) for a in v.values)


def _needs(traced: Traced, inputs: set[Value]) -> dict[Value, int]:
    needs: dict[Value, int] = {}
    for v in topological([*traced.new, traced.y]):
        if v in traced.state:
            needs[v] = _STATE
        elif v in inputs:
            needs[v] = _INPUT
        elif v in traced.context:
            needs[v] = _CONTEXT if has_rows(v.shape) else _PARAMETER
        else:
            needs[v] = 0
            for a in v.values:
                needs[v] |= needs[a]
    return needs


def _after(order: list[Value], needs: dict[Value, int], needed: set[Value], traced: Traced, hoist: bool) -> set[Value]:
    """Return the values that only y needs, from the first large matrix product or foreign operation on;
    with hoist, from any product on.

    None of them where they also need the context, which would have to be repeated for every step.
    """
    after: set[Value] = set()
    for v in order:
        if v in needed or not needs[v] & _STATE:
            continue
        apart = v.op in ("aten", "part") or (v.op == "mm" and (hoist or _weights(v) > _LARGE))
        if apart or any(a in after for a in v.values):
            after.add(v)
    if any(needs[a] & _CONTEXT for v in after for a in v.values):
        return set()
    return after if traced.y in after else set()


def _weights(product: Value) -> int:
    return sum(w.shape[0] * w.shape[1] for w in product.values[1::2])


def _frontier(outputs: Iterable[Value], inside: Callable[[Value], bool]) -> list[Value]:
    """Return the first values on the way down from `outputs` that are not inside, in the order of their making."""
    found: set[Value] = set()
    seen: set[Value] = set()
    stack = list(outputs)
    while stack:
        v = stack.pop()
        if v in seen:
            continue
        seen.add(v)
        if v.op == "input" or not inside(v):
            found.add(v)
        else:
            stack.extend(v.values)
    return sorted(found, key=lambda v: v.id)
