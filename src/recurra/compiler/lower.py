"""Pass 5, lower: values become groups, each a loop over one shape, with buffers between them.

A group is a set of values of one shape that are computed together, matrix products and the pointwise operations on them
alike: the products' sums stay in the tile while the pointwise part runs. What another group reads is stored. A value's
level is the number of groups that must have run before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from recurra.compiler.access import coordinates_of, through_view
from recurra.compiler.asleep import asleep
from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import MOVES, Arg, Graph, Value, topological
from recurra.compiler.operations import POINTWISE

__all__ = ["Buffer", "Group", "Lowered", "Store", "lower"]


@dataclass(eq=False)
class Buffer:
    """Memory for one value. place: "constant" (no rows), "row" (pointer plus row times stride), or "scratch"."""

    name: str
    shape: tuple[int, ...]
    kind: str
    place: str


@dataclass(frozen=True)
class Store:
    """Where a value is written: a buffer, and where it begins along one of its dimensions."""

    buffer: Buffer
    dim: int = -1
    start: int = 0


@dataclass
class Group:
    """Values of one shape, computed in one loop. kind: "point" (with or without matrix products) or "reduce".
    condition: products need not run in rows where it is false; None if they always must."""

    level: int
    kind: str
    shape: tuple[int, ...]
    condition: Value | None = None
    values: list[Value] = field(default_factory=list[Value])


@dataclass
class Lowered:
    """One time step: groups in order, what each value is stored to, and the scratch buffers."""

    groups: list[Group]
    stores: dict[Value, list[Store]]
    home: dict[Value, Buffer]
    scratch: list[Buffer]
    inline: set[Value]


def lower(
    graph: Graph, outputs: Sequence[tuple[Value, Buffer]], inputs: dict[Value, Buffer], saved: Collection[Value] = ()
) -> Lowered:
    """Lower one loop body. outputs: what is written where; inputs: where the leaves lie; saved: those outputs that
    the backward alone reads."""
    return _Lowering(graph, outputs, inputs, saved).run()


class _Lowering:
    def __init__(
        self,
        graph: Graph,
        outputs: Sequence[tuple[Value, Buffer]],
        inputs: dict[Value, Buffer],
        saved: Collection[Value],
    ) -> None:
        self._graph = graph
        self._inputs = inputs
        self._stores: dict[Value, list[Store]] = {}
        self._home: dict[Value, Buffer] = dict(inputs)
        self._scratch: list[Buffer] = []
        self._levels: dict[Value, int] = {}
        self._must: set[Value] = set()
        prepared = self._prepare([v for v, _ in outputs])
        exact = {p for p, (v, _) in zip(prepared, outputs, strict=True) if v not in saved}
        self._asleep = asleep(prepared, inputs, exact)
        self._must.update(c for c in map(self._base, self._asleep.values()) if c not in inputs)
        self._roots: list[Value] = []
        for v, (_, buffer) in zip(prepared, outputs, strict=True):
            self._write(v, Store(buffer))
        self._expand_joins()

    def run(self) -> Lowered:
        order = topological(self._roots, self._inputs)
        uses: dict[Value, list[Value]] = {}
        for v in order:
            if v not in self._inputs:
                for a in v.values:
                    uses.setdefault(a, []).append(v)
        self._inline = {
            v for v in order
            if v.op in POINTWISE and v not in self._stores and not POINTWISE[v.op].costly and len(uses.get(v, [])) == 1
            and uses[v][0].op in ("sum", "amax")
        }  # fmt: skip
        self._cheap = {
            v for v in order
            if v.op in POINTWISE and v not in self._stores and v not in self._must and not POINTWISE[v.op].costly
            and all(self._base(a) in self._inputs or self._base(a).op == "fill" for a in v.values)
        }  # fmt: skip
        for v in order:
            self._level(v)
        stored = self._stored(order)
        for v in order:
            if v in stored and v not in self._home:
                self._home[v] = self._new_buffer(v)
                self._stores.setdefault(v, []).append(Store(self._home[v]))
        return Lowered(self._groups(order), self._stores, self._home, self._scratch, self._inline | self._cheap)

    def _prepare(self, roots: list[Value]) -> list[Value]:
        """Insert copies where a value must lie in memory in its own order: left sides, and reshapes that join."""
        new: dict[Value, Value] = {}
        for v in topological(roots, self._inputs):
            if v in self._inputs or not v.args:
                new[v] = v
                continue
            args: list[Arg] = [new[a] if isinstance(a, Value) else a for a in v.args]
            if v.op == "mm":
                args = [a if k % 2 or not isinstance(a, Value) else self._left(a) for k, a in enumerate(args)]
            elif v.op == "reshape" and isinstance(args[0], Value):
                source = args[0]
                if through_view("reshape", (), source.shape, v.shape, coordinates_of(v.shape)) is None:
                    args = [self._solid(source)]
            new[v] = self._graph.make(v.op, args, v.attrs, v.shape, v.kind)
            new[v].where = new[v].where or v.where
        return [self._storable(new[r]) for r in roots]

    def _solid(self, v: Value) -> Value:
        v = v if v in self._inputs else self._storable(v)
        self._must.add(v)
        return v

    def _storable(self, v: Value) -> Value:
        """Return a value that some group computes: a copy of inputs, views and constants."""
        if v in self._inputs or v.op in MOVES or v.op in ("fill", "stop"):
            return self._graph.make(f"to_{v.kind}", (v,), (), v.shape, v.kind)
        return v

    def _left(self, v: Value) -> Value:
        base = v
        if v.op == "slice" and v.attrs[0] == 1 and v.attrs[2] == 1 and v not in self._inputs:
            base = v.values[0]
        if len(base.shape) == 2 and base.shape[0] < 0 and (base in self._inputs or base.op not in MOVES):
            self._solid(base) if base.op != "fill" else None
            if base.op != "fill":
                return v
        return self._solid(v)

    def _write(self, v: Value, store: Store) -> None:
        self._stores.setdefault(v, []).append(store)
        if v not in self._home and store.dim < 0:
            self._home[v] = store.buffer
        self._roots.append(v)

    def _expand_joins(self) -> None:
        """Turn joins into several values written side by side."""
        joins = [v for v in topological(self._roots, self._inputs) if v.op == "cat" and v not in self._inputs]
        for v in reversed(joins):
            if v not in self._home:
                self._home[v] = self._new_buffer(v)
                self._stores.setdefault(v, []).append(Store(self._home[v]))
            at = 0
            for part in v.values:
                storable = self._joined(part)
                for store in self._stores[v]:
                    self._stores.setdefault(storable, []).append(Store(store.buffer, v.attrs[0], at))
                self._roots.append(storable)
                at += part.shape[v.attrs[0]]

    def _joined(self, part: Value) -> Value:
        """Return what is written where a join has this part: a join inside a join is copied once it is whole."""
        if part.op == "cat" and part not in self._inputs:
            return self._graph.make(f"to_{part.kind}", (part,), (), part.shape, part.kind)
        return self._storable(part)

    def _new_buffer(self, v: Value) -> Buffer:
        buffer = Buffer(f"w{len(self._scratch)}", v.shape, v.kind, "scratch")
        self._scratch.append(buffer)
        return buffer

    def _base(self, v: Value) -> Value:
        while v not in self._inputs and (v.op in MOVES or v.op == "stop") and v not in self._stores:
            v = v.values[0]
        return v

    def _level(self, v: Value) -> int:
        if v in self._levels:
            return self._levels[v]
        if v in self._inputs or v.op == "fill":
            level = -1
        elif v.op in MOVES or v.op == "stop":
            level = self._level(v.values[0])
        elif v.op == "mm":
            level = max(0, self._awake(v), *(self._level(self._base(a)) + 1 for a in v.values[::2]))
        elif v.op in ("sum", "amax"):
            (a,) = v.values
            level = max([0, *(self._after(q) for q in a.values)]) if a in self._inline else max(0, self._after(a))
        elif v.op == "cat":
            level = max(self._level(self._joined(a)) for a in v.values)
        elif v.op in POINTWISE:
            level = self._awake(v)
            for a in v.values:
                same = self._alike(a, v) and a not in self._inputs
                level = max(level, self._level(a) if same else self._after(a))
        else:
            raise Unsupported(v.op, "it cannot run inside the loop", v.where)
        self._levels[v] = level
        return level

    def _awake(self, v: Value) -> int:
        """Return the first level at which it is known whether a value sleeps."""
        return self._after(self._asleep[v]) if v in self._asleep else 0

    def _after(self, a: Value) -> int:
        """Return the first level at which a value from another group can be read."""
        base = self._base(a)
        if base in self._inputs or base.op == "fill" or base in self._cheap:
            return 0
        return self._level(base) + 1

    def _stored(self, order: Sequence[Value]) -> set[Value]:
        stored = set(self._stores) | {v for v in self._must if v not in self._inputs}
        for v in order:
            if v in self._inputs:
                continue
            if v.op in ("sum", "amax"):
                stored.add(v)
                readers = [(q, True) for q in (v.values[0].values if v.values[0] in self._inline else v.values)]
            elif v.op == "mm":
                readers = [(a, True) for a in v.values[::2]]
            elif v.op in POINTWISE and v not in self._inline:
                readers = [(a, not self._together(a, v)) for a in v.values]
            else:
                continue
            for a, apart in readers:
                base = self._base(a)
                if (
                    (apart or base is not a)
                    and base not in self._inputs
                    and base.op != "fill"
                    and base not in self._cheap
                ):
                    stored.add(base)
        return stored

    def _alike(self, a: Value, v: Value) -> bool:
        """Tell whether a value can be computed in one loop with v, which reads it."""
        same = a.op in POINTWISE or (a.op == "mm" and a.shape[0] == -1)
        return same and self._asleep.get(a) is self._asleep.get(v)

    def _together(self, a: Value, v: Value) -> bool:
        return self._alike(a, v) and self._level(a) == self._level(v)

    def _groups(self, order: Sequence[Value]) -> list[Group]:
        groups: dict[tuple[object, ...], Group] = {}
        for v in order:
            if v in self._inputs or v in self._inline or (v in self._cheap and v not in self._stores):
                continue
            if v.op in POINTWISE or v.op == "mm":
                folded = v.op == "mm" and v.shape[0] != -1
                condition = self._asleep.get(v)
                key: tuple[object, ...] = (self._level(v), "point", v.shape, folded, condition)
                group = Group(self._level(v), "point", v.shape, condition)
            elif v.op in ("sum", "amax"):
                operand = v.values[0]
                key = (self._level(v), "reduce", v.op, operand.shape, v.attrs)
                group = Group(self._level(v), "reduce", operand.shape)
            else:
                continue
            groups.setdefault(key, group).values.append(v)
        return sorted(groups.values(), key=lambda g: (g.level, g.values[0].id))
