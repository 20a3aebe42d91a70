"""From torch's operations to the compiler's. The rules, one an operation, are in the modules `vocabulary_*`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import Arg, Dims, Graph, Value, has_rows
from recurra.compiler.template import Template
from recurra.compiler.varying import fixed

__all__ = ["RULES", "Call", "Event", "Rows", "Translator", "refuse_rows", "rule"]


@dataclass(frozen=True)
class Rows:
    """An integer that was `factor` times the batch in both runs."""

    factor: int


@dataclass
class Event:
    """One operation that the step did; tensors among the arguments are `("tensor", number)`."""

    function: Any
    name: str
    args: Any
    kwargs: Any
    results: list[int | None]
    shapes: list[Any]
    dtypes: list[torch.dtype | None]
    many: bool
    stopped: bool
    where: str
    written: Any = None
    """The tensor that it wrote into while no gradient was recorded: its gradient is the result's."""


class Call:
    """One operation while it is translated: its arguments as values, its results' shapes, and the graph to build in."""

    def __init__(self, t: Translator, event: Event) -> None:
        self.graph = t.graph
        self.event = event
        self._translator = t
        self.args: list[Any] = t.arguments(event.args)
        self.kwargs: dict[str, Any] = t.arguments(event.kwargs)
        self.shape: Dims = event.shapes[0] or ()
        self.kind = t.kind_of(event.dtypes[0], event) if event.dtypes[0] else "real"

    def arg(self, k: int, default: Any = None, name: str = "") -> Any:
        """Return argument k, or the one called `name`, or the default."""
        return self.args[k] if len(self.args) > k else self.kwargs.get(name, default)

    def point(self, op: str, *args: Arg) -> Value:
        """Return a pointwise value, with integers made real where torch would promote them."""
        kinds = [a.kind if isinstance(a, Value) else "real" if isinstance(a, float) else "" for a in args]
        if op != "where" and "real" in kinds:
            args = tuple(self.real(a) if isinstance(a, Value) else a for a in args)
        return self.graph.point(op, *args)

    def real(self, a: Any) -> Any:
        """Return a value or number as real."""
        if not isinstance(a, Value):
            return float(a)
        return a if a.kind == "real" else self.graph.point("to_real", a)

    def constant(self, tensor: Tensor) -> Value:
        """Return a tensor as a value; it is the same for every cell that the step may be run for."""
        return self._translator.kept(tensor)

    def known(self, v: Value) -> Tensor | None:
        """Return the tensor that a value is, if the step made it from Python numbers alone."""
        return self._translator.constants.get(v)

    def fixed(self, size: int) -> int:
        """Return a size; raise Unsupported if it varies from call to call."""
        return fixed(size, self.event.name, self.event.where)

    def refuse(self, reason: str) -> Unsupported:
        """Return the error that says why this operation cannot be compiled."""
        return Unsupported(self.event.name, reason, self.event.where)


