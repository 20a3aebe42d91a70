"""The arguments of an operation of torch, kept so that it can be called again for another batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["Template"]


class Template:
    """Nested arguments in which tensors are `("tensor", number)`; `tensors` lists their numbers in order."""

    def __init__(self, args: Any, kwargs: Any) -> None:
        self.tensors: list[int] = []
        self._args = self._keep(args)
        self._kwargs = self._keep(kwargs)

    def args(self, env: Mapping[Any, Any], values: Sequence[Any], batch: int) -> list[Any]:
        """Return the positional arguments, with tensors from `env` and sizes for this batch."""
        return self._put(self._args, env, values, batch)

    def kwargs(self, env: Mapping[Any, Any], values: Sequence[Any], batch: int) -> dict[str, Any]:
        """Return the keyword arguments."""
        return self._put(self._kwargs, env, values, batch)

    def with_sizes(self, size: Callable[[int], int]) -> Template:
        """Return a copy whose sizes are what a function makes of them."""
        copy = Template((), {})
        copy.tensors = self.tensors
        copy._args, copy._kwargs = self._sized(self._args, size), self._sized(self._kwargs, size)
        return copy

    def __repr__(self) -> str:
        return f"{self._args}, {self._kwargs}"

    def _sized(self, a: Any, size: Callable[[int], int]) -> Any:
        if isinstance(a, list):
            return [self._sized(b, size) for b in a]
        if isinstance(a, dict):
            return {k: self._sized(v, size) for k, v in a.items()}
        if isinstance(a, int) and not isinstance(a, bool):
            return size(a)
        factor = getattr(a, "factor", None)
        return a if factor is None else type(a)(size(factor))

    def _keep(self, a: Any) -> Any:
        if isinstance(a, tuple) and len(a) == 2 and a[0] == "tensor":
            self.tensors.append(a[1])
            return _Slot(len(self.tensors) - 1)
        if isinstance(a, tuple | list):
            return [self._keep(b) for b in a]
        if isinstance(a, dict):
            return {k: self._keep(v) for k, v in a.items()}
        return a

    def _put(self, a: Any, env: Mapping[Any, Any], values: Sequence[Any], batch: int) -> Any:
        if isinstance(a, _Slot):
            return env[values[a.index]]
        if isinstance(a, list):
            return [self._put(b, env, values, batch) for b in a]
        if isinstance(a, dict):
            return {k: self._put(v, env, values, batch) for k, v in a.items()}
        factor = getattr(a, "factor", None)
        return a if factor is None else factor * batch


class _Slot:
    """Where a tensor goes."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __repr__(self) -> str:
        return f"#{self.index}"
