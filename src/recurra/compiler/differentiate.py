"""Pass 3, differentiate: the loop's backward as a graph, and what of it can wait until after the loop.

Reverse accumulation over the loop's values gives the gradient of every leaf. Only what the gradients of the carried
state need must run step by step. The rest is an epilogue, run once over all T * B rows: contracting over the folded
rows *is* the sum over time, so that each weight's gradient is one matrix product.

If the gradient that is carried to the step before ends in matrix products, `d = a @ W + rest`, the loop carries a
and rest instead and the product opens the next step, where it feeds the pointwise part of that step directly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from recurra.compiler.ir import Graph, Value, ancestors, has_rows, topological
from recurra.compiler.operations import POINTWISE
from recurra.compiler.stage import Staged

__all__ = ["Backward", "Carry", "differentiate", "substitute"]


@dataclass(frozen=True)
class Carry:
    """Something that a loop carries: the leaf that holds it before a step, and its value after."""

    before: Value
    after: Value


@dataclass
class Backward:
    """The backward of the loop.

    output_grads: the leaf for the gradient of every loop output, None where it has none. carried: what is carried and
    needs only its latest value; histories: what is carried and is also kept for every step. finals: for every state its
    initial value's gradient, in terms of the leaves of what is carried; call_grads: the same for the context, whose
    gradient is a sum over time. first:
    the carry whose start is the gradient of each final state. step_grads: gradients of what changes with every step,
    made in the loop, by their number. kept: other values of the loop that the epilogue reads. epilogue_once,
    epilogue_steps: gradients that the epilogue makes, by number.
    """

    output_grads: list[Value | None]
    carried: list[Carry]
    histories: list[Carry]
    finals: list[Value | None]
    first: list[Value | None]
    call_grads: list[Value | None]
    step_grads: dict[int, Value]
    kept: list[Value]
    epilogue_once: dict[int, Value]
    epilogue_steps: dict[int, Value]


def differentiate(staged: Staged) -> Backward:
    """Return the loop's backward."""
    graph = staged.traced.graph
    output_grads = [_seed(graph, f"grad.output.{k}", v) for k, v in enumerate(staged.outputs)]
    state_grads = [_seed(graph, f"grad.state.{k}", v) for k, v in enumerate(staged.state)]
    seeds = [*zip(staged.outputs, output_grads, strict=True), *zip(staged.new, state_grads, strict=True)]
    grads = _accumulate(graph, [(v, g) for v, g in seeds if g is not None], staged.leaves)

    carries: list[Carry] = []
    for leaf, grad in zip(staged.state, state_grads, strict=True):
        if grad is not None:
            carries.append(Carry(grad, grads.get(leaf) or graph.fill(0.0, grad.shape, "real")))
    carried, histories, opened = _rotate(graph, carries)
    call_grads: list[Value | None] = []
    for k, leaf in enumerate(staged.loop_call):
        total, sums = _summed(graph, k, grads[leaf]) if leaf in grads else (None, [])
        call_grads.append(total)
        carried += sums
    once = {k: grads[v] for k, v in enumerate(staged.loop_once) if v in grads}
    steps = {k: grads[v] for k, v in enumerate(staged.loop_steps) if v in grads}
    roots = [*(c.after for c in carried), *(c.after for c in histories), *once.values(), *steps.values()]
    if opened:
        moved = substitute(graph, roots, opened)
        carried = [Carry(c.before, moved[c.after]) for c in carried]
        histories = [Carry(c.before, moved[c.after]) for c in histories]
        once = {k: moved[v] for k, v in once.items()}
        steps = {k: moved[v] for k, v in steps.items()}

    leaves = _all_leaves(staged, output_grads, carried, histories)
    driven = _driven(
        graph, [*once.values(), *steps.values(), *(c.after for c in carried + histories)], output_grads, carried
    )
    inner = ancestors([c.after for c in (*carried, *histories)], leaves)
    in_loop = {k: v for k, v in steps.items() if _light(v, inner, driven, leaves)}
    inner |= ancestors(in_loop.values(), leaves)
    late = {k: v for k, v in steps.items() if k not in in_loop}
    inner |= ancestors(_pointwise_sides([*once.values(), *late.values()], inner, driven, leaves), leaves)
    kept = _kept([*once.values(), *late.values()], inner, driven, leaves)
    return Backward(
        output_grads,
        carried,
        histories,
        [None if g is None else opened.get(g, g) for g in state_grads],
        [None if g is None else _start(g, opened) for g in state_grads],
        call_grads,
        in_loop,
        kept,
        once,
        late,
    )


