"""What torch's operations on shapes and matrix products mean in the compiler's."""

from __future__ import annotations

from recurra.compiler.ir import Dims, Graph, Value, has_rows
from recurra.compiler.vocabulary import Call, refuse_rows, rule

__all__ = []


@rule("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "_reshape_alias")
def _reshape(c: Call) -> Value:
    return c.graph.reshape(c.args[0], c.shape)


@rule("expand")
def _expand(c: Call) -> Value:
    return c.graph.expand(c.args[0], c.shape)


@rule("repeat")
def _repeat(c: Call) -> Value:
    v, times = c.args
    v = c.graph.reshape(v, (*[1] * (len(times) - len(v.shape)), *v.shape))
    for dim, n in enumerate(times):
        if n != 1:
            refuse_rows(c, v, [dim])
            v = c.graph.cat([v] * n, dim)
    return v


@rule("permute")
def _permute(c: Call) -> Value:
    v = c.args[0]
    return c.graph.permute(v, [d % len(v.shape) for d in c.args[1]])


@rule("t")
def _t(c: Call) -> Value:
    return c.graph.permute(c.args[0], tuple(range(len(c.shape)))[::-1])


@rule("transpose")
def _transpose(c: Call) -> Value:
    v, a, b = c.args
    order = list(range(len(v.shape)))
    a, b = a % len(order), b % len(order)
    order[a], order[b] = b, a
    return c.graph.permute(v, order)


@rule("slice")
def _slice(c: Call) -> Value:
    v, dim, start, step = c.args[0], c.arg(1, 0, "dim"), c.arg(2, 0, "start") or 0, c.arg(4, 1, "step")
    dim %= len(v.shape)
    if v.shape == c.shape:
        return v
    refuse_rows(c, v, [dim])
    size = v.shape[dim]
    start = max(0, min(start + size if start < 0 else start, size))
    return c.graph.slice(v, dim, start, c.shape[dim], step)


@rule("select")
def _select(c: Call) -> Value:
    v, dim, index = c.args
    dim %= len(v.shape)
    refuse_rows(c, v, [dim])
    return c.graph.reshape(c.graph.slice(v, dim, index % v.shape[dim], 1), c.shape)


@rule("split", "split_with_sizes")
def _split(c: Call) -> list[Value]:
    v, dim = c.args[0], c.arg(2, 0, "dim")
    dim %= len(v.shape)
    refuse_rows(c, v, [dim])
    at, parts = 0, list[Value]()
    for shape in c.event.shapes:
        parts.append(c.graph.slice(v, dim, at, shape[dim]))
        at += shape[dim]
    return parts


@rule("unbind")
def _unbind(c: Call) -> list[Value]:
    v, dim = c.args[0], c.arg(1, 0, "dim")
    dim %= len(v.shape)
    refuse_rows(c, v, [dim])
    return [c.graph.reshape(c.graph.slice(v, dim, k, 1), s) for k, s in enumerate(c.event.shapes)]


@rule("cat")
def _cat(c: Call) -> Value:
    parts, dim = c.args[0], c.arg(1, 0, "dim") % len(c.shape)
    refuse_rows(c, c.graph.fill(0.0, c.shape, "real"), [dim])
    return c.graph.cat([c.real(p) if c.kind == "real" else p for p in parts], dim)


@rule("stack")
def _stack(c: Call) -> Value:
    dim = c.arg(1, 0, "dim") % len(c.shape)
    one = (*c.shape[:dim], 1, *c.shape[dim + 1 :])
    return c.graph.cat([c.graph.reshape(p, one) for p in c.args[0]], dim)


@rule("flip")
def _flip(c: Call) -> Value:
    v = c.args[0]
    dims = [d % len(v.shape) for d in c.args[1]]
    refuse_rows(c, v, dims)
    for d in dims:
        v = c.graph.slice(v, d, v.shape[d] - 1, v.shape[d], -1)
    return v


@rule("roll")
def _roll(c: Call) -> Value:
    v, shifts, dims = c.args[0], c.args[1], c.arg(2, [], "dims")
    if not dims:
        raise c.refuse("without dims it mixes the batch's rows")
    for shift, d in zip(shifts, dims, strict=True):
        d %= len(v.shape)
        refuse_rows(c, v, [d])
        size = v.shape[d]
        cut = -shift % size
        if cut:
            v = c.graph.cat([c.graph.slice(v, d, cut, size - cut), c.graph.slice(v, d, 0, cut)], d)
    return v


@rule("constant_pad_nd")
def _pad(c: Call) -> Value:
    v, widths, number = c.args[0], c.args[1], c.arg(2, 0.0, "value")
    for k in range(len(widths) // 2):
        dim = len(v.shape) - 1 - k
        for width, after in ((widths[2 * k], False), (widths[2 * k + 1], True)):
            if width == 0:
                continue
            refuse_rows(c, v, [dim])
            if width < 0:
                v = c.graph.slice(v, dim, 0 if after else -width, v.shape[dim] + width)
            else:
                fill = c.graph.fill(float(number), (*v.shape[:dim], width, *v.shape[dim + 1 :]), v.kind)
                v = c.graph.cat([v, fill] if after else [fill, v], dim)
    return v


@rule("mm")
def _mm(c: Call) -> Value | None:
    return _product(c, c.args[0], c.args[1])


@rule("addmm")
def _addmm(c: Call) -> Value:
    bias, a, b = c.args
    product, beta, alpha = _product(c, a, b), c.kwargs.get("beta", 1), c.kwargs.get("alpha", 1)
    product = product if alpha == 1 else c.point("mul", product, float(alpha))
    return c.point("add", product, bias if beta == 1 else c.point("mul", bias, float(beta)))


@rule("mv", "dot")
def _mv(c: Call) -> Value | None:
    a, v = c.args
    if has_rows(v.shape) or has_rows(a.shape):
        refuse_rows(c, v, [0])
        return c.graph.reshape(_product(c, a, c.graph.reshape(v, (v.shape[0], 1))), c.shape)
    return None


def _product(c: Call, a: Value, b: Value) -> Value:
    """Return a @ b, with the rows, if there are any, brought to the left."""
    if has_rows(b.shape):
        if b.shape[0] < 0 or has_rows(a.shape):
            raise c.refuse("it mixes the batch's rows")
        return c.graph.permute(c.graph.mm(c.graph.permute(b, (1, 0)), c.graph.permute(a, (1, 0))), (1, 0))
    if a.shape[1] < 0:
        raise c.refuse("it mixes the batch's rows")
    return c.graph.mm(a, b)


@rule("bmm")
def _bmm(c: Call) -> Value:
    a, b = c.args
    return _batched_product(c.graph, a, b, c)


@rule("baddbmm")
def _baddbmm(c: Call) -> Value:
    bias, a, b = c.args
    product = c.point("mul", _batched_product(c.graph, a, b, c), float(c.kwargs.get("alpha", 1)))
    return c.point("add", product, c.point("mul", bias, float(c.kwargs.get("beta", 1))))


def _batched_product(g: Graph, a: Value, b: Value, c: Call) -> Value:
    """Return the products of matrices (n, i, k) and (n, k, j)."""
    (n, i, k), j = a.shape, b.shape[2]
    shared_a, shared_b = _shared(a), _shared(b)
    if n < 0 and shared_b is not None and not has_rows(shared_b.shape):
        flat = g.mm(g.reshape(a, (n * i, k)), shared_b)
        return g.reshape(flat, (n, i, j))
    if n < 0 and shared_a is not None and not has_rows(shared_a.shape):
        flat = g.mm(g.reshape(g.permute(b, (0, 2, 1)), (n * j, k)), g.permute(shared_a, (1, 0)))
        return g.permute(g.reshape(flat, (n, j, i)), (0, 2, 1))
    if k < 0:
        raise c.refuse("it mixes the batch's rows")
    if n > 0 and i < 0 and not has_rows(b.shape):
        parts = [g.mm(_matrix(g, a, q), _matrix(g, b, q)) for q in range(c.fixed(n))]
        return g.cat([g.reshape(p, (1, i, j)) for p in parts], 0)
    if n > 0 and j < 0 and not has_rows(a.shape):
        flipped = _batched_product(g, g.permute(b, (0, 2, 1)), g.permute(a, (0, 2, 1)), c)
        return g.permute(flipped, (0, 2, 1))
    wide: Dims = (n, i, j, k)
    left = g.expand(g.reshape(a, (n, i, 1, k)), wide)
    right = g.expand(g.reshape(g.permute(b, (0, 2, 1)), (n, 1, j, k)), wide)
    return g.sum(g.point("mul", left, right), [3], keep=False)


def _shared(v: Value) -> Value | None:
    """Return the one matrix that all of a batch of matrices are, if they are."""
    return v.values[0] if v.op == "expand" and len(v.values[0].shape) == 2 else None


def _matrix(g: Graph, v: Value, index: int) -> Value:
    return g.reshape(g.slice(v, 0, index, 1), v.shape[1:])


@rule("unfold")
def _unfold(c: Call) -> Value:
    v, dim, size, step = c.args
    dim %= len(v.shape)
    refuse_rows(c, v, [dim])
    count = c.shape[dim]
    taps = [c.graph.slice(v, dim, k, count, step) for k in range(size)]
    return c.graph.cat([c.graph.reshape(t, (*t.shape, 1)) for t in taps], len(v.shape))
