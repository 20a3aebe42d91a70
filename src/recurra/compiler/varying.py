"""Sizes of the context that vary from call to call: the length S of what a decoder attends to.

In a traced graph S is a number, `UNIT`, so large that no other size comes near it, and a size that grows with S is
`a * UNIT + b`. The passes need not know: sums and products of sizes come out as they should. Only the emitted text
spells such numbers out, as `a * S + b`, and `Concrete` brings what is planned back to the sizes of one call, for what
runs in PyTorch around the loop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import Graph, Value
from recurra.compiler.template import Template

__all__ = ["UNIT", "Concrete", "actual", "fixed", "spelled", "varies"]

UNIT = 1 << 40

_MOST_TIMES, _MOST_MORE = 1 << 20, 1 << 24
"""Sizes a * UNIT + b have smaller a and b than these; other large numbers are what they are."""


def varies(n: float) -> bool:
    """Tell whether a number is a size that grows with S."""
    if abs(n) < UNIT // 2 or n != n or abs(n) > UNIT * _MOST_TIMES or n != int(n):
        return False
    slope, rest = _parts(int(n))
    return 0 < abs(slope) < _MOST_TIMES and abs(rest) < _MOST_MORE


def actual(n: int, size: int) -> int:
    """Return a size for S = size."""
    if not varies(n):
        return n
    slope, rest = _parts(n)
    return slope * size + rest


def fixed(n: int, op: str, where: str = "") -> int:
    """Return a size that has to be known when the kernel is made. Raises Unsupported if it varies."""
    if varies(n):
        raise Unsupported(op, "it needs to know a size that varies from call to call", where)
    return n


def spelled(code: str) -> str:
    """Return emitted text with the sizes that vary as expressions in S."""

    def spell(found: re.Match[str]) -> str:
        n = int(found[0])
        if not varies(n):
            return found[0]
        slope, rest = _parts(n)
        return f"({slope} * S + {rest})"

    return re.sub(r"(?<![\w.])\d{12,}(?![\w.])", spell, code)


def _parts(n: int) -> tuple[int, int]:
    slope = (n + UNIT // 2) // UNIT
    return slope, n - slope * UNIT


class Concrete:
    """Brings graphs, stages and plans to the sizes of calls with S = size. The same value always becomes the same."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._graph = Graph()
        self._values: dict[Value, Value] = {}

    def __call__(self, thing: Any) -> Any:
        """Return a value, a number, or whatever is made of them."""
        if isinstance(thing, Value):
            return self._value(thing)
        if isinstance(thing, bool | str) or thing is None:
            return thing
        if isinstance(thing, int):
            return actual(thing, self._size)
        if isinstance(thing, float):
            return float(actual(int(thing), self._size)) if varies(thing) else thing
        if isinstance(thing, Graph):
            return self._graph
        if isinstance(thing, Template):
            return thing.with_sizes(self)
        if isinstance(thing, tuple | list | set):
            return type(thing)(self(part) for part in thing)
        if isinstance(thing, Mapping):
            return {self(k): self(v) for k, v in thing.items()}
        if is_dataclass(thing) and not isinstance(thing, type):
            return replace(thing, **{f.name: self(getattr(thing, f.name)) for f in fields(thing)})
        return thing

    def _value(self, v: Value) -> Value:
        # Made apart from any graph: two values may come to look alike at this size, and must not become one.
        stack = [v]
        while stack:
            top = stack[-1]
            missing = [a for a in top.values if a not in self._values]
            if missing:
                stack += missing
                continue
            stack.pop()
            if top not in self._values:
                args = tuple(self._values[a] if isinstance(a, Value) else self(a) for a in top.args)
                made = Value(top.id, top.op, args, self(top.attrs), self(top.shape), top.kind)
                made.where = top.where
                self._values[top] = made
        return self._values[v]
