"""The native products after a loop, against PyTorch's own operations on the same epilogue."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from recurra.compiler.build import compiler
from recurra.compiler.interpret import Evaluation
from recurra.compiler.ir import Graph, Value
from recurra.compiler.products import Strip, find_products
from recurra.compiler.words import Address
from recurra.scan.epilogue import Epilogue

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler on this machine")

ROWS = [0, 1, 5, 512, 1100]
"""None, one, fewer than a tile, as many as are packed at once, and several times as many with a rest."""


def _leaf(g: Graph, name: str, *shape: int) -> Value:
    return g.input(name, shape, "real")


def _product(g: Graph, *pairs: Value) -> Value:
    return g.make("mm", pairs, (), (pairs[0].shape[0], pairs[1].shape[1]), "real")


def _weight(g: Graph, m: int, n: int) -> list[Value]:
    a, x = _leaf(g, "a", -1, m), _leaf(g, "x", -1, n)
    return [_product(g, g.permute(a, (1, 0)), x), g.reshape(g.sum(a, [0]), (m,))]


def _two_weights(g: Graph, m: int, n: int) -> list[Value]:
    a, x, h = _leaf(g, "a", -1, m), _leaf(g, "x", -1, n), _leaf(g, "h", -1, 3)
    turned = g.permute(a, (1, 0))
    return [_product(g, turned, x), _product(g, turned, h), g.reshape(g.sum(a, [0]), (m,))]


def _input(g: Graph, m: int, n: int) -> list[Value]:
    a, w, v = _leaf(g, "a", -1, m), _leaf(g, "w", m, n), _leaf(g, "v", n, m)
    return [_product(g, a, w), _product(g, a, g.permute(v, (1, 0))), _product(g, a, w, a, g.permute(v, (1, 0)))]


def _joined(g: Graph, m: int, n: int) -> list[Value]:
    both = g.cat([_leaf(g, "a", -1, m), _leaf(g, "b", -1, 2)], 1)
    sides = g.cat([_leaf(g, "x", -1, n), _leaf(g, "h", -1, 5)], 1)
    weight = _leaf(g, "w", m + 2, n)
    turned = g.permute(both, (1, 0))
    return [_product(g, turned, sides), _product(g, both, weight), g.reshape(g.sum(both, [0]), (m + 2,))]


def _columns(g: Graph, m: int, n: int) -> list[Value]:
    a, h = _leaf(g, "a", -1, m), _leaf(g, "h", -1, n + 3)
    turned = g.permute(a, (1, 0))
    return [_product(g, turned, g.slice(h, 1, at, n)) for at in (0, 2)]


def _shown_joined(g: Graph, m: int, n: int) -> list[Value]:
    """Results that are seen only as parts of others, turned or side by side; and one that is seen by itself too."""
    a, x, h = _leaf(g, "a", -1, m), _leaf(g, "x", -1, n), _leaf(g, "h", -1, 5)
    turned = g.permute(a, (1, 0))
    both = g.cat([_product(g, g.permute(x, (1, 0)), a), _product(g, g.permute(h, (1, 0)), a)], 0)
    sums = g.cat([g.sum(a, [0]), g.sum(_leaf(g, "b", -1, m), [0])], 0)
    beside = g.cat([_product(g, turned, x), _product(g, turned, h)], 1)
    seen, once = (_product(g, turned, _leaf(g, name, -1, 5)) for name in "cd")
    return [g.permute(both, (1, 0)), sums, beside, seen, g.cat([seen, once], 1)]


def _cut_out(g: Graph, m: int, n: int) -> list[Value]:
    """Columns on either side, weights that are part of others, and rows of more than one size."""
    a, x = _leaf(g, "a", -1, m + 4), _leaf(g, "x", -1, n, 2)
    flat, some, w = g.reshape(x, (-1, 2 * n)), g.slice(a, 1, 3, m), _leaf(g, "w", n + 5, m + 1)
    weight = g.slice(g.slice(w, 0, 2, n), 1, 1, m)
    return [
        _product(g, g.permute(flat, (1, 0)), some),
        _product(g, some, g.permute(weight, (1, 0))),
        _product(g, g.slice(flat, 1, 1, n), weight),
        g.reshape(g.sum(some, [0]), (m,)),
    ]


def _made_before(g: Graph, m: int, n: int) -> list[Value]:
    a, x, w = _leaf(g, "a", -1, m), _leaf(g, "x", -1, n), _leaf(g, "w", m, n)
    squared = g.point("mul", a, a)
    product = _product(g, squared, w)
    # The last stands on a product, so it has to wait for PyTorch.
    return [product, _product(g, g.permute(squared, (1, 0)), x), _product(g, g.permute(product, (1, 0)), a)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("m", "n"), [(1, 1), (4, 3), (7, 33), (300, 40), (12, 64)])
@pytest.mark.parametrize(
    "make", [_weight, _two_weights, _input, _joined, _columns, _shown_joined, _cut_out, _made_before]
)
def test_an_epilogue_equals_pytorchs(
    make: Callable[[Graph, int, int], list[Value]], m: int, n: int, rows: int, dtype: torch.dtype
) -> None:
    roots = make(Graph(), m, n)
    given = _given(roots, rows, dtype)
    fixed = {v: t for v, t in given.items() if v.shape[0] > 0}
    like = torch.empty(0, dtype=dtype)
    found = _run(Epilogue(roots, list(given)), given, fixed, rows, like)
    whole = Evaluation(roots, list(given))
    exact = whole({v: t.double() for v, t in given.items()}, rows, like.double())
    # A sum of n products errs by at most n epsilons of the sum of their magnitudes; two such sums follow one another.
    magnitudes = whole({v: t.double().abs() for v, t in given.items()}, rows, like.double())
    terms = 2 * max(rows, 2 * m + 2, 1)
    for a, b, size in zip(found, exact, magnitudes, strict=True):
        assert a.shape == b.shape
        assert bool(((a - b).abs() <= terms * torch.finfo(dtype).eps * size).all())


def _run(
    epilogue: Epilogue, given: dict[Value, Tensor], fixed: dict[Value, Tensor], rows: int, like: Tensor
) -> list[Tensor]:
    numbers = {v: Address(k) for k, v in enumerate(given)}
    strips = {v: Strip(numbers[v], math.prod(v.shape[1:])) for v in epilogue.read}
    call = epilogue.prepare(strips, {v: numbers[v] for v in fixed}, len(given), (rows,), like.dtype)
    return call(list(given.values()), given.__getitem__, fixed, rows, like)


@pytest.mark.parametrize("make", [_columns, _shown_joined, _cut_out])
def test_nothing_is_copied(make: Callable[[Graph, int, int], list[Value]]) -> None:
    """Columns of leaves are read where they lie, and what is joined is written where it belongs."""
    roots = make(Graph(), 8, 16)
    found = find_products(roots, _leaves(roots))
    assert found is not None
    assert found.needed == []
    alone = [v for v in roots if v not in found.results]
    assert len(alone) == (1 if make is _shown_joined else 0)  # what is seen by itself is joined by PyTorch


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n", [1, 33])
def test_where_many_rows_are_zero_they_are_left_out_of_the_sums(n: int, threads: int) -> None:
    """What stands beside them is not looked at: NaN there changes nothing."""
    roots = _weight(Graph(), 90, n)
    given = _given(roots, 1100, torch.float64)
    a, x = given.values() if next(iter(given)).shape[1] == 90 else reversed(given.values())
    asleep = torch.rand(1100) < 0.7
    asleep[700] = False
    a[asleep] = 0.0
    a[700, :-1] = 0.0  # one number is enough to be awake
    expected = [a.T @ x, a.sum(0)]
    x[asleep] = torch.nan
    torch.set_num_threads(threads)
    try:
        found = _run(Epilogue(roots, list(given)), given, {}, 1100, a[:0])
    finally:
        torch.set_num_threads(1)
    for got, right in zip(found, expected, strict=True):
        torch.testing.assert_close(got, right)


def test_products_with_one_side_in_common_are_one_group() -> None:
    roots = _two_weights(Graph(), 8, 16)
    found = find_products(roots, _leaves(roots))
    assert found is not None
    assert found.results == roots
    assert found.needed == []


def test_two_threads_give_the_same_numbers() -> None:
    roots = [*_weight(Graph(), 96, 80), *_input(Graph(), 96, 80)]
    given = _given(roots, 2000, torch.float32)
    fixed = {v: t for v, t in given.items() if v.shape[0] > 0}
    epilogue = Epilogue(roots, list(given))
    made: list[Sequence[Tensor]] = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            made.append(_run(epilogue, given, fixed, 2000, torch.empty(0)))
        finally:
            torch.set_num_threads(1)
    assert all(torch.equal(a, b) for other in made[1:] for a, b in zip(made[0], other, strict=True))


def _leaves(roots: Sequence[Value]) -> list[Value]:
    seen: dict[Value, None] = {}
    stack = list(roots)
    while stack:
        v = stack.pop()
        stack += v.values
        if v.op == "input":
            seen[v] = None
    return list(seen)


def _given(roots: Sequence[Value], rows: int, dtype: torch.dtype) -> dict[Value, Tensor]:
    return {v: torch.randn([rows if n < 0 else n for n in v.shape], dtype=dtype) for v in _leaves(roots)}
