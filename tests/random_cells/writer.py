"""Writes the source of a `recurra.Cell` statement by statement, keeping account of shapes, kinds and magnitudes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from random_cells.choices import Choices, chance, one_of

__all__ = ["CARRIED", "Shape", "Statement", "Term", "Writer", "count"]

Shape: TypeAlias = tuple[int, ...]

CARRIED = 3
"""The level of what depends on the state; 2: on the input, 1: on the context."""

_PIECE = 4.0
"""Terms that may be larger than this are scaled before they are used."""


@dataclass(frozen=True)
class Term:
    """A value with a row for each sequence: its name, its shape without the rows, its kind of number, its level.

    bound: roughly its largest magnitude, by which steps are kept tame; continuous: False where a small change of the
    arguments may change it much.
    """

    name: str
    shape: Shape
    kind: str = "real"
    level: int = CARRIED
    bound: float = 1.0


@dataclass(frozen=True)
class Statement:
    """One line of the step, the operation that it is an example of, and the names that it makes."""

    operation: str
    line: str
    makes: tuple[str, ...]
    level: int

    @property
    def uses(self) -> set[str]:
        """The names that it needs."""
        return set(re.findall(r"\b(?:x|[vscq]\d+)\b", self.line)) - set(self.makes)


@dataclass
class Writer:
    """The cell so far: its terms, the lines of its constructor and of its step."""

    choices: Choices
    terms: list[Term] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    _names: int = 0
    _stores: dict[str, list[tuple[str, Shape]]] = field(default_factory=dict)

    def integer(self, least: int, most: int) -> int:
        """Choose an integer."""
        return self.choices.integer(least, most)

    def chance(self, in_n: int) -> bool:
        """Decide for what happens once in n times."""
        return chance(self.choices, in_n)

    def one_of(self, options: Sequence[str]) -> str:
        """Choose among texts."""
        return one_of(self.choices, options)

    def pick(self, fits: Callable[[Term], bool] = lambda t: True, kind: str = "real") -> Term | None:
        """Choose a term of a kind, rather a late one, and rather one that depends on the state."""
        found = [t for t in reversed(self.terms) if t.kind == kind and fits(t)]
        if not self.chance(4):
            found = [t for t in found if t.level == CARRIED] or found
        return one_of(self.choices, found[:6]) if found else None

    def emit(self, operation: str, expression: str, shape: Shape, kind: str = "real", bound: float = 1.0) -> Term:
        """Write `v = expression` and return v."""
        (term,) = self.emit_many(operation, expression, [shape], kind, bound, several=False)
        return term

    def emit_many(
        self,
        operation: str,
        expression: str,
        shapes: Sequence[Shape],
        kind: str = "real",
        bound: float = 1.0,
        several: bool = True,
    ) -> list[Term]:
        """Write `(v, w, ...) = expression` and return them."""
        names = [f"v{self._names + k}" for k in range(len(shapes))]
        self._names += len(shapes)
        targets = f"({', '.join(names)},)" if several else names[0]
        level = max((t.level for t in self.terms if re.search(rf"\b{t.name}\b", expression)), default=0)
        statement = Statement(operation, f"{targets} = {expression}", tuple(names), level)
        self.statements.append(statement)
        made = [Term(name, shape, kind, level, bound) for name, shape in zip(names, shapes, strict=True)]
        self.terms.extend(made)
        return made

    def text(self, term: Term, limit: float = _PIECE) -> str:
        """Return a term's name, scaled down where it may be larger than a limit."""
        return term.name if term.bound <= limit else f"({round(limit / term.bound, 3)} * {term.name})"

    def fit(self, term: Term, shape: Shape, limit: float = _PIECE) -> str:
        """Return an expression for a term in another shape: as it is, reshaped, or through a matrix."""
        if term.shape == shape:
            return self.text(term, limit)
        if count(term.shape) != count(shape):
            weight = self.parameter((count(shape), count(term.shape)), plain=True)
            flat = self.text(term, limit) + {0: ".unsqueeze(-1)", 1: ""}.get(len(term.shape), ".flatten(1)")
            term = self.emit(
                "linear", f"F.linear({flat}, {weight})", (count(shape),), bound=1.5 * min(term.bound, limit)
            )
            if term.shape == shape:
                return self.text(term, limit)
        sizes = ", ".join(map(str, shape))
        return f"{self.text(term, limit)}.reshape(x.shape[0], {sizes})" if shape else f"{term.name}.reshape(x.shape[0])"

    def parameter(self, shape: Shape, plain: bool = False) -> str:
        """Return an expression for a tensor without rows: a parameter, perhaps one used before, or a function of it."""
        name = self._store("parameter", shape, f"nn.Parameter({_uniform(shape)})", f"{_uniform(shape)}")
        if plain:
            return name
        return self.one_of((name, name, f"torch.tanh({name})", f"({name} + 0.2)", f"(1 - {name})", f"{name}.detach()"))

    def mask(self, shape: Shape) -> str:
        """Return the name of a buffer of zeros and ones."""
        return self._store("mask", shape, None, f"(torch.rand({_tuple(shape)}) < 0.6).double()")

    def boolean(self, shape: Shape) -> str:
        """Return the name of a buffer of truth values."""
        return self._store("boolean", shape, None, f"torch.rand({_tuple(shape)}) < 0.6")

    def share(self, name: str, shape: Shape) -> None:
        """Let a tensor without rows be used as parameters are."""
        self._stores.setdefault("parameter", []).append((name, shape))

    def module(self, prefix: str, text: str) -> str:
        """Make a module in the constructor and return its name."""
        name = f"self.{prefix}{len(self.setup)}"
        self.setup.append(f"{name} = {text}")
        return name

    def buffer(self, text: str) -> str:
        """Make a buffer in the constructor and return its name."""
        name = f"b{len(self.setup)}"
        self.setup.append(f'self.register_buffer("{name}", {text})')
        return f"self.{name}"

    def live(self, outputs: Sequence[str]) -> list[Statement]:
        """Return the statements that outputs depend on."""
        needed = set(re.findall(r"\b(?:x|[vscq]\d+)\b", " ".join(outputs)))
        kept: list[Statement] = []
        for statement in reversed(self.statements):
            if needed & set(statement.makes):
                needed |= statement.uses
                kept.append(statement)
        return kept[::-1]

    def _store(self, prefix: str, shape: Shape, parameter: str | None, buffer: str) -> str:
        """Return a tensor of this sort: in one of four cases, one that was made before."""
        known = [name for name, other in self._stores.setdefault(prefix, []) if other == shape]
        if known and self.chance(4):
            return self.one_of(known)
        name = self.buffer(buffer) if not parameter or self.chance(6) else self.module("p", parameter)
        self._stores[prefix].append((name, shape))
        return name


def count(shape: Shape) -> int:
    """Return the number of entries of one row."""
    total = 1
    for n in shape:
        total *= n
    return total


def _tuple(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"


def _uniform(shape: Shape) -> str:
    """Return an expression for uniform numbers that keep a vector's length about as it is."""
    width = round(1.2 / shape[-1] ** 0.5, 3) if len(shape) > 1 else 0.9
    return f"{width} * (2 * torch.rand({_tuple(shape)}) - 1)" if shape else "0.9 * (2 * torch.rand(()) - 1)"
