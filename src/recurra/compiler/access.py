"""Coordinates: which entry of a value a loop reads, as sums of loop variables, followed down through views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from recurra.compiler.ir import Dims

__all__ = ["ZERO", "Affine", "Coordinates", "add", "coordinates_of", "linear", "scale", "through_view", "variable"]

Affine: TypeAlias = tuple[int, tuple[tuple[str, int], ...]]
"""A constant plus variables times factors: `(2, (("b", 1), ("j1", 8)))`. The variable b is the row of the batch."""

Coordinates: TypeAlias = tuple[Affine, ...]

ZERO: Affine = (0, ())


def variable(name: str, factor: int = 1) -> Affine:
    """Return one variable."""
    return (0, ((name, factor),))


def add(a: Affine, b: Affine) -> Affine:
    """Return the sum."""
    factors = dict(a[1])
    for name, c in b[1]:
        factors[name] = factors.get(name, 0) + c
    return (a[0] + b[0], tuple(sorted((n, c) for n, c in factors.items() if c)))


def scale(a: Affine, factor: int) -> Affine:
    """Return the product with a number."""
    return (a[0] * factor, tuple((n, c * factor) for n, c in a[1]))


def coordinates_of(shape: Dims) -> Coordinates:
    """Return the coordinates of the loop over a whole shape: variable j{d} for dimension d, b for the batch."""
    result: list[Affine] = []
    for d, n in enumerate(shape):
        if n == -1:
            result.append(variable("b"))
        elif n < -1:
            result.append(add(variable("b", -n), variable(f"j{d}")))
        else:
            result.append(ZERO if n == 1 else variable(f"j{d}"))
    return tuple(result)


def through_view(op: str, attrs: Sequence[Any], source: Dims, shape: Dims, at: Coordinates) -> Coordinates | None:
    """Return the coordinates in a view's source; None where they are not sums of variables (dimensions are joined)."""
    if op == "permute":
        order = attrs[0]
        return tuple(at[order.index(d)] for d in range(len(order)))
    if op == "expand":
        lead = len(shape) - len(source)
        return tuple(at[lead + d] if source[d] == shape[lead + d] else ZERO for d in range(len(source)))
    if op == "slice":
        dim, start, step = attrs
        return tuple(add((start, ()), scale(c, step)) if d == dim else c for d, c in enumerate(at))
    return _split(source, shape, at)


def linear(shape: Dims, at: Coordinates) -> Affine:
    """Return where an entry lies within its row of the batch, in row-major order without the batch."""
    total: Affine = ZERO
    stride = 1
    for n, c in zip(reversed(shape), reversed(at), strict=True):
        if n < 0:
            rows = dict(c[1]).get("b", 0)
            if rows != -n:
                return (0, (("?", 1),))
            c = (c[0], tuple((name, k) for name, k in c[1] if name != "b"))
            n = -n
        total = add(total, scale(c, stride))
        stride *= n
    return total


def _split(source: Dims, shape: Dims, at: Coordinates) -> Coordinates | None:
    """Follow a reshape whose dimensions are parts of the source's; a dimension that joins several gives None."""
    result: list[Affine] = []
    k = 0
    for n in source:
        if n == 1:
            result.append(ZERO)
            continue
        size, rows, c = 1, n < 0, ZERO
        while size < abs(n) or rows:
            while k < len(shape) and shape[k] == 1:
                k += 1
            if k == len(shape):
                return None
            d = shape[k]
            if d < 0:
                if not rows:
                    return None
                rows = False
            c = add(scale(c, abs(d)), at[k])
            size *= abs(d)
            k += 1
        if size != abs(n):
            return None
        result.append(c)
    return tuple(result)
