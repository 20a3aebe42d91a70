"""What torch's reductions, normalisations and cumulated sums mean in the compiler's operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recurra.compiler.ir import Value, row_size
from recurra.compiler.varying import varies
from recurra.compiler.vocabulary import Call, refuse_rows, rule

__all__ = []


def _dims(c: Call, v: Value, given: Any) -> list[int]:
    dims = range(len(v.shape)) if given is None or given == [] else [given] if isinstance(given, int) else given
    found = [d % len(v.shape) for d in dims]
    refuse_rows(c, v, found)
    return found


@rule("sum", "mean", "amax", "amin")
def _reduce(c: Call) -> Value:
    v = c.args[0] if c.event.name.startswith("am") else c.real(c.args[0])
    dims, keep = _dims(c, v, c.arg(1, None, "dim")), c.arg(2, False, "keepdim")
    if c.kind == "int" and isinstance(c.args[0], Value) and c.args[0].kind == "bool":
        return c.graph.point("to_int", c.graph.sum(v, dims, keep))
    if c.kind == "int":
        raise c.refuse("of integers")
    if c.event.name == "amax":
        return c.graph.amax(v, dims, keep)
    if c.event.name == "amin":
        return c.point("neg", c.graph.amax(c.point("neg", v), dims, keep))
    total = c.graph.sum(v, dims, keep)
    return total if c.event.name == "sum" else _shared_out(c, total, _count(v, dims))


def _count(v: Value, dims: Sequence[int]) -> int:
    count = 1
    for d in dims:
        count *= v.shape[d]
    return count


def _shared_out(c: Call, total: Value, count: int) -> Value:
    """Return total / count; a product with 1 / count, which is quicker, where the count is known."""
    return c.point("div", total, float(count)) if varies(count) else c.point("mul", total, 1.0 / count)


def _centred(c: Call, v: Value, dims: Sequence[int]) -> tuple[Value, Value, Value]:
    """Return mean, v less its mean, and the mean of the squares of that."""
    count = _count(v, dims)
    mean = _shared_out(c, c.graph.sum(v, dims), count)
    centred = c.point("sub", v, mean)
    return mean, centred, _shared_out(c, c.graph.sum(c.point("mul", centred, centred), dims), count)


@rule("var", "std", "var_mean")
def _var(c: Call) -> Any:
    v = c.args[0]
    dims, correction = _dims(c, v, c.arg(1, None, "dim")), c.kwargs.get("correction", 1)
    keep = c.kwargs.get("keepdim", False)
    count = _count(v, dims)
    mean, _, variance = _centred(c, v, dims)
    fewer = count - (1 if correction is None else correction)
    if varies(count):
        variance = c.point("div", c.point("mul", variance, float(count)), float(fewer))
    else:
        variance = c.point("mul", variance, count / fewer)
    if not keep:
        mean, variance = (c.graph.reshape(q, c.shape) for q in (mean, variance))
    if c.event.name == "var_mean":
        return variance, mean
    return c.point("sqrt", variance) if c.event.name == "std" else variance


@rule("linalg_vector_norm")
def _norm(c: Call) -> Value:
    v, order = c.args[0], c.arg(1, 2, "ord")
    dims, keep = _dims(c, v, c.arg(2, None, "dim")), c.arg(3, False, "keepdim")
    if order == 1:
        return c.graph.sum(c.point("abs", v), dims, keep)
    if order != 2:
        raise c.refuse(f"of order {order}")
    total = c.graph.sum(c.point("mul", v, v), dims, keep)
    # torch takes 0 for the slope at 0, where the square root has none.
    empty = c.point("eq", total, 0.0)
    root = c.point("sqrt", c.graph.point("where", empty, 1.0, total))
    return c.graph.point("where", empty, 0.0, root)


@rule("native_layer_norm")
def _layer_norm(c: Call) -> tuple[Value, Value, Value]:
    v, sizes, weight, bias, epsilon = c.args
    dims = list(range(len(v.shape) - len(sizes), len(v.shape)))
    mean, centred, variance = _centred(c, v, dims)
    scale = c.point("rsqrt", c.point("add", variance, float(epsilon)))
    return _affine(c, c.point("mul", centred, scale), weight, bias), mean, scale


@rule("_fused_rms_norm")
def _rms_norm(c: Call) -> tuple[Value, Value]:
    v, sizes, weight, epsilon = c.args
    dims = list(range(len(v.shape) - len(sizes), len(v.shape)))
    epsilon = 1.1920928955078125e-07 if epsilon is None else float(epsilon)
    power = _shared_out(c, c.graph.sum(c.point("mul", v, v), dims), _count(v, dims))
    scale = c.point("rsqrt", c.point("add", power, epsilon))
    return _affine(c, c.point("mul", v, scale), weight, None), scale


@rule("native_group_norm")
def _group_norm(c: Call) -> tuple[Value, Value, Value]:
    v, weight, bias, _, channels, _, groups, epsilon = c.args
    rows, size = v.shape[0], row_size(v.shape)
    mean, centred, variance = _centred(c, c.graph.reshape(v, (rows, groups, size // groups)), [2])
    scale = c.point("rsqrt", c.point("add", variance, float(epsilon)))
    each = (channels, *[1] * (len(v.shape) - 2))
    weight, bias = (None if w is None else c.graph.reshape(w, each) for w in (weight, bias))
    out = _affine(c, c.graph.reshape(c.point("mul", centred, scale), v.shape), weight, bias)
    return out, c.graph.reshape(mean, (rows, groups)), c.graph.reshape(scale, (rows, groups))


def _affine(c: Call, v: Value, weight: Value | None, bias: Value | None) -> Value:
    v = v if weight is None else c.point("mul", v, weight)
    return v if bias is None else c.point("add", v, bias)


@rule("_softmax", "_log_softmax")
def _softmax(c: Call) -> Value:
    v, dims = c.args[0], [c.args[1] % len(c.args[0].shape)]
    refuse_rows(c, v, dims)
    shifted = c.point("sub", v, c.graph.stop(c.graph.amax(v, dims)))
    powers = c.point("exp", shifted)
    total = c.graph.sum(powers, dims)
    if c.event.name == "_softmax":
        return c.point("mul", powers, c.point("div", 1.0, total))
    return c.point("sub", shifted, c.point("log", total))


@rule("logsumexp")
def _logsumexp(c: Call) -> Value:
    v = c.args[0]
    dims = _dims(c, v, c.args[1])
    top = c.graph.stop(c.graph.amax(v, dims))
    total = c.point("add", c.point("log", c.graph.sum(c.point("exp", c.point("sub", v, top)), dims)), top)
    return c.graph.reshape(total, c.shape)


@rule("cumsum", "cumprod")
def _cumulated(c: Call) -> Value:
    """By doubling: entries joined with those 1, 2, 4, ... before them."""
    v, dim, join = c.args[0], c.args[1] % len(c.shape), "add" if c.event.name == "cumsum" else "mul"
    refuse_rows(c, v, [dim])
    if c.kind != "real":
        raise c.refuse("of integers")
    size, near = c.fixed(v.shape[dim]), 1
    v = c.real(v)
    while near < size:
        joined = c.point(join, c.graph.slice(v, dim, near, size - near), c.graph.slice(v, dim, 0, size - near))
        v = c.graph.cat([c.graph.slice(v, dim, 0, near), joined], dim)
        near *= 2
    return v


@rule("prod")
def _prod(c: Call) -> Value | None:
    """By halves; no division, so that zeros have their gradient."""
    v, dim, keep = c.args[0], c.arg(1, None, "dim"), c.arg(2, False, "keepdim")
    if dim is None:
        refuse_rows(c, v, range(len(v.shape)))
        return None
    if c.kind != "real":
        raise c.refuse("of integers")
    dim %= len(v.shape)
    refuse_rows(c, v, [dim])
    v = c.real(v)
    c.fixed(v.shape[dim])
    while v.shape[dim] > 1:
        half, odd = divmod(v.shape[dim], 2)
        rest = c.graph.slice(v, dim, 2 * half, odd)
        product = c.point("mul", c.graph.slice(v, dim, 0, half), c.graph.slice(v, dim, half, half))
        v = c.graph.cat([product, rest], dim) if odd else product
    return v if keep else c.graph.reshape(v, c.shape)
