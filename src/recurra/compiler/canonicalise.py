"""Between differentiate and partition: the same values in the form that makes the best loops.

pull    a pointwise operation on joined pieces becomes the join of operations on the pieces
sink    a value that is used only in slices is computed slice by slice; so the gates of a cell become separate values
        of one shape, each with the columns of the weights that it needs
merge   sums of matrix products become one value that adds up in the same accumulators
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from recurra.compiler.ir import Arg, Graph, Value, topological
from recurra.compiler.operations import POINTWISE

__all__ = ["canonicalise"]

_Cut: TypeAlias = tuple[int, int, int]
"""A slice: dimension, start, length."""


def canonicalise(graph: Graph, roots: Sequence[Value], leaves: Iterable[Value]) -> list[Value]:
    """Return the roots in canonical form; nothing behind a leaf is touched."""
    stop = set(leaves)
    values = _pull(graph, list(roots), stop)
    values = _sink(graph, values, stop)
    return _merge(graph, values, stop)


def _pull(graph: Graph, roots: list[Value], leaves: set[Value]) -> list[Value]:
    new: dict[Value, Value] = {}
    for v in topological(roots, leaves):
        if v in leaves or not v.args:
            new[v] = v
            continue
        graph.where = v.where
        args = [new[a] if isinstance(a, Value) else a for a in v.args]
        joined = next((a for a in args if isinstance(a, Value) and a.op == "cat" and a not in leaves), None)
        if v.op == "stop" and isinstance(args[0], Value):
            # Gradients have been made: what stopped them is of no more use.
            new[v] = args[0]
        elif v.op in POINTWISE and joined is not None:
            new[v] = _piecewise(graph, v, args, joined)
        elif v.op == "embed":
            new[v] = _filled_up(graph, v, args[0])
        elif v.op == "slice" and isinstance(args[0], Value):
            dim, start, step = v.attrs
            new[v] = graph.slice(args[0], dim, start, v.shape[dim], step)
        else:
            new[v] = graph.make(v.op, args, v.attrs, v.shape, v.kind)
    return [new[r] for r in roots]


def _piecewise(graph: Graph, v: Value, args: Sequence[Arg], joined: Value) -> Value:
    dim, at, pieces = joined.attrs[0], 0, list[Value]()
    for part in joined.values:
        length = part.shape[dim]
        cut = [graph.slice(a, dim, at, length) if isinstance(a, Value) else a for a in args]
        pieces.append(graph.point(v.op, *cut, kind=v.kind))
        at += length
    return graph.cat(pieces, dim)


def _filled_up(graph: Graph, v: Value, part: Arg) -> Value:
    """Return zeros with a part written into them as a join."""
    dim, start, step = v.attrs
    assert isinstance(part, Value)
    if step != 1:
        # Each entry is followed by the zeros between it and the next; after the last one they may be too many.
        size, length, at = v.shape[dim], part.shape[dim], dim + 1
        wide = graph.reshape(part, (*part.shape[:at], 1, *part.shape[at:]))
        gap = graph.fill(0.0, (*wide.shape[:at], step - 1, *wide.shape[at + 1 :]), "real")
        part = graph.reshape(graph.cat([wide, gap], at), (*v.shape[:dim], length * step, *v.shape[at:]))
        part = graph.slice(part, dim, 0, min(length * step, size - start))
    end = start + part.shape[dim]
    before, after = ((*v.shape[:dim], n, *v.shape[dim + 1 :]) for n in (start, v.shape[dim] - end))
    return graph.cat([graph.fill(0.0, before, "real"), part, graph.fill(0.0, after, "real")], dim)


def _sink(graph: Graph, roots: list[Value], leaves: set[Value]) -> list[Value]:
    order = topological(roots, leaves)
    wanted: dict[Value, set[_Cut | None]] = {r: {None} for r in roots}
    split: dict[Value, list[_Cut]] = {}
    for v in reversed(order):
        if v in leaves:
            continue
        cuts = wanted.get(v, {None})
        pieces = _disjoint(cuts) if v.op in POINTWISE or v.op == "mm" else None
        if pieces is not None and v.op == "mm" and pieces[0][0] != 1:
            pieces = None
        if pieces is not None:
            split[v] = pieces
        for k, a in enumerate(v.values):
            asked: set[_Cut | None] = {None}
            if v.op in POINTWISE and pieces is not None:
                asked = set(pieces)
            elif v.op == "mm" and k % 2:
                asked = set()
            elif v.op == "slice" and v.attrs[2] == 1:
                asked = {(v.attrs[0], v.attrs[1], v.shape[v.attrs[0]])} if cuts == {None} else {None}
            wanted.setdefault(a, set()).update(asked)
    new: dict[Value, Value] = {}
    parts: dict[tuple[Value, _Cut], Value] = {}

    def take(v: Value, cut: _Cut) -> Value:
        if v not in split:
            return graph.slice(new[v], cut[0], cut[1], cut[2])
        key = (v, cut)
        if key not in parts:
            if v.op == "mm":
                args: list[Arg] = [
                    graph.slice(new[a], 1, cut[1], cut[2]) if k % 2 else new[a] for k, a in enumerate(v.values)
                ]
                parts[key] = graph.make("mm", args, (), (v.shape[0], cut[2]), v.kind)
            else:
                cut_args = [take(a, cut) if isinstance(a, Value) else a for a in v.args]
                parts[key] = graph.point(v.op, *cut_args, kind=v.kind)
            parts[key].where = parts[key].where or v.where
        return parts[key]

    for v in order:
        if v in leaves or not v.args:
            new[v] = v
        elif v.op == "slice" and v.values[0] in split:
            new[v] = take(v.values[0], (v.attrs[0], v.attrs[1], v.shape[v.attrs[0]]))
        elif v not in split:
            new[v] = _rebuilt(graph, v, [new[a] if isinstance(a, Value) else a for a in v.args])
    return [new[r] for r in roots]


def _rebuilt(graph: Graph, v: Value, args: Sequence[Arg]) -> Value:
    if v.op == "slice" and isinstance(args[0], Value):
        dim, start, step = v.attrs
        return graph.slice(args[0], dim, start, v.shape[dim], step)
    return graph.make(v.op, args, v.attrs, v.shape, v.kind)


def _disjoint(cuts: set[_Cut | None]) -> list[_Cut] | None:
    """Return the slices that are all that is wanted of a value, if they do not overlap."""
    if None in cuts or not cuts:
        return None
    pieces = sorted(c for c in cuts if c is not None)
    if len({c[0] for c in pieces}) > 1:
        return None
    if any(a[1] + a[2] > b[1] for a, b in itertools.pairwise(pieces)):
        return None
    return pieces


def _merge(graph: Graph, roots: list[Value], leaves: set[Value]) -> list[Value]:
    order = topological(roots, leaves)
    uses: dict[Value, int] = {}
    for used in [*roots, *(a for v in order if v not in leaves for a in v.values)]:
        uses[used] = uses.get(used, 0) + 1
    new: dict[Value, Value] = {}
    for v in order:
        if v in leaves or not v.args:
            new[v] = v
            continue
        args = [new[a] if isinstance(a, Value) else a for a in v.args]
        new[v] = graph.make(v.op, args, v.attrs, v.shape, v.kind)
        if v.op != "add" or len(v.values) != 2:
            continue
        terms = _terms(v, uses, leaves)
        products = [t for t in terms if t.op == "mm" and t not in leaves and uses[t] == 1]
        if len(products) < 2:
            continue
        pairs = [new[a] for t in products for a in t.values]
        total = graph.make("mm", pairs, (), v.shape, v.kind)
        total.where = total.where or v.where
        for t in terms:
            if t not in products:
                total = graph.point("add", total, new[t])
        new[v] = total
    return [new[r] for r in roots]


def _terms(v: Value, uses: dict[Value, int], leaves: set[Value], top: bool = True) -> list[Value]:
    if v.op == "add" and v not in leaves and len(v.values) == 2 and (top or uses[v] == 1):
        return [t for a in v.values for t in _terms(a, uses, leaves, False)]
    return [v]
