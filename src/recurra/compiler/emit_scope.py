"""The text inside one loop of the emitted C++: expressions, loads and stores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from recurra.compiler.access import Affine, Coordinates, coordinates_of, linear, through_view
from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import MOVES, Value
from recurra.compiler.lower import Buffer, Group, Lowered, Store
from recurra.compiler.operations import POINTWISE
from recurra.compiler.varying import varies

__all__ = ["REST", "TYPES", "Scope", "Surroundings", "counted", "loops", "nested"]

REST = "rest"
"""A number of lanes that is known at run time only."""

TYPES = {"real": "R", "int": "int64_t", "bool": "uint8_t"}
"""The C++ type in memory of every kind of number."""


class Surroundings(Protocol):
    """What a scope knows of the loop that it is in."""

    lanes: int
    lowered: Lowered

    def row(self, buffer: Buffer) -> str:
        """Return the distance from row to row of a buffer."""
        ...


class Scope:
    """The text inside one loop: named values, and the pointers to this row of every buffer that is used."""

    def __init__(self, emitter: Surroundings, group: Group, products: dict[Value, str], asleep: bool = False) -> None:
        """asleep: the group's condition is false, so that a choice takes its other side, and all else may be 0."""
        self._e = emitter
        self._asleep = asleep
        self._group = group
        self._products = products
        self._members = set(group.values)
        self._memo: dict[tuple[Value, Coordinates], str] = {}
        self._used: dict[str, str] = {}
        self._count = 0
        dims = loops(group.shape)
        self._vector = f"j{dims[-1][0]}" if dims else ""

    def rows(self) -> str:
        """Return the pointers to the current row."""
        return "".join(self._used.values())

    def forget(self) -> None:
        """Forget the named values: another copy of the text follows."""
        self._memo.clear()

    def vectorised(self, dims: Sequence[tuple[int, int]], body: Callable[[str], str]) -> str:
        """Return loops over `dims`, the last one in vectors, the body once for whole vectors and once for the rest."""
        if not dims:
            text = body("1")
            self.forget()
            return "{" + text + "}\n"
        d, n = dims[-1]
        lanes = self._e.lanes
        text = ""
        if varies(n):
            text += f"for (long j{d} = 0; j{d} + {lanes} <= {n}; j{d} += {lanes}) {{ {body(str(lanes))} }}\n"
            self.forget()
            text += f"if (const int rest = {n} % {lanes}) {{ const long j{d} = {n} - rest; {body(REST)} }}\n"
            self.forget()
            return nested(dims[:-1], text)
        if n >= lanes:
            text += f"for (long j{d} = 0; j{d} + {lanes} <= {n}; j{d} += {lanes}) {{ {body(str(lanes))} }}\n"
            self.forget()
        if n % lanes:
            text += f"{{ const long j{d} = {n - n % lanes}; {body(str(n % lanes))} }}\n"
            self.forget()
        return nested(dims[:-1], text)

    def value(self, v: Value, at: Coordinates, m: str, top: bool = False) -> tuple[str, str]:
        """Return the name of a value at some coordinates, and the text that has to stand before its use."""
        key = (v, at)
        if key in self._memo:
            return self._memo[key], ""
        lowered = self._e.lowered
        own = at == coordinates_of(v.shape) and v in self._members
        if self._asleep and own:
            if v.op != "where":
                return self._number(0, v.kind), ""
            other = v.args[2]
            return self.value(other, at, m) if isinstance(other, Value) else (self._number(other, v.kind), "")
        if v in self._products and own:
            text, name = "", f"L::template load<{self._e.lanes}>({self._products[v]} + u * {self._e.lanes})"
        elif v in lowered.home and not own:
            text, name = "", self._load(lowered.home[v], v, linear(v.shape, at), m)
        elif v.op == "fill":
            return self._number(v.attrs[0], v.kind), ""
        elif v.op in MOVES or v.op == "stop":
            return self._through(v, at, m)
        elif v.op in POINTWISE:
            text, name = self._point(v, at, m)
        else:
            raise Unsupported(v.op, "it cannot be read here", v.where)
        self._count += 1
        local = f"t{self._count}"
        self._memo[key] = local
        return local, f"{text}const auto {local} = {name};\n"

    def _point(self, v: Value, at: Coordinates, m: str) -> tuple[str, str]:
        text, names = "", list[str]()
        kinds = {a.kind for a in v.values}
        kind = v.kind if v.op == "where" else "real" if "real" in kinds else "int" if "int" in kinds else "bool"
        for a in v.args:
            if isinstance(a, Value):
                name, before = self.value(a, at, m)
                text += before
                names.append(name)
            else:
                names.append(self._number(a, kind))
        cpp = POINTWISE[v.op].cpp
        source = v.values[0].kind if v.values else kind
        if v.op in ("to_real", "to_int", "to_bool") and source == "bool":
            cpp = {"to_real": "L::truth({0})", "to_int": "L::count({0})", "to_bool": "{0}"}[v.op]
        return text, cpp.format(*names)

    def _through(self, v: Value, at: Coordinates, m: str) -> tuple[str, str]:
        (source,) = v.values
        if v.op == "stop":
            return self.value(source, at, m)
        below = through_view(v.op, v.attrs, source.shape, v.shape, at)
        if below is not None:
            return self.value(source, below, m)
        home = self._e.lowered.home.get(source)
        if home is None:
            raise Unsupported("reshape", "it joins dimensions of a value that is not in memory", v.where)
        return self._load(home, source, linear(v.shape, at), m), ""

    def _load(self, buffer: Buffer, v: Value, where: Affine, m: str) -> str:
        address, step = self._address(buffer, where)
        if step == 0:
            return f"L::one({address[0]}[{address[1]}])"
        if step == 1:
            return counted("load", m, f"{address[0]} + {address[1]}")
        return counted("gather", m, f"{address[0]} + {address[1]}, {step}")

    def store(self, store: Store, v: Value, at: Coordinates, name: str, m: str) -> str:
        """Return the text that writes a value."""
        if store.dim >= 0:
            at = tuple((c[0] + store.start, c[1]) if d == store.dim else c for d, c in enumerate(at))
        (pointer, index), step = self._address(store.buffer, linear(store.buffer.shape, at))
        if step == 0:
            return f"L::template store<1>({pointer} + {index}, {name});\n"
        if step == 1:
            return counted("store", m, f"{pointer} + {index}, {name}") + ";\n"
        return counted("scatter", m, f"{pointer} + {index}, {step}, {name}") + ";\n"

    def _address(self, buffer: Buffer, where: Affine) -> tuple[tuple[str, str], int]:
        step = 0
        parts: list[str] = []
        for name, factor in where[1]:
            if name == "?" or name == "b":
                raise Unsupported("view", "it mixes the batch's dimension with others")
            step = factor if name == self._vector else step
            parts.append(name if factor == 1 else f"{factor} * {name}")
        if where[0] or not parts:
            parts.append(str(where[0]))
        pointer = buffer.name
        if buffer.place != "constant":
            pointer = f"{buffer.name}_b"
            kind = TYPES[buffer.kind]
            self._used[pointer] = f"{kind}* {pointer} = {buffer.name} + b * {self._e.row(buffer)};\n"
        return (pointer, f"({' + '.join(parts)})"), step

    def _number(self, number: Any, kind: str) -> str:
        if kind == "bool":
            return f"L::one(uint8_t({int(bool(number))}))"
        if kind == "int":
            return f"L::one(int64_t({int(number)}))"
        x = float(number)
        if varies(x):
            return f"L::one(R({int(x)}))"
        if x != x:
            return 'L::one(R(__builtin_nan("")))'
        infinite = "-__builtin_inf()" if x < 0 else "__builtin_inf()"
        return f"L::one(R({infinite if math.isinf(x) else repr(x)}))"


def counted(function: str, m: str, arguments: str) -> str:
    """Return the call of a function on as many lanes as m says."""
    return f"L::{function}({arguments}, {REST})" if m == REST else f"L::template {function}<{m}>({arguments})"


def loops(shape: Sequence[int]) -> list[tuple[int, int]]:
    """Return the dimensions to loop over, rows apart, as (dimension, size)."""
    return [(d, abs(n)) for d, n in enumerate(shape) if abs(n) != 1]


def nested(dims: Sequence[tuple[int, int]], body: str) -> str:
    """Return loops over dimensions around a text."""
    return "".join(f"for (long j{d} = 0; j{d} < {n}; j{d}++) " for d, n in dims) + "{" + body + "}\n"
