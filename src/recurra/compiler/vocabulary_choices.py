"""What torch's operations that choose among entries mean in the compiler's: the largest, some by number, any, all.

An entry is chosen by a sum over entries of which all but it are zero, by `where`, not by a product with zeros: NaN and
infinities among the others stay out of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra.compiler.ir import Dims, Value, has_rows, row_size
from recurra.compiler.vocabulary import Call, refuse_rows, rule

__all__ = []

_MOST_RUNS = 16
"""Numbers known while tracing become slices, if they make up so few runs."""

_MOST_PAIRS = 1 << 16
"""Entries that are looked at for each row: what there is to choose from, times how many are chosen."""


@rule("max", "min")
def _largest(c: Call) -> tuple[Value, Value] | None:
    if len(c.event.shapes) == 1:
        refuse_rows(c, c.args[0], range(len(c.args[0].shape)))
        return None
    v, keep = c.args[0], c.arg(2, False, "keepdim")
    dim = c.arg(1, None, "dim") % len(v.shape)
    first = _first_largest(c, v, dim, c.event.name == "max")
    chosen = c.point("eq", _numbers(c, v, dim), first)
    value = c.graph.sum(c.graph.point("where", chosen, v, 0.0), [dim], keep)
    return value, _as_index(c, first, dim, keep)


@rule("argmax", "argmin")
def _argument(c: Call) -> Value:
    v, dim, keep = c.args[0], c.arg(1, None, "dim"), c.arg(2, False, "keepdim")
    if dim is None:
        raise c.refuse("without dim it mixes the batch's rows")
    dim %= len(v.shape)
    return _as_index(c, _first_largest(c, v, dim, c.event.name == "argmax"), dim, keep)


@rule("any", "all")
def _any(c: Call) -> Value:
    v, dims, keep = c.args[0], c.arg(1, None, "dim"), c.arg(2, False, "keepdim")
    found = range(len(v.shape)) if dims is None else [dims] if isinstance(dims, int) else dims
    found = [d % len(v.shape) for d in found]
    refuse_rows(c, v, found)
    truth = v if v.kind == "bool" else c.graph.point("to_bool", v)
    if c.event.name == "all":
        truth = c.point("not", truth)
    some = c.point("gt", c.graph.amax(c.graph.point("to_real", truth), found, keep), 0.5)
    return c.point("not", some) if c.event.name == "all" else some


@rule("count_nonzero")
def _count(c: Call) -> Value:
    v, dims = c.args[0], c.arg(1, None, "dim")
    found = range(len(v.shape)) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    found = [d % len(v.shape) for d in found]
    refuse_rows(c, v, found)
    truth = v if v.kind == "bool" else c.graph.point("to_bool", v)
    return c.graph.point("to_int", c.graph.sum(c.graph.point("to_real", truth), found, keep=False))


@rule("index_select")
def _index_select(c: Call) -> Value:
    v, dim, index = c.args
    return c.graph.reshape(_picked(c, v, dim % len(v.shape), index), c.shape)


@rule("index")
def _index(c: Call) -> Value:
    v, given = c.args[0], [(d, i) for d, i in enumerate(c.args[1]) if i is not None]
    if len(given) != 1:
        raise c.refuse("by several tensors at once; use gather")
    ((dim, index),) = given
    if isinstance(index, Value) and index.kind == "bool":
        raise c.refuse("by a mask: how many entries it gives depends on values; use torch.where")
    return c.graph.reshape(_picked(c, v, dim, index), c.shape)


@rule("gather")
def _gather(c: Call) -> Value:
    v, dim, index = c.args[0], c.args[1] % len(c.args[0].shape), c.args[2]
    refuse_rows(c, v, [dim])
    for d, n in enumerate(index.shape):
        if d != dim and n != v.shape[d]:
            refuse_rows(c, v, [d])
            v = c.graph.slice(v, d, 0, n)
    size, count = v.shape[dim], index.shape[dim]
    lead, trail = v.shape[:dim], v.shape[dim + 1 :]
    numbers = _spread(c, torch.arange(c.fixed(size)), dim, len(v.shape) + 1)
    chosen = c.point("eq", numbers, c.graph.reshape(index, (*lead, 1, count, *trail)))
    return _sum_of_chosen(c, chosen, c.graph.reshape(v, (*lead, size, 1, *trail)), dim, c.shape)


@rule("index_fill")
def _index_fill(c: Call) -> Value:
    v, dim, index, number = c.args
    dim %= len(v.shape)
    refuse_rows(c, v, [dim])
    if isinstance(number, Value) or has_rows(index.shape):
        raise c.refuse("with other than a number, at other places for each row")
    index = c.graph.reshape(index, (1, row_size(index.shape)))
    same = c.point("eq", c.graph.reshape(c.constant(torch.arange(c.fixed(v.shape[dim]))), (v.shape[dim], 1)), index)
    filled = c.point("gt", c.graph.amax(c.graph.point("to_real", same), [1], keep=False), 0.5)
    shape = tuple(n if d == dim else 1 for d, n in enumerate(v.shape))
    return c.graph.point("where", c.graph.reshape(filled, shape), c.real(number), v, kind=v.kind)


@rule("slice_scatter", "select_scatter")
def _slice_scatter(c: Call) -> Value:
    v, source, dim = c.args[0], c.args[1], c.arg(2, 0, "dim") % len(c.shape)
    refuse_rows(c, v, [dim])
    size = v.shape[dim]
    if c.event.name == "select_scatter":
        start, end = c.arg(3) % size, c.arg(3) % size + 1
        source = c.graph.reshape(source, (*v.shape[:dim], 1, *v.shape[dim + 1 :]))
    else:
        if c.arg(5, 1, "step") != 1:
            raise c.refuse("with a step")
        start = c.arg(3, None, "start") or 0
        start = max(0, min(start + size if start < 0 else start, size))
        end = start + source.shape[dim]
    after = c.graph.slice(v, dim, end, size - end)
    return c.graph.cat([c.graph.slice(v, dim, 0, start), source, after], dim)


def _first_largest(c: Call, v: Value, dim: int, largest: bool) -> Value:
    """Return the number of the first of the largest (or smallest) entries, a real one; the dimension stays. NaN is
    larger, and smaller, than everything, as in torch."""
    refuse_rows(c, v, [dim])
    if v.kind != "real":
        raise c.refuse("of integers")
    given = c.graph.stop(v if largest else c.point("neg", v))
    top = c.graph.amax(given, [dim])
    best = c.point("or", c.point("eq", given, top), c.point("ne", given, given))
    place = c.graph.point("where", best, c.point("neg", _numbers(c, v, dim)), -float(v.shape[dim]))
    return c.point("neg", c.graph.amax(place, [dim]))


def _as_index(c: Call, number: Value, dim: int, keep: bool) -> Value:
    index = c.graph.point("to_int", number)
    shape = index.shape if keep else (*index.shape[:dim], *index.shape[dim + 1 :])
    return c.graph.reshape(index, shape)


def _numbers(c: Call, v: Value, dim: int) -> Value:
    """Return 0.0, 1.0, ... along a dimension of v."""
    return c.graph.point("to_real", _spread(c, torch.arange(c.fixed(v.shape[dim])), dim, len(v.shape)))


def _spread(c: Call, numbers: Tensor, dim: int, dims: int) -> Value:
    """Return a vector of constants along one of several dimensions."""
    shape = tuple(len(numbers) if d == dim else 1 for d in range(dims))
    return c.graph.reshape(c.constant(numbers), shape)


def _picked(c: Call, v: Value, dim: int, index: Any) -> Value:
    """Return the entries of v of some numbers along `dim`, in whose place the index's dimensions stand."""
    refuse_rows(c, v, [dim])
    size, lead, trail = v.shape[dim], v.shape[:dim], v.shape[dim + 1 :]
    if not isinstance(index, Value):
        return c.graph.slice(v, dim, int(index) % size, 1)
    known = c.known(index)
    if known is not None:
        runs = _runs((known.flatten() % size).tolist())
        if len(runs) <= _MOST_RUNS:
            return c.graph.cat([c.graph.slice(v, dim, start, length) for start, length in runs], dim)
    if has_rows(index.shape) and has_rows(v.shape):
        raise c.refuse("of each row by the row's own numbers; use gather")
    index = c.graph.point("where", c.point("lt", index, 0), c.point("add", index, size), index, kind="int")
    numbers = _spread(c, torch.arange(c.fixed(size)), len(lead) + len(index.shape), len(v.shape) + len(index.shape))
    chosen = c.point("eq", numbers, c.graph.reshape(index, (*[1] * len(lead), *index.shape, *[1] * (1 + len(trail)))))
    entries = c.graph.reshape(v, (*lead, *[1] * len(index.shape), size, *trail))
    return _sum_of_chosen(c, chosen, entries, len(lead) + len(index.shape), (*lead, *index.shape, *trail))


def _sum_of_chosen(c: Call, chosen: Value, entries: Value, dim: int, shape: Dims) -> Value:
    if entries.kind != "real":
        raise c.refuse("of integers")
    found = c.graph.point("where", chosen, entries, 0.0)
    if row_size(found.shape) > _MOST_PAIRS:
        raise c.refuse(f"{row_size(found.shape)} entries to look at for each row are too many")
    return c.graph.reshape(c.graph.sum(found, [dim]), shape)


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Return numbers as runs that count up by one: first numbers and lengths."""
    runs: list[tuple[int, int]] = []
    for n in numbers:
        if runs and n == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((n, 1))
    return runs
