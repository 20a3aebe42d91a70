"""The matrix products that follow a loop, found in its epilogue and put together for the native code that runs them.

Over T * B rows, three forms make up nearly all of an epilogue, whatever the cell:

    a^T x       the gradient of a weight: a sum over rows
    1^T a       the gradient of a bias
    a W         the gradient of an input

The first two that share `a` are computed together. Where `a` is joined of several values side by side, each of them is
a product of its own; columns, and weights that are turned or cut out, are read where they lie; and where results are
joined or turned, they are written where they belong: nothing has to be copied. Where more than an eighth of the rows
of `a` are zero, they are left out of the sums; an x that is infinite or NaN there then makes no NaN of the gradient, as
it does in PyTorch.
Everything else of the epilogue is left to PyTorch.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.compiler.build import build, target
from recurra.compiler.calls import Call
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
    """A left side (None: ones), `wide` columns of it from the `first` on, the result, where in it the product begins,
    and how far apart in it neighbours of the left and of the right side are."""

    side: Value | None
    first: int
    wide: int
    result: Value
    start: int
    across: int
    down: int


@dataclass
class _ByRows:
    """A product with a weight, `columns` wide, which lies in `stored` from the number `start` on, with so many numbers
    from row to row and from column to column; `first` of those that are added up to the result."""

    left: Value
    stored: Value
    start: int
    down: int
    right: int
    columns: int
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
        rights = [*(g.right for g in over_rows), *(p.left for p in by_rows)]
        with_rows = [
            *(_columns_of(v, leaves)[0] for v in rights),
            *(left.side for left in lefts if left.side is not None),
        ]
        with_rows = list(dict.fromkeys(with_rows))
        weights = dict.fromkeys(p.stored for p in by_rows)
        self.read = [v for v in with_rows if v in leaves]
        self.needed = [v for v in dict.fromkeys([*with_rows, *weights]) if v not in leaves]

    def prepare(
        self,
        strips: Mapping[Value, Strip],
        weights: Mapping[Value, Address],
        results: int,
        sizes: Sequence[int],
        dtype: torch.dtype,
    ) -> ProductCall:
        """Return what calls with these operands have in common.

        strips, weights: where the rows of operands lie, and matrices without rows, contiguous; results: the number of
        the first of the addresses that the results will have; sizes: the first ones of results with rows, whose number
        is their product.
        """
        rows = math.prod(sizes)
        number = dtype.itemsize
        place = {v: Address(results + k) for k, v in enumerate(self.results)}
        words: list[int | Address] = []
        work = 0
        for g in self._over_rows:
            at, down, width = self._columns(g.right, strips, number)
            words += (rows, width, at, down, 1, 1, len(g.lefts))
            for left in g.lefts:
                strip = None if left.side is None else strips[left.side]
                begin = (0, 1, 1) if strip is None else (strip.at.after(left.first * number), 1, strip.width)
                to = place[left.result].after(left.start * number)
                words += (*begin, left.wide, to, left.across, left.down)
                work += left.wide * width
        for p in self._by_rows:
            at, down, width = self._columns(p.left, strips, number)
            weight = weights[p.stored].after(p.start * number)
            words += (width, p.columns, weight, p.down, p.right, p.first, 1)
            words += (at, down, 1, rows, place[p.result], p.columns, 1)
            work += width * p.columns
        threads = max(1, min(torch.get_num_threads(), work * rows // _WORK_A_THREAD))
        shapes = [(*sizes, *v.shape[1:]) if v.shape[0] < 0 else v.shape for v in self.results]
        kinds = [(s, tuple(math.prod(s[d + 1 :]) for d in range(len(s)))) for s in shapes]
        call = Call(
            Words([threads, len(self._over_rows) + len(self._by_rows), *words]), _native(dtype), 2 * work * rows
        )
        return ProductCall(call, kinds, dtype)

    def _columns(self, v: Value, strips: Mapping[Value, Strip], number: int) -> tuple[Address, int, int]:
        """Return where a value's columns lie: the first number, the numbers from row to row, and the columns."""
        whole, first = _columns_of(v, self._leaves)
        return strips[whole].at.after(first * number), strips[whole].width, v.shape[1]


class ProductCall(NamedTuple):
    """Products whose operands lie at addresses that a call tells."""

    call: Call
    kinds: list[tuple[tuple[int, ...], tuple[int, ...]]]
    """Shape and strides of every result."""
    dtype: torch.dtype

    def __call__(self, tensors: Sequence[Tensor | None]) -> list[Tensor]:
        """Return the results. tensors: those with addresses, by their numbers, but for the results, which come last."""
        dtype = self.dtype
        made = [torch.empty_strided(shape, strides, dtype=dtype) for shape, strides in self.kinds]
        self.call([*tensors, *made])
        return made


_WORK_A_THREAD = 1_000_000
"""Multiplications below which another thread costs more than it brings."""