class Translator:
    """Translates events, one after the other, into a graph."""

    def __init__(self, graph: Graph, real: torch.dtype) -> None:
        self.graph = graph
        self.values: dict[int, Any] = {}
        self.constants: dict[Value, Tensor] = {}
        self._real = real

    def leaf(self, number: int, name: str, shape: Dims, dtype: torch.dtype) -> Value:
        """Make a leaf of the graph."""
        self.values[number] = self._leaf(name, shape, dtype)
        return self.graph.input(name, shape, self._kind(dtype))

    def _leaf(self, name: str, shape: Dims, dtype: torch.dtype) -> Any:
        # Tensors of other kinds of number may exist, as long as the step does not use them.
        if dtype not in (self._real, torch.bool, torch.int64):
            return Unsupported(name, f"a tensor of {dtype}, with inputs of {self._real}")
        return self.graph.input(name, shape, self._kind(dtype))

    def _kind(self, dtype: torch.dtype) -> str:
        return "real" if dtype == self._real else "bool" if dtype == torch.bool else "int"

    def constant(self, number: int, tensor: Tensor) -> None:
        """Take a tensor that the step made from Python numbers."""
        if tensor.dim() == 0:
            self.values[number] = tensor.item()
            return
        self.values[number] = self.kept(tensor)

    def kept(self, tensor: Tensor) -> Any:
        """Return a tensor of constants as a leaf, the same one for equal tensors."""
        if tensor.is_floating_point():
            tensor = tensor.to(self._real)
        for leaf, other in self.constants.items():
            if other.dtype == tensor.dtype and torch.equal(other, tensor):
                return leaf
        leaf = self._leaf(f"constant.{len(self.constants)}", tuple(tensor.shape), tensor.dtype)
        if isinstance(leaf, Value):
            self.constants[leaf] = tensor
        return leaf

    def event(self, event: Event) -> None:
        """Translate one operation."""
        self.graph.where = event.where
        call = Call(self, event)
        rule = RULES.get(event.name)
        known = None if rule is None else rule(call)
        results = list(known) if isinstance(known, tuple | list) else [known]
        if known is None:
            results = self._opaque(event)
        for number, result in zip(event.results, results, strict=True):
            if number is None:
                continue
            if event.stopped and isinstance(result, Value):
                result = self._written(self.graph.stop(result), event)
            self.values[number] = result

    def _written(self, result: Value, event: Event) -> Value:
        """Return the result of an operation without gradient, with that of what it wrote into."""
        if event.written is None or result.kind != "real":
            return result
        g, old = self.graph, self.arguments(event.written)
        moved = g.point("add", old, g.stop(g.point("sub", result, old)))
        return g.point("where", g.point("eq", result, old), old, moved)

    def output(self, value: Any) -> Value:
        """Return what the step returned as a value."""
        if isinstance(value, Unsupported):
            raise value
        if not isinstance(value, Value):
            raise Unsupported("output", "the step returns a constant")
        return value

    def arguments(self, a: Any) -> Any:
        """Return arguments with values in place of tensors."""
        if isinstance(a, tuple) and len(a) == 2 and a[0] == "tensor":
            value = self.values[a[1]]
            if isinstance(value, Unsupported):
                raise value
            return value
        if isinstance(a, tuple | list):
            return [self.arguments(b) for b in a]
        if isinstance(a, dict):
            return {k: self.arguments(v) for k, v in a.items()}
        return a

    def kind_of(self, dtype: torch.dtype | None, event: Event) -> str:
        """Return the kind for a dtype."""
        kinds = {self._real: "real", torch.int64: "int", torch.bool: "bool"}
        # A number without dimensions has torch's default type, and takes the others' type where it is used.
        if dtype not in kinds and event.shapes[0] == () and dtype is not None and dtype.is_floating_point:
            return "real"
        if dtype not in kinds:
            raise Unsupported(event.name, f"gives {dtype}, with inputs of {self._real}", event.where)
        return kinds[dtype]

    def _opaque(self, event: Event) -> list[Value]:
        """Keep an operation that has no rule; it can run outside the loop if it keeps the rows apart."""
        template = Template(event.args, event.kwargs)
        args = [self.arguments(("tensor", n)) for n in template.tensors]
        rows = any(isinstance(a, Value) and has_rows(a.shape) for a in args) or any(
            map(has_rows, filter(None, event.shapes))
        )
        if rows and event.name not in _KEEPS_ROWS:
            raise Unsupported(event.name, "the compiler has no rule for this operation", event.where)
        made = [a if isinstance(a, Value) else self.graph.fill(a, (), "real") for a in args]
        kinds = [self.kind_of(d, event) if d else "real" for d in event.dtypes]
        if not event.many:
            return [self.graph.make("aten", made, (event.function, template), event.shapes[0], kinds[0])]
        whole = self.graph.make("aten", made, (event.function, template), (), "real")
        parts = zip(event.shapes, kinds, strict=True)
        return [self.graph.make("part", (whole,), (k,), s or (), kind) for k, (s, kind) in enumerate(parts)]


_KEEPS_ROWS = {"convolution", "embedding", "avg_pool2d", "max_pool2d_with_indices", "upsample_nearest2d"}

RULES: dict[str, Callable[[Call], Any]] = {}
"""The rule of every operation by its name in `torch.ops.aten`."""


def rule(*names: str) -> Callable[[Callable[[Call], Any]], Callable[[Call], Any]]:
    """Register the rule for the operations of these names."""

    def register(found: Callable[[Call], Any]) -> Callable[[Call], Any]:
        RULES.update(dict.fromkeys(names, found))
        return found

    return register


def refuse_rows(c: Call, v: Value, dims: Sequence[int]) -> None:
    """Raise Unsupported if one of the dimensions holds the batch."""
    if any(v.shape[d] < 0 for d in dims):
        raise c.refuse("it mixes the batch's rows")
