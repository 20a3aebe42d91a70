"""The matrix products that follow a loop, found in its epilogue and put together for the native code that runs them.

Over T * B rows, three forms make up nearly all of an epilogue, whatever the cell:

    a^T x       the gradient of a weight: a sum over rows
    1^T a       the gradient of a bias
    a W         the gradient of an input

The first two that share `a` are computed together. Where `a` is joined of several values side by side, each of them is
a product of its own, so that nothing has to be copied. Where more than an eighth of the rows of `a` are zero, they are
left out of the sums; an x that is infinite or NaN there then makes no NaN of the gradient, as it does in PyTorch.
Everything else of the epilogue is left to PyTorch.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.compiler.build import build, target
from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import Value, topological
from recurra.compiler.words import Address, Words

__all__ = ["ProductCall", "Products", "Strip", "begin_to_build", "find_products"]

_NARROW = 4
"""Columns of a right side below which register tiles would compute little but padding."""


class Strip(NamedTuple):
    """Where the rows of a value lie, one after another: the address of the first, and numbers in each."""

    at: Address
    width: int


@dataclass
class _OverRows:
    """Sums over rows: the right side, and the left sides that it meets."""

    right: Value
    lefts: list[_Left] = field(default_factory=list["_Left"])


class _Left(NamedTuple):
    """A left side (None: ones), `wide` columns of it from the `first` on, the result, and where in it the product
    begins: at which row and column."""

    side: Value | None
    first: int
    wide: int
    result: Value
    row: int
    column: int


@dataclass
class _ByRows:
    """A product with a weight, of whose rows those from `start` on belong to the left side; `first` of those that are
    added up to the result."""

    left: Value
    weight: Value
    start: int
    result: Value
    first: bool


class Products:
    """Products that can be computed once `needed`, those operands which are no leaves, are known.

    results: what they make; read: those operands with rows that are leaves.
    """

    def __init__(self, over_rows: Sequence[_OverRows], by_rows: Sequence[_ByRows], leaves: set[Value]) -> None:
        self._over_rows, self._by_rows = over_rows, by_rows
        lefts = [left for g in over_rows for left in g.lefts]
        self.results = list(dict.fromkeys([*(left.result for left in lefts), *(p.result for p in by_rows)]))
        self._leaves = leaves
        with_rows = [*(g.right for g in over_rows), *(left.side for left in lefts if left.side is not None)]
        with_rows = list(dict.fromkeys([*with_rows, *(p.left for p in by_rows)]))
        weights = dict.fromkeys(_stored(p.weight, leaves) for p in by_rows)
        self.read = [v for v in with_rows if v in leaves]
        self.needed = [v for v in dict.fromkeys([*with_rows, *weights]) if v not in leaves]

    def prepare(
        self,
        strips: Mapping[Value, Strip],
        weights: Mapping[Value, Address],
        results: int,
        rows: int,
        dtype: torch.dtype,
    ) -> ProductCall:
        """Return what calls with these operands have in common.

        strips, weights: where the rows of operands lie, and matrices without rows, contiguous; results: the number of
        the first of the addresses that the results will have.
        """
        number = dtype.itemsize
        place = {v: Address(results + k) for k, v in enumerate(self.results)}
        words: list[int | Address] = []
        work = 0
        for g in self._over_rows:
            at, width = strips[g.right]
            words += (rows, width, at, width, 1, 1, len(g.lefts))
            for side, first, wide, result, row, column in g.lefts:
                across = result.shape[1] if len(result.shape) == 2 else 1
                to = place[result].after((row * across + column) * number)
                strip = None if side is None else strips[side]
                start, down = (0, 1) if strip is None else (strip.at.after(first * number), strip.width)
                words += (start, 1, down, wide, to, 1, across)
                work += wide * width
        for p in self._by_rows:
            at, width = strips[p.left]
            stored = _stored(p.weight, self._leaves)
            height, columns = p.weight.shape
            down, right = (columns, 1) if stored is p.weight else (1, height)
            words += (width, columns, weights[stored].after(p.start * down * number), down, right, p.first, 1)
            words += (at, width, 1, rows, place[p.result], columns, 1)
            work += width * columns
        threads = max(1, min(torch.get_num_threads(), work * rows // _WORK_A_THREAD))
        shapes = [tuple(rows if n < 0 else n for n in v.shape) for v in self.results]
        return ProductCall(Words([threads, len(self._over_rows) + len(self._by_rows), *words]), shapes, dtype)


class ProductCall(NamedTuple):
    """Products whose operands lie at addresses that a call tells."""

    words: Words
    shapes: list[tuple[int, ...]]
    dtype: torch.dtype

    def __call__(self, bases: Sequence[int]) -> list[Tensor]:
        """Return the results. bases: the addresses by their numbers, but for those of the results, which come last."""
        made = [torch.empty(shape, dtype=self.dtype) for shape in self.shapes]
        words = self.words([*bases, *(t.data_ptr() for t in made)])
        _native(self.dtype)(words.buffer_info()[0])
        return made


_WORK_A_THREAD = 1_000_000
"""Multiplications below which another thread costs more than it brings."""


def find_products(roots: Iterable[Value], leaves: Iterable[Value]) -> Products | None:
    """Return the products among what `roots` are made of, None if there are none.

    Only those are taken whose operands can be known before any of them: an operand that stands on another product is
    left to PyTorch, with everything on its way.
    """
    known = set(leaves)
    groups: dict[Value, _OverRows] = {}
    by_rows: list[_ByRows] = []
    behind: set[Value] = set()
    for v in topological(roots, known):
        if v in known:
            continue
        pairs = _pairs(v)
        if any(a in behind for a in v.values) or not pairs:
            behind |= {v} if any(a in behind for a in v.values) else set()
            continue
        behind.add(v)
        for k, (left, right) in enumerate(pairs):
            if left is None or right.shape[0] == -1:
                row = 0
                for part in _parts(right, known):
                    column = 0
                    for side in (None,) if left is None else _parts(left, known):
                        whole, first = (side, 0) if side is None else _columns_of(side, known)
                        wide = 1 if side is None else side.shape[1]
                        groups.setdefault(part, _OverRows(part)).lefts.append(_Left(whole, first, wide, v, row, column))
                        column += wide
                    row += part.shape[1]
                continue
            start = 0
            for part in _parts(left, known):
                by_rows.append(_ByRows(part, right, start, v, k == 0 and start == 0))
                start += part.shape[1]
    if not groups and not by_rows:
        return None
    return Products(list(groups.values()), by_rows, known)


def _pairs(v: Value) -> list[tuple[Value | None, Value]]:
    """Return the two sides of a product that native code can run; of several, where they are added up.

    A sum over rows has the rows' two sides, the second being the one whose columns are vectors: `(x, a)` stands for
    a^T x. Nothing is returned for a value that is no such product.
    """
    if v.op == "reshape" and len(v.shape) == 1 and v.values[0].op == "sum":
        (total,) = v.values
        (a,) = total.values
        return [(None, a)] if _rows(a) and total.attrs[0] == (0,) else []
    if v.op != "mm" or v.kind != "real":
        return []
    if len(v.values) == 2 and v.values[0].op == "permute":
        (a,), x = v.values[0].values, v.values[1]
        return [(x, a)] if _rows(a) and _rows(x) and v.values[0].attrs[0] == (1, 0) and a.shape[1] >= _NARROW else []
    pairs = list(zip(v.values[::2], v.values[1::2], strict=True))
    if all(_rows(a) and w.shape[0] > 0 and w.shape[1] >= _NARROW and len(w.shape) == 2 for a, w in pairs):
        return [(a, w) for a, w in pairs]
    return []


def _stored(weight: Value, leaves: set[Value]) -> Value:
    """Return the matrix that lies in memory where a weight is that one, turned."""
    turned = weight not in leaves and weight.op == "permute" and weight.attrs[0] == (1, 0)
    return weight.values[0] if turned and weight.values[0] in leaves else weight


def _rows(v: Value) -> bool:
    return len(v.shape) == 2 and v.shape[0] == -1 and v.shape[1] > 0 and v.kind == "real"


def _parts(v: Value, leaves: set[Value]) -> list[Value]:
    if v.op == "cat" and v not in leaves and v.attrs[0] == 1 and all(a in leaves and _rows(a) for a in v.values):
        return list(v.values)
    return [v]


def _columns_of(v: Value, leaves: set[Value]) -> tuple[Value, int]:
    """Return the leaf of which a value is some columns, and the first of them: they are read where they lie."""
    if v not in leaves and v.op == "slice" and v.attrs[0] == 1 and v.attrs[2] == 1 and v.values[0] in leaves:
        return v.values[0], v.attrs[1]
    return v, 0


def begin_to_build(dtype: torch.dtype) -> None:
    """Build the native code for a kind of number beside what the caller builds."""

    def work() -> None:
        with contextlib.suppress(Unsupported):  # who needs it will see the same error
            _native(dtype)

    threading.Thread(target=work).start()


def _native(dtype: torch.dtype) -> Any:
    """Return the native function; built once for each kind of number. Raises Unsupported."""
    with _building:
        return _library(dtype)


_building = threading.Lock()


@cache
def _library(dtype: torch.dtype) -> Any:
    real = "float" if dtype == torch.float32 else "double"
    text = (
        f'#define RECURRA_VECTOR_BYTES {target().vector_bytes}\n#include "products.h"\n'
        f'extern "C" void products(const int64_t* words) {{ recurra::run_products<{real}>(words); }}\n'
    )
    run: Any = build(text).library.products
    run.argtypes = [ctypes.c_void_p]
    run.restype = None
    return run
