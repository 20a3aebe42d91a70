"""From a step's graph to its formulas: how each value is written, in terms of those that have a name of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recurra.drawing.formula import (
    Call,
    Equation,
    Expression,
    Infix,
    Join,
    Number,
    Piecewise,
    Sum,
    Transposed,
    to_latex,
)
from recurra.drawing.naming import Names
from recurra.drawing.notation import Notation
from recurra.drawing.step_graph import Argument, Node, StepGraph, look_through

__all__ = ["Addend", "Wording", "is_outer"]

_INFIX = {
    "mul": "⊙", "div": "/", "pow": "^", "eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥",
    "remainder": "mod", "and": "∧", "or": "∨", "xor": "xor", "product": "", "matrix": "", "convolution": "∗",
}  # fmt: skip
_CONDITIONS = frozenset(["eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "not"])


@dataclass(frozen=True)
class Addend:
    """A term of a sum. kind: "weights" (a matrix times something), "bias", or "other"."""

    sign: str
    node: Argument
    kind: str


class Wording:
    """How the values of a step are written, under `names`."""

    def __init__(self, graph: StepGraph, notation: Notation) -> None:
        self.graph = graph
        self.names = Names(graph, notation)
        self._joined: dict[Node, list[Node]] = {}

    def equations(self) -> list[Equation]:
        """Return the step's equations, in the order in which they can be worked out."""
        made = [Equation(self.names.symbols[v], self._right_side(v)) for v in self.names.named]
        for v, symbol in self.names.outputs():
            if self.names[v] != symbol:
                made.append(Equation(symbol, self.expression(v)))
        return made

    def _right_side(self, v: Node) -> Expression:
        written = self.expression(v, top=True)
        # A condition's value: 1 where it holds.
        return Join((written,)) if isinstance(written, Infix) and v.op in _CONDITIONS else written

    def expression(self, a: Argument, top: bool = False) -> Expression:
        """Return how a value is written; top: as the right side of its own equation."""
        if not isinstance(a, Node):
            return Number(a)
        v = look_through(a)
        if not top and v in self.names.symbols:
            return self.names.symbols[v]
        if v.op in ("add", "sub") or (v.op == "neg" and isinstance(v.args[0], Node)):
            return self._sum(v)
        return self._operation(v)

    def addends(self, v: Node) -> list[Addend]:
        """Return the terms of v, a sum or one term alone, as they stand in v's own equation."""
        return [Addend(s, t, self._kind(t, t is v)) for s, t in self.names.terms(v, "+", True)]

    def joined(self, products: Sequence[Node]) -> Expression:
        """Return products under one matrix: W [x, h]."""
        weights = [self.names.plain_weight(n.nodes[0]) for n in products]
        if weights[0] is not None:
            self._joined[weights[0]] = [w for w in weights[1:] if w is not None]
        parts = [self.expression(n.nodes[1]) for n in products]
        inside = Join(tuple(parts)) if len(parts) > 1 else parts[0]
        return Infix("", (self.expression(products[0].nodes[0]), inside))

    def legend(self) -> dict[str, str]:
        """Return, for the symbol of every weight and bias, the parameters that it stands for."""
        names = self.names
        hidden = {w for others in self._joined.values() for w in others}
        found = {
            to_latex(symbol): f"[{', '.join(map(_source_text, [v, *self._joined[v]]))}]"
            if self._joined.get(v) else _source_text(v)
            for v, symbol in names.weights.items() if v not in hidden
        }  # fmt: skip
        biases: dict[str, list[str]] = {}
        for v, symbol in names.biases.items():
            biases.setdefault(to_latex(symbol), []).append(_source_text(v))
        return found | {symbol: " + ".join(parts) for symbol, parts in biases.items()}

    def _operation(self, v: Node) -> Expression:
        if v.op == "number":
            (number,) = v.args
            return self.expression(number)
        if v.op == "matrix" and self.names.notation.joined and look_through(v.nodes[1]).op == "cat":
            return Infix("", (self.expression(v.nodes[0]), self.expression(v.nodes[1])))
        if v.op == "mul":
            return self._times(v)
        if v.op in _INFIX:
            return Infix(_INFIX[v.op], tuple(self.expression(a) for a in v.args))
        if v.op == "square":
            return Infix("^", (self.expression(v.args[0]), Number(2)))
        if v.op == "reciprocal":
            return Infix("/", (Number(1), self.expression(v.args[0])))
        if v.op == "where":
            condition, then, otherwise = (self.expression(a) for a in v.args)
            return Piecewise(condition, then, otherwise)
        if v.op == "cat":
            return Join(tuple(self.expression(a) for a in v.args))
        if v.op == "transpose":
            inside = self.expression(v.args[0])
            # Weights that stand on the right of a row vector stand on the left of a column vector.
            return inside if look_through(v.nodes[0]) in self.names.weights else Transposed(inside)
        if v.op == "part":
            _, start, length, step = v.attrs
            assert isinstance(start, int)
            assert isinstance(length, int)
            assert isinstance(step, int)
            bounds = f"{start}:{start + length * step}" if length > 1 else f"{start}"
            return Call("part", (self.expression(v.args[0]),), bounds)
        if v.op in ("layer_norm", "rms_norm"):
            return Call(v.op, (self.expression(v.args[0]),))
        shifted = str(v.attrs[0]).strip("[]") if v.op == "roll" and v.attrs else ""
        return Call(v.op, tuple(self.expression(a) for a in v.args), shifted)

    def _times(self, v: Node) -> Expression:
        one, two = v.args
        if isinstance(one, Node) and isinstance(two, Node):
            return Infix("⊗" if is_outer(v) else "⊙", (self.expression(one), self.expression(two)))
        number, node = (one, two) if not isinstance(one, Node) else (two, one)
        if number == 1:
            return self.expression(node)
        return Infix("", (self.expression(number), self.expression(node)))

    def _sum(self, v: Node) -> Expression:
        first: list[tuple[str, Expression]] = []
        products: list[tuple[str, Expression]] = []
        biases: list[tuple[str, Expression]] = []
        last: list[tuple[str, Expression]] = []
        joined: list[Node] = []
        for addend in self.addends(v):
            node = addend.node
            if addend.kind == "bias" and isinstance(node, Node):
                bias = (addend.sign, self.names.biases[look_through(node)])
                biases += [] if bias in biases else [bias]
            elif addend.kind == "other":
                (last if products or joined else first).append((addend.sign, self.expression(node)))
            elif isinstance(node, Node) and self.joins(node, addend.sign):
                joined.append(node)
            else:
                products.append((addend.sign, self.expression(node)))
        if joined:
            products.insert(0, ("+", self.joined(joined)))
        terms = [*first, *products, *biases, *last]
        # What is multiplied by 0 (a leak of 1) is left out.
        terms = [t for t in terms if not _is_nothing(t[1])] or terms
        sign, alone = terms[0]
        return alone if len(terms) == 1 and sign == "+" else Sum(tuple(terms))

    def joins(self, product: Node, sign: str) -> bool:
        """Tell whether a product is to be joined with others under one matrix."""
        return self.names.notation.joined and sign == "+" and self.names.role(product) != "output"

    def _kind(self, a: Argument, whole: bool) -> str:
        if not isinstance(a, Node):
            return "other"
        v = look_through(a)
        if v.op in ("matrix", "convolution") and (whole or v not in self.names.symbols):
            return "weights"
        return "bias" if v in self.names.biases else "other"


def _is_nothing(e: Expression) -> bool:
    return e == Number(0.0) or (isinstance(e, Infix) and e.operator in ("", "⊙") and Number(0.0) in e.sides)


def is_outer(v: Node) -> bool:
    """Tell whether a product of entries is one of columns with rows: a matrix from two vectors."""
    one, two = v.nodes
    shapes = [a.shape[-2:] for a in (one, two)]
    return all(len(s) == 2 for s in shapes) and shapes[0][1] == 1 != shapes[1][1] and shapes[1][0] == 1 != shapes[0][0]


def _source_text(v: Node) -> str:
    """Return a parameter's name, with the rows that are meant: `weight_ih[4:8]`."""
    if v.op == "part":
        dim, start, length, _ = v.attrs
        assert isinstance(start, int)
        assert isinstance(length, int)
        columns = ":, " if dim == -1 and len(v.shape) > 1 else ""
        return f"{_source_text(look_through(v.nodes[0]))}[{columns}{start}:{start + length}]"
    return _source_text(look_through(v.nodes[0])) if v.nodes else str(v.attrs[0])