def substitute(graph: Graph, roots: Iterable[Value], swap: Mapping[Value, Value]) -> dict[Value, Value]:
    """Rebuild everything under `roots` with some leaves replaced; return what became of every value."""
    new: dict[Value, Value] = {}
    for v in topological(roots):
        if v in swap:
            new[v] = swap[v]
        elif all(new[a] is a for a in v.values):
            new[v] = v
        else:
            args = [new[a] if isinstance(a, Value) else a for a in v.args]
            new[v] = graph.make(v.op, args, v.attrs, v.shape, v.kind)
    return new


def _seed(graph: Graph, name: str, v: Value) -> Value | None:
    return graph.input(name, v.shape, "real") if v.kind == "real" else None


def _start(grad: Value, opened: Mapping[Value, Value]) -> Value:
    """Return the leaf that holds a final state's gradient before the first step: the rest, if the gradient was
    opened."""
    if grad not in opened:
        return grad
    return next(a for a in topological([opened[grad]]) if a.op == "input" and a.attrs[0].startswith("rest."))


def _accumulate(graph: Graph, seeds: Sequence[tuple[Value, Value]], leaves: Sequence[Value]) -> dict[Value, Value]:
    order = topological([v for v, _ in seeds], leaves)
    known = set(leaves)
    wanted: set[Value] = set()
    for v in order:
        if (v in known or any(a in wanted for a in v.values)) and v.kind == "real" and v.op != "stop":
            wanted.add(v)
    parts: dict[Value, list[Value]] = {}
    for v, g in seeds:
        parts.setdefault(v, []).append(g)
    grads: dict[Value, Value] = {}
    for v in reversed(order):
        if v not in wanted or v not in parts:
            continue
        graph.where = v.where
        grads[v] = total = _total(graph, parts.pop(v))
        if v in known:
            continue
        for a, g in zip(v.args, _transposed(graph, v, total), strict=True):
            if isinstance(a, Value) and a in wanted and g is not None:
                parts.setdefault(a, []).append(graph.expand(g, a.shape))
    return grads


def _total(graph: Graph, parts: list[Value]) -> Value:
    """Add gradients up; pieces that lie side by side are joined instead."""
    embeds = [p for p in parts if p.op == "embed" and p.attrs[2] == 1]
    total: Value | None = None
    for p in parts:
        if p not in embeds:
            total = p if total is None else graph.point("add", total, p)
    while embeds:
        dim = embeds[0].attrs[0]
        row: list[Value] = []
        for e in sorted((e for e in embeds if e.attrs[0] == dim), key=lambda e: e.attrs[1]):
            if not row or e.attrs[1] >= row[-1].attrs[1] + row[-1].values[0].shape[dim]:
                row.append(e)
        embeds = [e for e in embeds if e not in row]
        joined = _side_by_side(graph, row, dim)
        total = joined if total is None else graph.point("add", total, joined)
    assert total is not None
    return total


def _side_by_side(graph: Graph, row: Sequence[Value], dim: int) -> Value:
    whole = row[0].shape
    pieces: list[Value] = []
    at = 0

    def gap(end: int) -> None:
        if end > at:
            pieces.append(graph.fill(0.0, (*whole[:dim], end - at, *whole[dim + 1 :]), "real"))

    for e in row:
        gap(e.attrs[1])
        pieces.append(e.values[0])
        at = e.attrs[1] + e.values[0].shape[dim]
    gap(whole[dim])
    return graph.cat(pieces, dim)