def find_products(roots: Iterable[Value], leaves: Iterable[Value]) -> Products | None:
    """Return the products among what `roots` are made of, None if there are none.

    Only those are taken whose operands can be known before any of them: an operand that stands on another product is
    left to PyTorch, with everything on its way.
    """
    known, roots = set(leaves), list(roots)
    groups: dict[Value, _OverRows] = {}
    by_rows: list[_ByRows] = []
    behind: set[Value] = set()
    order = [v for v in topological(roots, known) if v not in known]
    shown = _shown(roots, order)
    skipped = {v.values[0] for v in order if _bias(v)}
    for v in order:
        pairs = [] if v in skipped else _pairs(v)
        if any(a in behind for a in v.values) or not pairs:
            behind |= {v} if any(a in behind for a in v.values) else set()
            continue
        behind.add(v)
        result, origin, down, across = shown.get(v, (v, 0, v.shape[-1] if len(v.shape) == 2 else 1, 1))
        for k, (left, right) in enumerate(pairs):
            if left is None or right.shape[0] == -1:
                # The columns of the right side are the rows of the result; those of a sum alone, its columns.
                ahead = across if v.op == "sum" else down
                start = origin
                for part in _parts(right, known):
                    column = 0
                    for side in (None,) if left is None else _parts(left, known):
                        whole, first = (side, 0) if side is None else _columns_of(side, known)
                        wide = 1 if side is None else side.shape[1]
                        to = _Left(whole, first, wide, result, start + column * across, across, ahead)
                        groups.setdefault(part, _OverRows(part)).lefts.append(to)
                        column += wide
                    start += part.shape[1] * ahead
                continue
            stored, at, over, aside = _laid(right, known)
            for part in _parts(left, known):
                first_one = k == 0 and not any(p.result is v for p in by_rows)
                by_rows.append(_ByRows(part, stored, at, over, aside, right.shape[1], v, first_one))
                at += part.shape[1] * over
    if not groups and not by_rows:
        return None
    return Products(list(groups.values()), by_rows, known)


def _pairs(v: Value) -> list[tuple[Value | None, Value]]:
    """Return the two sides of a product that native code can run; of several, where they are added up.

    A sum over rows has the rows' two sides, the second being the one whose columns are vectors: `(x, a)` stands for
    a^T x. Nothing is returned for a value that is no such product.
    """
    if v.op == "sum" or _bias(v):
        total = v if v.op == "sum" else v.values[0]
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


def _bias(v: Value) -> bool:
    return v.op == "reshape" and len(v.shape) == 1 and v.values[0].op == "sum"


def _shown(roots: Sequence[Value], order: Sequence[Value]) -> dict[Value, tuple[Value, int, int, int]]:
    """Return where products lie that are shown only as parts of a root, joined or turned: the root, the number in it
    that they begin with, and the numbers from row to row and from column to column."""
    uses: dict[Value, int] = dict.fromkeys(roots, 2)
    for v in order:
        for a in v.values:
            uses[a] = uses.get(a, 0) + 1
    found: dict[Value, tuple[Value, int, int, int]] = {}
    for root in dict.fromkeys(roots):
        parts: dict[Value, tuple[Value, int, int, int]] = {}
        stack = [(root, 0, root.shape[-1], 1)] if len(root.shape) == 2 and root.op in ("cat", "permute") else []
        while stack:
            v, at, down, across = stack.pop()
            if v.op == "permute":
                stack.append((v.values[0], at, across, down))
            elif v.op == "cat":
                for a in v.values:
                    stack.append((a, at, down, across))
                    at += a.shape[v.attrs[0]] * (down, across)[v.attrs[0]]
            else:
                parts[v] = (root, at, down, across)
            if v is not root and (uses[v] > 1 or v.shape[0] < 0 or (v in parts and len(_pairs(v)) != 1)):
                parts.clear()
                break
        found.update(parts)
    return found


def _laid(weight: Value, leaves: set[Value]) -> tuple[Value, int, int, int]:
    """Return the matrix in which a weight lies, turned or cut out of it: the number that it begins with, and the
    numbers from row to row and from column to column."""
    if weight not in leaves and weight.op == "permute" and weight.attrs[0] == (1, 0):
        stored, at, down, right = _laid(weight.values[0], leaves)
        return stored, at, right, down
    if weight not in leaves and weight.op == "slice" and weight.attrs[2] == 1:
        dim, start, _ = weight.attrs
        stored, at, down, right = _laid(weight.values[0], leaves)
        return stored, at + start * (down, right)[dim], down, right
    return weight, 0, weight.shape[1], 1


def _rows(v: Value) -> bool:
    return len(v.shape) == 2 and v.shape[0] == -1 and v.shape[1] > 0 and v.kind == "real"


def _parts(v: Value, leaves: set[Value]) -> list[Value]:
    if v.op == "cat" and v not in leaves and v.attrs[0] == 1 and all(a in leaves and _rows(a) for a in v.values):
        return list(v.values)
    return [v]


def _columns_of(v: Value, leaves: set[Value]) -> tuple[Value, int]:
    """Return the leaf of which a value is some columns, and the first of them: they are read where they lie."""
    whole, first = v, 0
    while whole not in leaves and len(whole.values) == 1 and whole.values[0].shape[0] == whole.shape[0] == -1:
        if whole.op == "slice" and whole.attrs[0] == 1 and whole.attrs[2] == 1 and len(whole.shape) == 2:
            first += whole.attrs[1]
        elif whole.op != "reshape":
            break
        (whole,) = whole.values
    return (whole, first) if whole in leaves else (v, 0)


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
