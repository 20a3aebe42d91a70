"""The compiler's intermediate representation: hash-consed values over a small set of operations, and `verify`.

A value is an operation, its arguments, a shape and a kind of number. A dimension d > 0 is a size; d < 0 stands for
`-d * B` with B the batch, known only at run time: -1 is the batch itself. The kinds are "real" (the cell's floating
point type), "int" (int64) and "bool".

    input     a leaf, told apart by its attributes
    fill      a constant tensor; attributes: the number
    reshape, permute(order), expand, slice(dim, start, step), cat(dim), embed(dim, start, step): moving numbers about;
              embed is the transpose of slice: zeros with the argument written into them
    sum, amax (dims): reductions; the reduced dimensions stay, with size 1
    mm        matrix products added up: arguments a1, w1, a2, w2, ...: a (rows, K), w (K, N) without rows
    stop      the argument, through which no gradient flows
    aten      any other operation of torch; it can run outside the compiled loop only
    every other name is pointwise: a row of `operations.POINTWISE`; arguments have its shape, or are plain numbers
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import torch

from recurra.compiler.errors import Unsupported

__all__ = [
    "MOVES",
    "Arg",
    "Dims",
    "Graph",
    "Value",
    "ancestors",
    "broadcast",
    "has_rows",
    "row_size",
    "rows_of",
    "topological",
    "verify",
]

Dims: TypeAlias = tuple[int, ...]

MOVES = ("reshape", "permute", "expand", "slice")


class Value:
    """One operation applied to arguments. Made only by `Graph.make`, so equal values are the same object."""

    __slots__ = ("args", "attrs", "id", "kind", "op", "shape", "where")

    def __init__(
        self, number: int, op: str, args: tuple[Arg, ...], attrs: tuple[Any, ...], shape: Dims, kind: str
    ) -> None:
        self.id = number
        self.op = op
        self.args = args
        self.attrs = attrs
        self.shape = shape
        self.kind = kind
        self.where = ""
        """The line of the user's step that asked for it, for messages."""

    @property
    def values(self) -> tuple[Value, ...]:
        """The arguments that are values, not plain numbers."""
        return tuple(a for a in self.args if isinstance(a, Value))

    def __repr__(self) -> str:
        args = ", ".join(f"v{a.id}" if isinstance(a, Value) else repr(a) for a in self.args)
        attrs = "".join(f"; {a}" for a in self.attrs)
        return f"v{self.id} {self.kind}{list(self.shape)} = {self.op}({args}{attrs})"


Arg: TypeAlias = Value | float | int | bool


