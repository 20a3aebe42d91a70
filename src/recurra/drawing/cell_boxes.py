"""The boxes of a cell's diagram: what a reader sees as one thing, and the operations of the step that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from recurra.drawing.formula import Equation, Expression, Number, Run, function_sign, runs
from recurra.drawing.naming import ACTIVATIONS, is_piece
from recurra.drawing.stages import STAGES, stage_of, values_after
from recurra.drawing.step_graph import MOVES, Argument, Node, look_through
from recurra.drawing.symbols import Symbol
from recurra.drawing.wording import Wording, is_outer

__all__ = ["Box", "Chip", "Link", "boxes_of"]

_MOST = 40
_SIGNS = {"mul": "×", "add": "+", "sub": "−", "div": "÷", "product": "·", "maximum": "max", "minimum": "min"}
_WORDS = {
    "eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥", "remainder": "mod", "div": "÷", "pow": "^",
    "and": "∧", "or": "∨", "xor": "xor", "not": "¬", "cat": "join", "square": "( )²", "abs": "| |", "neg": "−( )",
    "reciprocal": "1 / ( )", "transpose": "( )⊤", "amax": "max", "amin": "min", "clamp_min": "max", "clamp_max": "min",
}  # fmt: skip


@dataclass(frozen=True)
class Chip:
    """A term inside a layer: `W x`, with its stage; "" for a bias."""

    text: tuple[Run, ...]
    stage: str


@dataclass(eq=False)
class Box:
    """kind: "port" (an argument), "result", "layer" (an activation of a sum of products), "sign" (a circle), "function"
    or "constant". name: the symbol of its value. links: where it takes its values from."""

    kind: str
    text: tuple[Run, ...]
    stage: str
    events: frozenset[int]
    links: list[Link] = field(default_factory=list["Link"])
    chips: tuple[Chip, ...] = ()
    name: Symbol | None = None
    names: tuple[Symbol, ...] = ()
    elementwise: bool = False
    inside: bool = False
    """What is written where values enter stands inside the box."""


@dataclass(frozen=True)
class Link:
    """A value that a box takes: from which box, and what is written where it enters."""

    source: Box
    label: str = ""


def boxes_of(wording: Wording) -> list[Box]:
    """Return the boxes of a step: the ports of its arguments first, what it returns last.

    A step of more than 40 boxes is drawn by its equations instead: one box for each value that has a name.
    """
    made = _Boxes(wording).made
    return made if len(made) <= _MOST else _Boxes(wording, by_equation=True).made


class _Boxes:
    def __init__(self, wording: Wording, by_equation: bool = False) -> None:
        self.wording = wording
        self.by_equation = by_equation
        self.names = wording.names
        graph = wording.graph
        self._after = values_after(graph)
        self._of: dict[Node, Box] = {}
        self.made: list[Box] = []
        used = set(graph.order())
        for v in [*graph.state, graph.x, *graph.context]:
            # An argument that nothing depends on is shown all the same: it is part of the interface.
            if v in used or v in graph.state or v is graph.x:
                symbol = self.names.symbols[v]
                self._of[v] = self._add(Box("port", tuple(runs(symbol)), "port", frozenset(), name=symbol))
        results: dict[Node, Box] = {}
        for v, symbol in self.names.outputs():
            inside = look_through(v)
            events = v.events if v.op in MOVES else frozenset[int]()
            if inside in results:
                results[inside].names = (*results[inside].names, symbol)
                results[inside].events |= events
            else:
                results[inside] = Box("result", (), "port", events, [Link(self.box(v))], names=(symbol,))
        for box in results.values():
            first, *more = dict.fromkeys(box.names)
            box.text = tuple(runs(Equation(more[0], first) if more else first))
            self._add(box)

    def box(self, v: Node) -> Box:
        """Return the box that gives v."""
        inside = look_through(v)
        if inside not in self._of:
            made = self._make(inside)
            made.name = self.names.symbols.get(inside) if made.kind != "constant" and not self.by_equation else None
            self._of[inside] = self._add(made)
        box = self._of[inside]
        while v.op in MOVES:
            box.events |= v.events
            v = v.nodes[0]
        return box

    def _add(self, box: Box) -> Box:
        if box not in self.made:
            self.made.append(box)
        return box

    def _stage(self, v: Node) -> str:
        return stage_of(v.needs, v in self._after)

    def _make(self, v: Node) -> Box:
        if not v.needs:
            return self._constant(v)
        if self.by_equation:
            return self._equation(v)
        if v.op in ACTIVATIONS and len(v.nodes) == 1:
            inside = look_through(v.nodes[0])
            if self._is_layer(inside) and inside not in self.names.symbols:
                return self._layer(v, inside)
        if self._is_layer(v):
            return self._added(v) if self._others(v) else self._layer(None, v)
        if v.op in ("add", "sub", "neg") and len(self.names.terms(v, "+", True)) > 1:
            return self._sum(v)
        return self._operation(v)

    def _constant(self, v: Node) -> Box:
        """What parameters alone give."""
        inside = [n for n in self._below(v) if not n.needs]
        events = frozenset(e for n in inside for e in n.events)
        symbol = self.names.symbols.get(v)
        leaf = v.op in ("parameter", "constant", "number") or is_piece(v)
        written: Expression | Equation = self.wording.expression(v, top=not leaf)
        if symbol is not None and not leaf:
            written = Equation(symbol, written)
        return Box("constant", _short(runs(written)), "once", events)

    def _equation(self, v: Node) -> Box:
        """All that stands in v's own equation, in one box."""
        inside: list[Node] = []
        links: list[Link] = []
        stack = [v]
        while stack:
            n = look_through(stack.pop())
            if n is not v and n.needs and (n in self.names.symbols or n in self._of):
                links.append(Link(self.box(n)))
            elif n not in inside:
                inside.append(n)
                stack += reversed(n.nodes)
        events = frozenset(e for n in inside for e in n.events)
        written = self.wording.expression(v, top=True)
        symbol = self.names.symbols.get(v)
        text = runs(Equation(symbol, written) if symbol is not None else written)
        return Box("function", _short(text, 44), self._stage(v), events, _once(links))

    def _is_layer(self, v: Node) -> bool:
        return v.op in ("add", "sub", "matrix", "convolution") and any(
            a.kind == "weights" for a in self.wording.addends(v)
        )

    def _others(self, total: Node) -> list[Link]:
        """Return what is added to a layer besides products, biases and constants."""
        addends = [(a.node, a.sign) for a in self.wording.addends(total) if a.kind == "other"]
        return [Link(self.box(n), "−" if s == "-" else "+") for n, s in addends if isinstance(n, Node) and n.needs]

    def _added(self, total: Node) -> Box:
        """A sum of a layer without an activation and of something else: a circle, so that h + (W x + b) is seen."""
        inner = self._add(self._layer(None, total, alone=True))
        links = [Link(o.source, o.label.replace("+", "")) for o in self._others(total)]
        events = total.events | self._sum_events(total)
        return Box("sign", (Run("+"),), self._stage(total), events, [*links, Link(inner)], elementwise=True)

    def _layer(self, activation: Node | None, total: Node, alone: bool = False) -> Box:
        """An activation (or none) of a sum of weights times values, biases, and, if not alone, whatever is added."""
        out = activation or total
        events = out.events | total.events | self._sum_events(total)
        chips: list[Chip] = []
        links: list[Link] = []
        joined: list[Node] = []
        stages = ["once"]
        for addend in self.wording.addends(total):
            node, sign = addend.node, "−" if addend.sign == "-" else ""
            if not isinstance(node, Node):
                chips.append(Chip((Run(sign), *runs(Number(node))), "once"))
            elif addend.kind == "bias":
                text = tuple(runs(self.names.biases[look_through(node)]))
                events |= self._all_events(node)
                if all(c.text != text for c in chips):
                    chips.append(Chip(text, ""))
            elif addend.kind == "weights":
                product = look_through(node)
                weight, vector = product.nodes
                events |= product.events | self._all_events(weight)
                stages.append(self._stage(product))
                if self.wording.joins(product, addend.sign):
                    joined.append(product)
                else:
                    chips.append(
                        Chip(
                            (Run(sign), *_short(runs(self.wording.expression(product, top=product is total)))),
                            self._stage(product),
                        )
                    )
                links.append(Link(self.box(vector)))
                links += [Link(self.box(a)) for a in self._below(weight) if a.op == "context"]
            elif not node.needs:
                events |= self._all_events(node)
                chips.append(Chip((Run(sign), *runs(self.wording.expression(node))), "once"))
        links += [] if alone else self._others(total)
        latest = max(stages, key=list(STAGES).index)
        if joined:
            chips.insert(0, Chip(_short(runs(self.wording.joined(joined))), latest))
        text = (Run(function_sign(activation.op)),) if activation is not None else ()
        stage = latest if alone else self._stage(out)
        return Box("layer", text, stage, events, _once(links), _biases_last(chips))

    def _sum(self, v: Node) -> Box:
        terms = self.names.terms(v, "+", True)
        events = v.events | self._sum_events(v)
        numbers = [(s, n) for s, n in terms if not isinstance(n, Node)]
        nodes = [(s, n) for s, n in terms if isinstance(n, Node)]
        shown = "".join(("+" if s == "+" else "−") + _plain(n) for s, n in numbers)
        if len(numbers) == 1 and len(nodes) == 1:
            sign, number = numbers[0]
            if nodes[0][0] == "-":  # 1 − z, as it is always written
                return self._with(v, "sign", ("−" if sign == "-" else "") + _plain(number) + "−", [nodes[0][1]], events)
            return self._with(v, "sign", shown, [nodes[0][1]], events)
        links = [Link(self.box(n), "−" if s == "-" else "") for s, n in nodes]
        return Box("sign", (Run("+" + shown[1:] if shown else "+"),), self._stage(v), events, links, elementwise=True)

    def _operation(self, v: Node) -> Box:
        first = v.args[0] if v.args else None
        if v.op == "where":
            labels = ("if", "then", "else")
            links = [Link(self._argument(a), label) for a, label in zip(v.args, labels, strict=True)]
            return Box("function", (Run("choose"),), self._stage(v), v.events, links, elementwise=True, inside=True)
        numbers = [a for a in v.args if not isinstance(a, Node)]
        if v.op in _SIGNS and len(v.nodes) == 2:
            outer = v.op == "mul" and is_outer(v)
            return self._with(v, "sign", "⊗" if outer else _SIGNS[v.op], v.nodes, v.events, elementwise=not outer)
        if v.op == "mul" and numbers:
            return self._with(v, "sign", f"{_plain(numbers[0])}·", v.nodes, v.events, elementwise=True)
        if v.op == "part":
            _, start, length, step = v.attrs
            assert isinstance(start, int)
            assert isinstance(length, int)
            assert isinstance(step, int)
            return self._with(v, "function", f"part {start}:{start + length * step}", v.nodes, v.events)
        word = _WORDS.get(v.op, function_sign(v.op))
        if len(v.args) == 2 and isinstance(first, Node) and not isinstance(v.args[1], Node):
            shown = f"{word} {_plain(v.args[1])}"
            return self._with(v, "function", shown, v.nodes, v.events)
        if len(v.args) == 2 and numbers and not isinstance(first, Node):
            return self._with(v, "function", f"{_plain(numbers[0])} {word}", v.nodes, v.events)
        if v.op in ("layer_norm", "rms_norm"):
            weights = frozenset(e for a in v.nodes[1:] for e in self._all_events(a))
            return self._with(v, "function", word, v.nodes[:1], v.events | weights)
        return self._with(v, "function", word, v.nodes, v.events)

    def _with(
        self,
        v: Node,
        kind: str,
        text: str,
        sources: Sequence[Node],
        events: frozenset[int],
        elementwise: bool = False,
    ) -> Box:
        return Box(
            kind, (Run(text),), self._stage(v), events, [Link(self.box(a)) for a in sources], elementwise=elementwise
        )

    def _argument(self, a: Argument) -> Box:
        if isinstance(a, Node):
            return self.box(a)
        return self._add(Box("constant", (Run(_plain(a)),), "once", frozenset()))

    def _sum_events(self, v: Node) -> frozenset[int]:
        """Return the events of the sums and negations within a sum, up to its terms."""
        found = v.events
        if v.op in ("add", "sub", "neg"):
            for a in v.nodes:
                moved = a
                while moved.op in MOVES:
                    found |= moved.events
                    moved = moved.nodes[0]
                if moved.op in ("add", "sub", "neg") and moved not in self.names.symbols:
                    found |= self._sum_events(moved)
        return found

    def _all_events(self, v: Node) -> frozenset[int]:
        return frozenset(e for n in self._below(v) for e in n.events)

    def _below(self, v: Node) -> list[Node]:
        found: list[Node] = []
        stack = [v]
        while stack:
            n = stack.pop()
            if n not in found:
                found.append(n)
                stack += n.nodes
        return found


def _plain(number: float | int | bool) -> str:
    return "".join(r.text for r in runs(Number(number)))


def _short(written: Sequence[Run], most: int = 40) -> tuple[Run, ...]:
    """Cut a long formula."""
    kept: list[Run] = []
    for run in written:
        if sum(len(r.text) for r in kept) + len(run.text) > most:
            return (*kept, Run("…"))
        kept.append(run)
    return tuple(kept)


def _once(links: list[Link]) -> list[Link]:
    seen: set[tuple[int, str]] = set()
    kept: list[Link] = []
    for link in links:
        if (id(link.source), link.label) not in seen:
            seen.add((id(link.source), link.label))
            kept.append(link)
    return kept


def _biases_last(chips: list[Chip]) -> tuple[Chip, ...]:
    return tuple(sorted(chips, key=lambda c: not c.stage))
