"""Pass 4, partition: which of the forward's values the backward reads from memory, and which it computes again.

A minimal cut: a value costs its size to save, nothing if it is in memory anyway (inputs, states, outputs), and
everything behind it may be computed again, except matrix products, reductions and costly functions.
"""

from __future__ import annotations

from collections.abc import Iterable

from recurra.compiler.ir import Value, has_rows, row_size, topological
from recurra.compiler.operations import POINTWISE

__all__ = ["partition"]

_Node = tuple[int, int]
_INFINITE = 1e18
_SMALL = 0.01

_WIDTH = {"real": 1.0, "int": 2.0, "bool": 0.25}
"""What an entry of each kind weighs in memory."""


def partition(backward: Iterable[Value], leaves: set[Value], incoming: set[Value], free: set[Value]) -> list[Value]:
    """Return the forward values to save, in the order of their making.

    backward: what the backward loop computes; leaves: the forward loop's leaves; incoming: the leaves that hold
    gradients; free: forward values that are in memory anyway.
    """
    needed = _needed(list(backward), leaves, incoming)
    if not needed:
        return []
    values = topological(needed, leaves)
    capacity: dict[_Node | str, dict[_Node | str, float]] = {"source": {}, "sink": {}}

    def edge(a: _Node | str, b: _Node | str, c: float) -> None:
        capacity.setdefault(a, {})[b] = capacity.setdefault(a, {}).get(b, 0.0) + c
        capacity.setdefault(b, {}).setdefault(a, 0.0)

    for v in sorted(values, key=lambda v: v.id):
        edge((v.id, 0), (v.id, 1), _cost(v, leaves, free))
        if v in leaves or _lasting(v):
            edge("source", (v.id, 0), _INFINITE)
        if v not in leaves:
            for a in v.values:
                edge((a.id, 1), (v.id, 0), _INFINITE)
        if v in needed:
            edge((v.id, 1), "sink", _INFINITE)
    reached = _maximal_flow(capacity)
    cut = [v for v in values if (v.id, 0) in reached and (v.id, 1) not in reached and v.op != "fill"]
    return sorted((v for v in cut if v not in leaves), key=lambda v: v.id)


def _cost(v: Value, leaves: set[Value], free: set[Value]) -> float:
    if v.op == "fill" or v in leaves or v in free:
        return _SMALL
    return _WIDTH[v.kind] * row_size(v.shape) if has_rows(v.shape) else _INFINITE


def _lasting(v: Value) -> bool:
    """Tell whether a value is never computed twice. What is made of clocks is: it would fill memory for nothing."""
    if v.op in ("mm", "sum", "amax", "cat"):
        return True
    return v.kind == "real" and v.op in POINTWISE and POINTWISE[v.op].costly


def _needed(backward: list[Value], leaves: set[Value], incoming: set[Value]) -> set[Value]:
    """Return the forward values that the backward's own values use."""
    driven: set[Value] = set(incoming)
    order = topological(backward, leaves | incoming)
    for v in order:
        if v not in leaves and any(a in driven for a in v.values):
            driven.add(v)
    needed = {a for v in order if v in driven and v not in incoming for a in v.values if a not in driven}
    needed |= {v for v in backward if v not in driven}
    return {v for v in needed if v.op != "fill"}


def _maximal_flow(capacity: dict[_Node | str, dict[_Node | str, float]]) -> set[_Node | str]:
    """Push as much as can flow from source to sink; return the nodes that can still be reached."""
    while True:
        parent: dict[_Node | str, _Node | str | None] = {"source": None}
        queue: list[_Node | str] = ["source"]
        for u in queue:
            for w, c in capacity[u].items():
                if c > 1e-9 and w not in parent:
                    parent[w] = u
                    queue.append(w)
            if "sink" in parent:
                break
        if "sink" not in parent:
            return set(parent)
        path: list[tuple[_Node | str, _Node | str]] = []
        at: _Node | str = "sink"
        while (before := parent[at]) is not None:
            path.append((before, at))
            at = before
        flow = min(capacity[a][b] for a, b in path)
        for a, b in path:
            capacity[a][b] -= flow
            capacity[b][a] += flow