def _transposed(g: Graph, v: Value, grad: Value) -> Sequence[Value | None]:
    """Return the gradients of v's arguments."""
    if v.op in POINTWISE:
        derivative = POINTWISE[v.op].derivative
        return [None] * len(v.args) if derivative is None else derivative(g, v.args, v, grad)
    if v.op == "mm":
        result: list[Value | None] = []
        for a, w in zip(v.values[::2], v.values[1::2], strict=True):
            result += [_product(g, grad, g.permute(w, (1, 0))), _product(g, g.permute(a, (1, 0)), grad)]
        return result
    if v.op == "cat":
        dim, at, result = v.attrs[0], 0, []
        for a in v.values:
            result.append(g.slice(grad, dim, at, a.shape[dim]))
            at += a.shape[dim]
        return result
    (a,) = v.values
    if v.op == "reshape":
        return [g.reshape(grad, a.shape)]
    if v.op == "expand":
        lead = len(v.shape) - len(a.shape)
        dims = [d for d, n in enumerate(v.shape) if d < lead or a.shape[d - lead] != n]
        return [g.reshape(g.sum(grad, dims), a.shape)]
    if v.op == "permute":
        order = v.attrs[0]
        return [g.permute(grad, [order.index(d) for d in range(len(order))])]
    if v.op == "slice":
        return [_embedded(g, grad, a, *v.attrs)]
    if v.op == "embed":
        dim, start, step = v.attrs
        return [g.slice(grad, dim, start, a.shape[dim], step)]
    if v.op == "sum":
        return [g.expand(grad, a.shape)]
    assert v.op == "amax", v
    best = g.point("to_real", g.point("eq", a, g.expand(v, a.shape)))
    share = g.point("div", grad, g.sum(best, v.attrs[0]))
    return [g.point("mul", best, g.expand(share, a.shape))]


def _product(g: Graph, a: Value, w: Value) -> Value:
    """Return a @ w. Not `Graph.mm`, which would split a joined a: one product over everything is faster."""
    if a.op == "fill" or w.op == "fill":
        return g.mm(a, w)
    return g.make("mm", (a, w), (), (a.shape[0], w.shape[1]), "real")


def _embedded(g: Graph, grad: Value, a: Value, dim: int, start: int, step: int) -> Value:
    size, length = a.shape[dim], grad.shape[dim]
    if step < 0:
        grad = g.slice(grad, dim, length - 1, length, -1)
        start, step = start + (length - 1) * step, -step
    if length == size:
        return grad
    if step == 1 or length == 1:
        return g.make("embed", (grad,), (dim, start, 1), a.shape, "real")
    return g.make("embed", (grad,), (dim, start, step), a.shape, "real")


def _rotate(graph: Graph, carries: Sequence[Carry]) -> tuple[list[Carry], list[Carry], dict[Value, Value]]:
    """Open the carries that end in matrix products; return carries, histories, and what the opened leaves become."""
    carried: list[Carry] = []
    histories: dict[Value, Carry] = {}
    opened: dict[Value, Value] = {}
    for k, c in enumerate(carries):
        terms = _terms(c.after)
        products = [t for t in terms if t.op == "mm" and len(t.shape) == 2 and t.shape[0] == -1]
        if not products or len(products) > 4:
            carried.append(c)
            continue
        rest: Value | None = None
        for t in terms:
            if t not in products:
                rest = t if rest is None else graph.point("add", rest, t)
        held = graph.input(f"rest.{k}", c.before.shape, "real")
        carried.append(Carry(held, rest if rest is not None else graph.fill(0.0, held.shape, "real")))
        whole = held
        for t in products:
            a, w = t.values
            if a not in histories:
                histories[a] = Carry(graph.input(f"previous.{len(histories)}", a.shape, "real"), a)
            whole = graph.point("add", whole, graph.make("mm", (histories[a].before, w), (), t.shape, "real"))
        opened[c.before] = whole
    return carried, list(histories.values()), opened


