"""The epilogue: gradients of weights, and of what is known before the loop, over all steps at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from recurra.compiler.interpret import Evaluation
from recurra.compiler.ir import Value
from recurra.compiler.products import Strip, find_products

__all__ = ["Epilogue"]


class Epilogue:
    """Computes `roots` from `leaves`: products by native code, all else by PyTorch, before them and after."""

    def __init__(self, roots: Sequence[Value], leaves: Sequence[Value]) -> None:
        self._roots = list(roots)
        self._products = find_products(roots, leaves)
        made = [] if self._products is None else self._products.results
        needed = [] if self._products is None else self._products.needed
        self._before = Evaluation(needed, leaves)
        rest = [v for v in dict.fromkeys(roots) if v not in made]
        self._after = Evaluation(rest, [*leaves, *made])

    def __call__(
        self,
        strip: Callable[[Value], Strip],
        tensor: Callable[[Value], Tensor],
        fixed: Mapping[Value, Tensor],
        rows: int,
        like: Tensor,
    ) -> list[Tensor]:
        """Return the roots.

        strip, tensor: where a leaf with rows lies, and the leaf itself, its rows being those of all steps; fixed: the
        leaves without rows.
        """
        env: dict[Value, Tensor] = {}
        if self._before.outputs:
            given = {v: fixed[v] if v in fixed else tensor(v) for v in self._before.leaves}
            env.update(zip(self._before.outputs, self._before(given, rows, like), strict=True))

        def lies(v: Value) -> Strip:
            if v not in env:
                return strip(v)
            env[v] = env[v].contiguous()
            return Strip(env[v].data_ptr(), env[v].shape[1])

        if self._products is not None:
            made = self._products(lies, {**fixed, **env} if env else fixed, rows, like)
            env.update(zip(self._products.results, made, strict=True))
        if self._after.outputs:
            given = {v: env[v] if v in env else fixed[v] if v in fixed else tensor(v) for v in self._after.leaves}
            env.update(zip(self._after.outputs, self._after(given, rows, like), strict=True))
        return [env[v] for v in self._roots]
