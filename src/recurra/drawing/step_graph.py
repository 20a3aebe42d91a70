"""What a step does as a graph of its author's operations: products of weights, gates cut apart, local names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = [
    "CONTEXT",
    "ELEMENTWISE",
    "INPUT",
    "MOVES",
    "STATE",
    "Argument",
    "Builder",
    "Node",
    "StepGraph",
    "inputs_first",
    "look_through",
]

CONTEXT = 1
INPUT = 2
STATE = 4
"""What a node depends on, added up; 0 is parameters alone."""

ELEMENTWISE = frozenset(
    [
        "add",
        "sub",
        "mul",
        "div",
        "pow",
        "maximum",
        "minimum",
        "remainder",
        "floor_divide",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "and",
        "or",
        "xor",
        "not",
        "where",
        "neg",
        "abs",
        "sign",
        "floor",
        "ceil",
        "round",
        "exp",
        "expm1",
        "log",
        "log1p",
        "sqrt",
        "rsqrt",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "relu",
        "silu",
        "softplus",
        "gelu",
        "elu",
        "hardsigmoid",
        "erf",
        "hardtanh",
        "clamp",
        "clamp_min",
        "clamp_max",
        "square",
        "reciprocal",
        "leaky_relu",
        "log_sigmoid",
        "mish",
        "convert",
    ]
)
"""Operations that treat every entry alone, so that a part of the result is the result of the parts."""

MOVES = frozenset(("view", "stop", "convert"))
"""Operations that leave the numbers as they are: formulas and diagrams look through them."""


@dataclass(eq=False, slots=True)
class Node:
    """One operation. `events` are the positions in the recording that it stands for; `name` is the local variable."""

    op: str
    args: tuple[Argument, ...]
    attrs: tuple[object, ...]
    shape: tuple[int, ...]
    needs: int
    events: frozenset[int] = frozenset()
    name: str = ""
    number: int = 0

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The arguments that are nodes, not plain numbers."""
        return tuple(a for a in self.args if isinstance(a, Node))

    def __repr__(self) -> str:
        args = ", ".join(f"n{a.number}" if isinstance(a, Node) else f"{a}" for a in self.args)
        return f"n{self.number} {self.name or '_'} {list(self.shape)} = {self.op}({args}; {self.attrs})"


Argument: TypeAlias = "Node | float | int | bool"


@dataclass
class StepGraph:
    """A cell's step: its leaves, what it returns, and the number of events that were recorded."""

    x: Node
    state: list[Node]
    context: list[Node]
    y: Node
    new: list[Node]
    events: int
    described: list[str] = field(default_factory=list[str])
    """Each event's operation and source line, for tests and messages."""
    idle: frozenset[int] = frozenset()
    """Events that only move numbers about, or that nothing comes of."""
    now: str = "t"
    before: str = "t-1"
    """How the present and the past are written: t and t-1, or p and k for a node of a tree and its children."""

    def order(self) -> list[Node]:
        """Return all nodes, arguments first."""
        return inputs_first([*self.new, self.y])


