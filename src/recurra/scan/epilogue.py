"""The epilogue: gradients of weights, and of what is known before the loop, over all steps at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recurra.compiler.interpret import Evaluation
from recurra.compiler.ir import Value
from recurra.compiler.products import ProductCall, Strip, find_products
from recurra.compiler.words import Address

__all__ = ["Epilogue", "EpilogueCall"]


class Epilogue:
    """Computes `roots` from `leaves`: products by native code, all else by PyTorch, before them and after."""

    def __init__(self, roots: Sequence[Value], leaves: Sequence[Value]) -> None:
        self.roots = list(roots)
        self.products = find_products(roots, leaves)
        made = [] if self.products is None else self.products.results
        needed = [] if self.products is None else self.products.needed
        self.before = Evaluation(needed, leaves)
        rest = [v for v in dict.fromkeys(roots) if v not in made]
        self.after = Evaluation(rest, [*leaves, *made])

    @property
    def read(self) -> list[Value]:
        """The leaves with rows that native code reads."""
        return [] if self.products is None else self.products.read

    def prepare(
        self,
        strips: Mapping[Value, Strip],
        weights: Mapping[Value, Address],
        known: int,
        rows: Sequence[int],
        dtype: torch.dtype,
    ) -> EpilogueCall:
        """Return what calls with these leaves have in common.

        strips, weights: where what is `read` lies, and leaves without rows; known: how many addresses there are; rows:
        their number, or those of which it is the product: the first sizes of results that have rows.
        """
        if self.products is None:
            return EpilogueCall(self, None)
        made = {v: Address(known + k) for k, v in enumerate(self.before.outputs)}
        of_made = {v: Strip(at, math.prod(v.shape[1:])) for v, at in made.items()}
        results = known + len(made)
        call = self.products.prepare({**strips, **of_made}, {**weights, **made}, results, rows, dtype)
        return EpilogueCall(self, call)


class EpilogueCall(NamedTuple):
    """An epilogue for leaves that lie at addresses of known numbers."""

    epilogue: Epilogue
    products: ProductCall | None

    def __call__(
        self,
        tensors: Sequence[Tensor | None],
        tensor: Callable[[Value], Tensor],
        fixed: Mapping[Value, Tensor],
        rows: int,
        like: Tensor,
    ) -> list[Tensor]:
        """Return the roots.

        tensors: those with addresses, by their numbers; tensor: a leaf with rows, which are those of all steps; fixed:
        the leaves without rows.
        """
        e = self.epilogue
        env: dict[Value, Tensor] = {}
        if e.before.outputs:
            given = {v: fixed[v] if v in fixed else tensor(v) for v in e.before.leaves}
            made = [t.contiguous() for t in e.before(given, rows, like)]
            env.update(zip(e.before.outputs, made, strict=True))
        if self.products is not None and e.products is not None:
            results = self.products([*tensors, *env.values()])
            env.update(zip(e.products.results, results, strict=True))
        if e.after.outputs:
            given = {v: env[v] if v in env else fixed[v] if v in fixed else tensor(v) for v in e.after.leaves}
            env.update(zip(e.after.outputs, e.after(given, rows, like), strict=True))
        return [env[v] for v in e.roots]

    def places(self) -> list[int] | None:
        """Return which of the products' results each root is; None where there is more to do than products."""
        e = self.epilogue
        if e.products is None or e.before.outputs or e.after.outputs:
            return None
        return [e.products.results.index(v) for v in e.roots]
