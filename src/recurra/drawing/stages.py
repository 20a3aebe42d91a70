"""When each value of a step is worked out: before the loop over time, in it, or after it."""

from __future__ import annotations

from recurra.drawing.step_graph import CONTEXT, INPUT, STATE, Node, StepGraph, inputs_first

__all__ = ["STAGES", "stage_of", "values_after"]

_PRODUCTS = frozenset(("matrix", "convolution", "product"))

STAGES = {
    "once": "once (parameters only)",
    "call": "once a call (context)",
    "before": "before the loop (input only)",
    "loop": "in the loop (old state)",
    "after": "after the loop (output only)",
}
"""The stages, in order, as a legend says them."""


def stage_of(needs: int, after: bool = False) -> str:
    """Return the stage of a value that depends on these things, by the rule of `recurra.compiler.stage`."""
    if after:
        return "after"
    if needs & STATE:
        return "loop"
    if needs & INPUT:
        return "before"
    return "call" if needs & CONTEXT else "once"


def values_after(graph: StepGraph) -> set[Node]:
    """Return what only the output needs, from the first matrix product on: no step waits for it."""
    carried = set(inputs_first(graph.new))
    # A product of which another part is carried is one product all the same.
    waited = {e for v in carried if v.op in _PRODUCTS and v.needs & STATE for e in v.events}
    after: set[Node] = set()
    for v in graph.order():
        if v in carried or not v.needs & STATE:
            continue
        if (v.op in _PRODUCTS and not v.events & waited) or any(a in after for a in v.nodes):
            after.add(v)
    if any(a.needs & CONTEXT for v in after for a in v.nodes) or graph.y not in after:
        return set()
    return after
