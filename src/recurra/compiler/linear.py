"""Which steps are linear in their state, and by what: s_t = A_t s_{t-1} + b_t, with A_t and b_t free of s.

Found from the traced step, never declared. States that need one another form a group; groups are solved one after the
other, and what an earlier one gave counts as input for the later ones (a gate may look at a delay line). Within a group
every operation between the old state and the new must be linear in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import MOVES, Graph, Value, ancestors, has_rows, row_size, topological
from recurra.compiler.operations import POINTWISE
from recurra.compiler.trace import Traced

__all__ = ["Recurrence", "recurrences"]

_Places = NDArray[np.int64]
_FREE, _SEVERAL = -1, -2


@dataclass(frozen=True)
class Recurrence:
    """A group of states that is linear in itself.

    members: the states' numbers; kind: "none" (the new state does not depend on the old), "delay" (entries move on
    unchanged until they are lost), "diagonal" (each entry depends on itself alone), "matrix" (a matrix that is the same
    at every step), "changing matrix". change: for each member what A makes of `seeds`, the leaves that stand for a
    change of the old states. places, of a delay: the entry that each entry is taken from, -1 for a new one.
    """

    members: tuple[int, ...]
    kind: str
    change: tuple[Value, ...]
    seeds: tuple[Value, ...]
    places: tuple[int, ...] = ()


def recurrences(traced: Traced) -> list[Recurrence]:
    """Return the groups in an order in which they can be solved.

    Raises Unsupported at the first operation that is not linear in the state.
    """
    needs = [{k for k, s in enumerate(traced.state) if s in ancestors([new])} for new in traced.new]
    return [_recurrence(traced, members, needs) for members in _groups(needs)]


def _groups(needs: Sequence[set[int]]) -> list[tuple[int, ...]]:
    """Return sets of states that need one another, those first that the others need."""
    reach = [set(n) for n in needs]
    for _ in needs:
        for k, n in enumerate(reach):
            reach[k] = n.union(*(reach[j] for j in n))
    groups = {tuple(sorted({k} | {j for j in n if k in reach[j]})) for k, n in enumerate(reach)}
    return sorted(groups, key=lambda group: (len(set().union(*(reach[k] for k in group)) | set(group)), group))


def _recurrence(traced: Traced, members: tuple[int, ...], needs: Sequence[set[int]]) -> Recurrence:
    old = [traced.state[k] for k in members]
    new = [traced.new[k] for k in members]
    if len(members) == 1 and members[0] not in needs[members[0]]:
        return Recurrence(members, "none", (), ())
    places = _places(old[0], new[0]).reshape(-1)
    if len(members) == 1 and _moves_on(old[0], new[0], places):
        return Recurrence(members, "delay", (), (), tuple(places.tolist()))
    graph = traced.graph
    seeds = tuple(graph.input(f"change.{k}", s.shape, s.kind) for k, s in zip(members, old, strict=True))
    changes = _changes(graph, dict(zip(old, seeds, strict=True)), new)
    change = tuple(graph.fill(0, n.shape, n.kind) if (made := changes.get(n)) is None else made for n in new)
    if len(members) == 1 and bool(np.all((places == _FREE) | (places == np.arange(len(places))))):
        return Recurrence(members, "diagonal", change, seeds)
    leaves = [v for v in topological(change) if v.op == "input" and v not in seeds]
    changing = any(has_rows(v.shape) for v in leaves)
    if any(v.kind != "real" for v in new):
        raise Unsupported("linear", "integers that need one another")
    return Recurrence(members, "changing matrix" if changing else "matrix", change, seeds)


def _changes(graph: Graph, seeds: dict[Value, Value], roots: Sequence[Value]) -> dict[Value, Value]:
    """Return by how much every value changes where the leaves change by their seeds."""
    change: dict[Value, Value] = dict(seeds)
    for v in topological(roots):
        if v in change or not any(a in change for a in v.values):
            continue
        made = _change(graph, v, change)
        if made is None:
            raise Unsupported(v.op, "not linear in the state", v.where)
        change[v] = made
    return change


def _change(graph: Graph, v: Value, change: dict[Value, Value]) -> Value | None:
    """Return v's change, given that of its arguments; None where the operation is not linear in them."""
    parts = [change.get(a) if isinstance(a, Value) else None for a in v.args]
    op, (first, *rest) = v.op, parts
    match op:
        case "add" | "sub":
            (second,) = rest
            if first is not None and second is not None:
                return graph.point(op, first, second)
            if second is not None and op == "sub":
                return graph.point("neg", second)
            return first if second is None else second
        case "neg" | "to_real" if first is not None:
            return graph.point(op, first)
        case "mul":
            (second,) = rest
            if first is not None and second is not None:
                return None
            return graph.point("mul", v.args[0] if first is None else first, v.args[1] if second is None else second)
        case "div" if first is not None and rest == [None]:
            return graph.point("div", first, v.args[1])
        case "where" if first is None:
            chosen = [graph.fill(0, v.shape, v.kind) if p is None else p for p in rest]
            return graph.point("where", v.args[0], *chosen)
        case "mm":
            return _product(graph, v, parts)
        case "cat":
            pairs = zip(v.values, parts, strict=True)
            joined = [graph.fill(0, a.shape, a.kind) if p is None else p for a, p in pairs]
            return graph.cat(joined, v.attrs[0])
        case "reshape" | "permute" | "expand" | "slice" | "sum" | "embed" if first is not None:
            return graph.make(op, (first,), v.attrs, v.shape, v.kind)
        case _:
            return None