class Graph:
    """Makes values. Two requests for the same value give the same object, and ids grow with the order of making."""

    def __init__(self) -> None:
        self._table: dict[tuple[Any, ...], Value] = {}
        self.where = ""
        self._leaves: set[Value] = set()

    def protect(self, leaves: Iterable[Value]) -> None:
        """Look no longer behind these values: from now on they are given, and what they were made of is not."""
        self._leaves.update(leaves)

    def make(self, op: str, args: Sequence[Arg], attrs: tuple[Any, ...], shape: Dims, kind: str) -> Value:
        """Return the value `op(*args; attrs)`."""
        names = tuple(a.id if isinstance(a, Value) else ("number", type(a).__name__, repr(a)) for a in args)
        key = (op, names, _hashable(attrs), shape, kind)
        found = self._table.get(key)
        if found is None:
            found = Value(len(self._table), op, tuple(args), attrs, shape, kind)
            found.where = self.where
            self._table[key] = found
        return found

    def input(self, name: str, shape: Dims, kind: str) -> Value:
        """Return the leaf called `name`."""
        return self.make("input", (), (name,), shape, kind)

    def fill(self, number: float | int | bool, shape: Dims, kind: str) -> Value:
        """Return a tensor that holds one number everywhere."""
        return self.make("fill", (), (number,), shape, kind)

    def point(self, op: str, *args: Arg, kind: str | None = None) -> Value:
        """Return a pointwise value, its arguments brought to one shape."""
        shape: Dims = ()
        for a in args:
            if isinstance(a, Value):
                shape = broadcast(shape, a.shape)
        if kind is None:
            kind = _kind_of(op, args)
        same = [self._plain(a, shape) for a in args]
        numbers = [a for a in same if not isinstance(a, Value)]
        if len(numbers) == len(same):
            return self.fill(_number(op, numbers, kind), shape, kind)
        if op == "where" and not isinstance(same[0], Value):
            chosen = same[1 if same[0] else 2]
            return chosen if isinstance(chosen, Value) else self.fill(chosen, shape, kind)
        return _simplified(op, same) or self.make(op, same, (), shape, kind)

    def _plain(self, a: Arg, shape: Dims) -> Arg:
        if not isinstance(a, Value):
            return a
        return a.attrs[0] if a.op == "fill" and shape != () else self.expand(a, shape)

    def expand(self, v: Value, shape: Dims) -> Value:
        """Return v repeated along new leading dimensions and along those of size 1."""
        if v.shape == shape:
            return v
        if v.op == "fill":
            return self.fill(v.attrs[0], shape, v.kind)
        return self.make("expand", (v,), (), shape, v.kind)

    def reshape(self, v: Value, shape: Dims) -> Value:
        """Return v's numbers, in order, in another shape."""
        if self._made_by("reshape", v):
            v = v.values[0]
        if v.shape == shape:
            return v
        if v.op == "fill":
            return self.fill(v.attrs[0], shape, v.kind)
        if row_size(v.shape) != row_size(shape) or has_rows(v.shape) != has_rows(shape):
            raise Unsupported("reshape", f"cannot reshape {v.shape} to {shape}", self.where)
        return self.make("reshape", (v,), (), shape, v.kind)

    def permute(self, v: Value, order: Sequence[int]) -> Value:
        """Return v with its dimensions in another order."""
        order = tuple(order)
        if order == tuple(range(len(order))):
            return v
        shape = tuple(v.shape[d] for d in order)
        if v.op == "fill":
            return self.fill(v.attrs[0], shape, v.kind)
        if self._made_by("permute", v):
            return self.permute(v.values[0], [v.attrs[0][d] for d in order])
        if self._made_by("mm", v) and order == (1, 0) and len(v.args) == 2:
            a, w = v.values
            return self.make("mm", (self.permute(w, order), self.permute(a, order)), (), shape, v.kind)
        return self.make("permute", (v,), (order,), shape, v.kind)

    def slice(self, v: Value, dim: int, start: int, length: int, step: int = 1) -> Value:
        """Return `length` entries of v along `dim`, from `start` on, every `step`-th (which may be negative)."""
        shape = (*v.shape[:dim], length, *v.shape[dim + 1 :])
        if shape == v.shape and step == 1 and start == 0:
            return v
        if v.op == "fill":
            return self.fill(v.attrs[0], shape, v.kind)
        if self._made_by("slice", v) and v.attrs[0] == dim:
            _, first, stride = v.attrs
            return self.slice(v.values[0], dim, first + start * stride, length, step * stride)
        if self._made_by("cat", v) and v.attrs[0] == dim and step == 1:
            at = 0
            for part in v.values:
                if at <= start and start + length <= at + part.shape[dim]:
                    return self.slice(part, dim, start - at, length)
                at += part.shape[dim]
        return self.make("slice", (v,), (dim, start, step), shape, v.kind)

    def cat(self, parts: Sequence[Value], dim: int) -> Value:
        """Return values joined along `dim`."""
        flat = [q for p in parts for q in (p.values if self._made_by("cat", p) and p.attrs == (dim,) else (p,))]
        parts = [p for p in flat if p.shape[dim]]
        if len(parts) == 1:
            return parts[0]
        size = sum(p.shape[dim] for p in parts)
        shape = (*parts[0].shape[:dim], size, *parts[0].shape[dim + 1 :])
        if all(p.op == "fill" and p.attrs == parts[0].attrs for p in parts):
            return self.fill(parts[0].attrs[0], shape, parts[0].kind)
        first = parts[0]
        if (
            all(self._made_by("slice", p) for p in parts)
            and all(p.values[0] is first.values[0] and p.attrs[0] == dim for p in parts)
            and first.values[0].shape == shape
            and [p.attrs[1:] for p in parts] == [(_offset(parts, k, dim), 1) for k in range(len(parts))]
        ):
            return first.values[0]
        return self.make("cat", parts, (dim,), shape, first.kind)

    def sum(self, v: Value, dims: Iterable[int], keep: bool = True) -> Value:
        """Return v summed over `dims`."""
        return self._reduce("sum", v, dims, keep)

    def amax(self, v: Value, dims: Iterable[int], keep: bool = True) -> Value:
        """Return the largest entries of v over `dims`."""
        return self._reduce("amax", v, dims, keep)

    def mm(self, a: Value, w: Value) -> Value:
        """Return the matrix product of a (rows, K) and w (K, N); a product of joined columns is split."""
        if self._made_by("cat", a) and a.attrs[0] == 1:
            at, total = 0, None
            for part in a.values:
                product = self.mm(part, self.slice(w, 0, at, part.shape[1]))
                total = product if total is None else self.point("add", total, product)
                at += part.shape[1]
            assert total is not None
            return total
        shape = (a.shape[0], w.shape[1])
        if a.op == "fill" and a.attrs[0] == 0:
            return self.fill(0.0, shape, "real")
        return self.make("mm", (a, w), (), shape, "real")

    def stop(self, v: Value) -> Value:
        """Return v, through which no gradient flows."""
        return v if v.op in ("stop", "fill") or v.kind != "real" else self.make("stop", (v,), (), v.shape, v.kind)

    def _made_by(self, op: str, v: Value) -> bool:
        return v.op == op and v not in self._leaves

    def _reduce(self, op: str, v: Value, dims: Iterable[int], keep: bool) -> Value:
        dims = tuple(sorted(d % len(v.shape) for d in dims))
        shape = tuple(1 if d in dims else n for d, n in enumerate(v.shape))
        kept = v if all(v.shape[d] == 1 for d in dims) else self.make(op, (v,), (dims,), shape, v.kind)
        if keep:
            return kept
        return self.reshape(kept, tuple(n for d, n in enumerate(v.shape) if d not in dims))


