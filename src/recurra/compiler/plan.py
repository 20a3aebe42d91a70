"""The passes up to what is to be emitted: the forward and the backward loop, and everything around them."""

from __future__ import annotations

from dataclasses import dataclass, field

from recurra.compiler.canonicalise import canonicalise
from recurra.compiler.differentiate import Backward, Carry, differentiate
from recurra.compiler.ir import Value, verify
from recurra.compiler.partition import partition
from recurra.compiler.stage import Staged

__all__ = ["LoopPlan", "Plan", "plan"]


@dataclass
class LoopPlan:
    """One loop: what it reads, carries and writes.

    constant: leaves without time or rows; per_call: leaves with rows and without time; per_step: leaves that are read
    at every step; before, after: the forward's states, read before and after the step they belong to (backward only);
    carried: what goes from step to step; histories: the same, kept for every step; results: what is written at every
    step; saved: those results that the backward alone reads.
    """

    constant: list[Value]
    per_call: list[Value]
    per_step: list[Value]
    before: list[Value]
    after: dict[int, Value]
    carried: list[Carry]
    histories: list[Carry]
    results: list[Value]
    saved: list[Value] = field(default_factory=list[Value])


@dataclass
class Plan:
    """Everything about one cell: the stages, the forward loop, what it saves, the backward loop and its epilogue.

    Of the results of the forward, the first `len(staged.outputs)` are the outputs, the others are saved. Those of the
    backward are first the gradients `step_grads` (by their number), then what the epilogue reads (`kept`).
    """

    staged: Staged
    forward: LoopPlan
    saved: list[Value]
    backward: LoopPlan | None = None
    derived: Backward | None = None
    step_grads: list[int] = field(default_factory=list[int])
    kept: list[Value] = field(default_factory=list[Value])
    outputs: list[Value] = field(default_factory=list[Value])
    new: list[Value] = field(default_factory=list[Value])


def plan(staged: Staged, derive: bool = True) -> Plan:
    """Run differentiate, canonicalise and partition; every graph is verified."""
    graph = staged.traced.graph
    graph.protect(staged.leaves)
    derived = differentiate(staged) if derive else None
    forward_roots = [*staged.outputs, *staged.new]
    carried = derived.carried if derived else []
    histories = derived.histories if derived else []
    step_grads = sorted(derived.step_grads) if derived else []
    kept = list(derived.kept) if derived else []
    backward_roots = [
        *(c.after for c in carried),
        *(c.after for c in histories),
        *(derived.step_grads[k] for k in step_grads if derived),
        *kept,
    ]
    incoming = {g for g in derived.output_grads if g is not None} if derived else set[Value]()
    incoming |= {c.before for c in (*carried, *histories)}
    leaves = set(staged.leaves)
    values = canonicalise(graph, [*forward_roots, *backward_roots], leaves | incoming)
    verify(values, leaves | incoming)
    outputs = values[: len(staged.outputs)]
    new = values[len(staged.outputs) : len(forward_roots)]
    rest = values[len(forward_roots) :]
    free = leaves | set(outputs) | set(new)
    saved = partition(rest, leaves, incoming, free) if derived else []
    states = [Carry(before, after) for before, after in zip(staged.state, new, strict=True)]
    kept_saved = [v for v in saved if v not in outputs and v not in new]
    forward = LoopPlan(
        staged.loop_once, staged.loop_call, staged.loop_steps, [], {}, states, [], [*outputs, *kept_saved], kept_saved
    )
    result = Plan(staged, forward, saved, None, derived, step_grads, kept, outputs, new)
    if derived is None:
        return result
    n, m = len(carried), len(histories)
    after = {k: v for k, v in enumerate(new) if v in saved}
    reads = [
        *staged.loop_steps,
        *(v for v in saved if v not in new),
        *(g for g in derived.output_grads if g is not None),
    ]
    result.backward = LoopPlan(
        staged.loop_once, staged.loop_call, list(dict.fromkeys(reads)), staged.state, after,
        [Carry(c.before, v) for c, v in zip(carried, rest[:n], strict=True)],
        [Carry(c.before, v) for c, v in zip(histories, rest[n : n + m], strict=True)],
        rest[n + m :],
    )  # fmt: skip
    return result