def _product(graph: Graph, v: Value, parts: list[Value | None]) -> Value | None:
    total: Value | None = None
    for a, w, weight in zip(parts[::2], parts[1::2], v.values[1::2], strict=True):
        if w is not None:
            return None
        if a is not None:
            product = graph.mm(a, weight)
            total = product if total is None else graph.point("add", total, product)
    return total


def _moves_on(old: Value, new: Value, places: _Places) -> bool:
    """Tell whether entries of the state are only moved, and each is lost in the end."""
    touched = {old}
    for v in topological([new]):
        if v not in touched and any(a in touched for a in v.values):
            if v.op not in (*MOVES, "cat"):
                return False
            touched.add(v)
    source = places
    for _ in places:
        source = np.where(source < 0, source, places[source])
    return bool((source == _FREE).all())


def _places(old: Value, new: Value) -> _Places:
    """Return for every entry of `new`, in a batch of one, the one entry of `old` that it depends on.

    -1 where it depends on none, -2 where on several.
    """
    known: dict[Value, _Places] = {}
    for v in topological([new]):
        shape = tuple(abs(d) for d in v.shape)
        parts = [known[a] for a in v.values]
        if v is old:
            known[v] = np.arange(row_size(v.shape)).reshape(shape)
        elif all((p == _FREE).all() for p in parts):
            known[v] = np.full(shape, _FREE)
        elif v.op in POINTWISE:
            known[v] = _combined(np.stack(np.broadcast_arrays(*parts)))
        else:
            known[v] = _moved(v, parts, shape)
    return known[new]


def _combined(parts: _Places) -> _Places:
    """Combine along the first dimension: one place if all that depend on any depend on the same."""
    top = parts.max(0)
    agree = ((parts == _FREE) | (parts == top)).all(0)
    return np.where(agree, top, _SEVERAL)


def _moved(v: Value, parts: list[_Places], shape: tuple[int, ...]) -> _Places:
    (first, *_), attrs = parts, v.attrs
    match v.op:
        case "reshape":
            return first.reshape(shape)
        case "permute":
            return first.transpose(attrs[0])
        case "expand":
            return np.broadcast_to(first, shape)
        case "slice":
            dim, start, step = attrs
            return np.take(first, start + step * np.arange(shape[dim]), dim)
        case "embed":
            dim, start, step = attrs
            whole: Any = np.full(shape, _FREE)
            np.moveaxis(whole, dim, 0)[start + step * np.arange(first.shape[dim])] = np.moveaxis(first, dim, 0)
            return whole
        case "cat":
            return np.concatenate(parts, attrs[0])
        case "stop":
            return first
        case _:
            return np.full(shape, _SEVERAL)