def broadcast(a: Dims, b: Dims) -> Dims:
    """Return the shape that both can be expanded to."""
    wide = max(len(a), len(b))
    left, right = (1,) * (wide - len(a)) + a, (1,) * (wide - len(b)) + b
    if any(m != n and 1 not in (m, n) for m, n in zip(left, right, strict=True)):
        raise Unsupported("broadcast", f"shapes {a} and {b} do not fit together", "")
    return tuple(n if m == 1 else m for m, n in zip(left, right, strict=True))


def has_rows(shape: Dims) -> bool:
    """Tell whether one of the dimensions holds the batch."""
    return any(d < 0 for d in shape)


def rows_of(shape: Dims) -> int:
    """Return n where a dimension is n times the batch, 0 where there is none."""
    return next((-d for d in shape if d < 0), 0)


def row_size(shape: Dims) -> int:
    """Return the number of entries for one row of the batch (all entries where there are no rows)."""
    size = 1
    for d in shape:
        size *= abs(d)
    return size


def topological(outputs: Iterable[Value], leaves: Iterable[Value] = ()) -> list[Value]:
    """Return the outputs and everything they need, arguments first; nothing behind a leaf is visited."""
    stop, seen, order = set(leaves), set[Value](), list[Value]()
    stack = [(v, False) for v in reversed(list(outputs))]
    while stack:
        v, ready = stack.pop()
        if ready:
            order.append(v)
        elif v not in seen:
            seen.add(v)
            stack.append((v, True))
            if v not in stop:
                stack.extend((a, False) for a in reversed(v.values))
    return order


def ancestors(outputs: Iterable[Value], leaves: Iterable[Value] = ()) -> set[Value]:
    """Return the outputs and everything they need, up to and with the leaves."""
    return set(topological(outputs, leaves))