def _summed(graph: Graph, k: int, grad: Value) -> tuple[Value, list[Carry]]:
    """Return the gradient of the context's entry k, and the sums over time that it is made of.

    Of a product with a weight, `a @ W`, only a is summed up in the loop: the product follows it once.
    """
    total: Value | None = None
    carries: list[Carry] = []
    rest: Value | None = None
    for t in _terms(grad):
        if t.op != "mm" or len(t.values) != 2 or len(t.shape) != 2 or t.shape[0] != -1:
            rest = t if rest is None else graph.point("add", rest, t)
            continue
        a, w = t.values
        held = graph.input(f"grad.call.{k}.{len(carries)}", a.shape, "real")
        carries.append(Carry(held, graph.point("add", held, a)))
        product = graph.make("mm", (held, w), (), t.shape, "real")
        total = product if total is None else graph.point("add", total, product)
    if rest is not None:
        held = graph.input(f"grad.call.{k}", grad.shape, "real")
        carries.append(Carry(held, graph.point("add", held, rest)))
        total = held if total is None else graph.point("add", total, held)
    assert total is not None
    return total, carries


def _terms(v: Value) -> list[Value]:
    if v.op == "add" and len(v.values) == 2:
        return [*_terms(v.values[0]), *_terms(v.values[1])]
    return [v]


def _all_leaves(
    staged: Staged, output_grads: Sequence[Value | None], carried: Sequence[Carry], histories: Sequence[Carry]
) -> set[Value]:
    found = {*staged.leaves, *(g for g in output_grads if g is not None)}
    return found | {c.before for c in (*carried, *histories)}


def _driven(
    graph: Graph, roots: Iterable[Value], output_grads: Sequence[Value | None], carried: Sequence[Carry]
) -> set[Value]:
    """Return the values that depend on gradients that come in."""
    driven = {g for g in output_grads if g is not None} | {c.before for c in carried}
    for v in topological(roots):
        if (v.op == "input" and v.attrs[0].startswith(("grad.", "rest.", "previous."))) or any(
            a in driven for a in v.values
        ):
            driven.add(v)
    return driven


def _light(v: Value, inner: set[Value], driven: set[Value], leaves: set[Value]) -> bool:
    """Tell whether a gradient can be made in the loop without any further matrix product or sum over rows."""
    for a in topological([v], inner | leaves):
        if a in inner or a in leaves:
            continue
        if _over_rows(a):
            return False
    return has_rows(v.shape)


def _pointwise_sides(roots: Sequence[Value], inner: set[Value], driven: set[Value], leaves: set[Value]) -> list[Value]:
    """Return what the epilogue's products and sums over rows are made of, where the loop can make it without any
    product more: there it costs a pass over registers, in the epilogue several over memory."""
    found: dict[Value, None] = {}
    stack = [a for v in topological(roots, inner | leaves) if _over_rows(v) for a in v.values]
    while stack:
        v = stack.pop()
        if v in inner or v in leaves:
            continue
        if v.op in ("permute", "cat", "slice"):
            stack.extend(v.values)
        elif v in driven and _light(v, inner, driven, leaves):
            found[v] = None
    return list(found)


def _over_rows(v: Value) -> bool:
    return v.op == "mm" or (v.op == "sum" and any(v.values[0].shape[d] < 0 for d in v.attrs[0]))


def _kept(roots: Iterable[Value], inner: set[Value], driven: set[Value], leaves: set[Value]) -> list[Value]:
    """Return the loop's values on which the epilogue stands: the first ones on the way down from its results."""
    kept: set[Value] = set()
    seen: set[Value] = set()
    stack = list(roots)
    while stack:
        v = stack.pop()
        if v in seen or (v in leaves and v.op != "input"):
            continue
        seen.add(v)
        if v in leaves:
            if v.attrs and isinstance(v.attrs[0], str) and v.attrs[0].startswith(("grad.", "rest.", "previous.")):
                kept.add(v)
            continue
        if v.op in ("permute", "reshape", "expand", "slice", "fill", "stop"):
            stack.extend(v.values)
        elif v in inner or v not in driven:
            kept.add(v)
        else:
            stack.extend(v.values)
    return sorted(kept, key=lambda v: v.id)