class Builder:
    """Makes nodes; the same operation on the same arguments is made once. Parts are taken as early as possible, so
    that `linear(x).chunk(4)` becomes four products with four parts of the weights."""

    def __init__(self) -> None:
        self._table: dict[tuple[object, ...], Node] = {}
        self.event = -1

    def make(
        self, op: str, args: Sequence[Argument], shape: Sequence[int], attrs: tuple[object, ...] = (), needs: int = 0
    ) -> Node:
        """Return the node `op(*args; attrs)`, which stands for the present event."""
        key = (op, tuple(a.number if isinstance(a, Node) else ("number", repr(a)) for a in args), attrs, tuple(shape))
        found = self._table.get(key)
        if found is None:
            for a in args:
                needs |= a.needs if isinstance(a, Node) else 0
            found = Node(op, tuple(args), attrs, tuple(shape), needs, number=len(self._table))
            self._table[key] = found
        if self.event >= 0:
            found.events |= {self.event}
        return found

    def view(self, v: Node, shape: Sequence[int]) -> Node:
        """Return v's numbers in another shape."""
        while v.op == "view":
            v = v.nodes[0]
        return v if v.shape == tuple(shape) else self.make("view", (v,), shape)

    def transpose(self, v: Node) -> Node:
        """Return v with its last two dimensions exchanged."""
        if v.op == "transpose":
            return v.nodes[0]
        return self.make("transpose", (v,), (*v.shape[:-2], v.shape[-1], v.shape[-2]))

    def product(self, a: Node, b: Node, shape: Sequence[int]) -> Node:
        """Return the matrix product a @ b: `matrix(W, v)` stands for W v where b is weights."""
        if a.op == "number" and a.args == (0.0,):
            return self.make("number", a.args, shape)
        if look_through(a).needs & (INPUT | STATE) and not look_through(b).needs & (INPUT | STATE):
            return self.make("matrix", (self.transpose(b), a), shape)
        if len(a.shape) == 2 and not a.needs and b.op == "transpose":
            return self.transpose(self.make("matrix", (a, b.nodes[0]), (shape[1], shape[0])))
        return self.make("product", (a, b), shape)

    def part(self, v: Node, dim: int, start: int, length: int, step: int = 1) -> Node:
        """Return `length` entries of v along `dim` (negative), from `start` on."""
        if (start, length, step) == (0, v.shape[dim], 1):
            return v
        shape = list(v.shape)
        shape[dim] = length
        if step == 1:
            found = self._earlier(v, dim, start, length, shape)
            if found is not None:
                found.events |= v.events | ({self.event} if self.event >= 0 else frozenset())
                return found
        if v.op == "part" and v.attrs[0] == dim and v.attrs[3] == 1:
            first = v.attrs[1]
            assert isinstance(first, int)
            return self.make("part", v.args, shape, (dim, first + start, length, step))
        return self.make("part", (v,), shape, (dim, start, length, step))

    def _earlier(self, v: Node, dim: int, start: int, length: int, shape: list[int]) -> Node | None:
        """Return the part as an operation on parts of v's arguments, or None where it cannot be one."""
        if v.op == "number":
            return self.make("number", v.args, shape)
        if v.op in ELEMENTWISE:
            args = [
                self.part(a, dim, start, length)
                if isinstance(a, Node) and len(a.shape) >= -dim and a.shape[dim] == v.shape[dim] else a
                for a in v.args
            ]  # fmt: skip
            return self.make(v.op, args, shape, v.attrs)
        if v.op == "matrix" and dim == -1:
            weight, vector = v.nodes
            return self.make("matrix", (self.part(weight, -2, start, length), vector), shape)
        if v.op == "transpose" and dim in (-1, -2):
            return self.transpose(self.part(v.nodes[0], -3 - dim, start, length))
        if v.op == "convolution" and dim == 1 - len(v.shape):
            weight, image = v.nodes
            return self.make("convolution", (self.part(weight, -len(weight.shape), start, length), image), shape)
        if v.op == "view":
            inside, width = v.nodes[0], v.shape[-1]
            same = _same_dimension(v.shape, inside.shape, dim)
            if same is not None:
                return self.view(self.part(inside, same, start, length), shape)
            if dim != -2 or length != 1:
                return None
            # view(B, n * m) as (B, n, m), one of the n: m neighbouring entries.
            if len(inside.shape) == len(v.shape) - 1 and inside.shape[-1] == v.shape[-2] * width:
                return self.view(self.part(inside, -1, start * width, width), shape)
        if v.op == "cat" and v.attrs[0] == dim:
            at = 0
            for a in v.nodes:
                if at <= start and start + length <= at + a.shape[dim]:
                    return self.part(a, dim, start - at, length)
                at += a.shape[dim]
        return None


def _same_dimension(shape: Sequence[int], inside: Sequence[int], dim: int) -> int | None:
    """Return which dimension of `inside` is `dim` of `shape`, where the two differ in dimensions of size 1 alone."""
    kept = [k for k, n in enumerate(shape) if n != 1]
    found = [k for k, n in enumerate(inside) if n != 1]
    if [shape[k] for k in kept] != [inside[k] for k in found] or dim % len(shape) not in kept:
        return None
    return found[kept.index(dim % len(shape))] - len(inside)


def inputs_first(outputs: Iterable[Node]) -> list[Node]:
    """Return the outputs and everything that they need, arguments first."""
    seen, order = set[Node](), list[Node]()
    stack = [(v, False) for v in reversed(list(outputs))]
    while stack:
        v, ready = stack.pop()
        if ready:
            order.append(v)
        elif v not in seen:
            seen.add(v)
            stack.append((v, True))
            stack.extend((a, False) for a in reversed(v.nodes))
    return order


def look_through(v: Node) -> Node:
    """Return what v is behind views and changes of type."""
    while v.op in MOVES:
        v = v.nodes[0]
    return v