def verify(outputs: Iterable[Value], leaves: Iterable[Value] = ()) -> None:
    """Check that a graph is legal; raise AssertionError with the first value that is not.

    Legal: every value's arguments were made before it; at most one dimension holds rows; pointwise arguments have the
    value's shape or are numbers; moves keep their entries and kind; reductions never cross rows inside the loop.
    """
    from recurra.compiler.operations import POINTWISE

    stop = set(leaves)
    for v in topological(outputs, leaves):
        assert sum(d < 0 for d in v.shape) <= 1, f"more than one dimension of rows: {v}"
        assert v.kind in ("real", "int", "bool"), f"unknown kind: {v}"
        if v in stop:
            continue
        assert all(a.id < v.id for a in v.values), f"an argument is younger than its use: {v}"
        if v.op in POINTWISE:
            assert len(v.args) == POINTWISE[v.op].arity, f"wrong number of arguments: {v}"
            assert all(a.shape == v.shape for a in v.values), f"pointwise arguments differ in shape: {v}"
        elif v.op in ("sum", "amax"):
            assert all(v.shape[d] == 1 for d in v.attrs[0]), f"a reduced dimension must stay as 1: {v}"
        elif v.op == "mm":
            assert len(v.args) % 2 == 0, f"mm takes pairs: {v}"
            for a, w in zip(v.values[::2], v.values[1::2], strict=True):
                assert a.shape[1] == w.shape[0], f"inner sizes differ: {v}"
                assert v.shape == (a.shape[0], w.shape[1]), f"outer sizes differ: {v}"
        elif v.op == "reshape":
            assert row_size(v.shape) == row_size(v.values[0].shape), f"reshape loses entries: {v}"
        elif v.op in MOVES:
            assert v.kind == v.values[0].kind, f"a move changes the kind: {v}"
        else:
            assert v.op in ("input", "fill", "cat", "embed", "stop", "aten", "part"), f"unknown operation: {v}"


def _kind_of(op: str, args: Sequence[Arg]) -> str:
    from recurra.compiler.operations import POINTWISE

    fixed = POINTWISE[op].kind
    if fixed is not None:
        return fixed
    numbers = args[1:] if op == "where" else args
    kinds = [a.kind if isinstance(a, Value) else _number_kind(a) for a in numbers]
    return "real" if "real" in kinds else "int" if "int" in kinds else "bool"


def _number(op: str, args: Sequence[float | int | bool], kind: str) -> float | int | bool:
    """Return what a pointwise operation makes of numbers."""
    from recurra.compiler.operations import POINTWISE

    real = any(isinstance(a, float) for a in args)
    numbers = [float(a) if real and not isinstance(a, bool) else a for a in args]
    given = [torch.tensor(n, dtype=torch.float64 if isinstance(n, float) else None) for n in numbers]
    made = POINTWISE[op].run(*given)
    return {"real": float, "int": int, "bool": bool}[kind](made)


def _number_kind(a: object) -> str:
    return "bool" if isinstance(a, bool) else "int" if isinstance(a, int) else "real"


def _simplified(op: str, args: Sequence[Arg]) -> Value | None:
    """x * 1, x / 1, x + 0 and x - 0 are x, where the kind stays."""
    neutral = {"mul": 1, "div": 1, "add": 0, "sub": 0}.get(op)
    if neutral is None:
        return None
    first, second = args
    if isinstance(first, Value) and not isinstance(second, Value) and second == neutral and first.kind == "real":
        return first
    if op in ("mul", "add") and isinstance(second, Value) and not isinstance(first, Value):
        return second if first == neutral and second.kind == "real" else None
    return None


def _offset(parts: Sequence[Value], k: int, dim: int) -> int:
    return sum(p.shape[dim] for p in parts[:k])


def _hashable(attrs: Any) -> Any:
    if isinstance(attrs, tuple | list):
        return tuple(_hashable(a) for a in attrs)
    return (type(attrs).__name__, repr(attrs)) if isinstance(attrs, float | bool) else attrs
