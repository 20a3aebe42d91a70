"""Names for a step's values: which have one of their own, under which letter; and the letters of the weights."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from recurra.drawing.notation import Notation
from recurra.drawing.step_graph import (
    CONTEXT,
    INPUT,
    MOVES,
    STATE,
    Argument,
    Node,
    StepGraph,
    inputs_first,
    look_through,
)
from recurra.drawing.symbols import Symbol, symbol_of

__all__ = ["ACTIVATIONS", "Names", "is_piece"]

ACTIVATIONS = frozenset(
    [
        "sigmoid",
        "tanh",
        "relu",
        "softplus",
        "silu",
        "gelu",
        "elu",
        "hardsigmoid",
        "hardtanh",
        "leaky_relu",
        "softmax",
        "log_softmax",
        "sin",
        "cos",
        "exp",
        "log_sigmoid",
        "mish",
        "clamp",
    ]
)
_LEAVES = frozenset(("x", "state", "context", "parameter", "constant", "number"))
_SPARE = "uvwdeklmnpqsajbfgio"


class Names:
    """The names in a step: `symbols` of the leaves and of the values that have an equation of their own; `weights` and
    `biases`, the symbols of parameters by what they do, in one notation; `uses`, who takes each value."""

    def __init__(self, graph: StepGraph, notation: Notation) -> None:
        self.graph = graph
        self.notation = notation
        self.order = graph.order()
        self.uses = self._count_uses()
        self.symbols: dict[Node, Symbol] = {}
        self.weights: dict[Node, Symbol] = {}
        self.biases: dict[Node, Symbol] = {}
        self._taken: set[Symbol] = set()
        self._name_leaves()
        self._name_values()
        self._name_weights()
        self._name_rest()

    def __getitem__(self, v: Node) -> Symbol | None:
        """Return the symbol of a value that has one."""
        return self.symbols.get(look_through(v))

    @cached_property
    def named(self) -> list[Node]:
        """The values that have an equation of their own, in the order of the author's lines as far as it can be."""
        return _in_order([v for v in self.order if v in self.symbols and v.op not in _LEAVES and not is_piece(v)])

    def role(self, product: Node) -> str:
        """Tell whether a matrix takes in the input, the old state, or what this step has computed."""
        vector = look_through(product.nodes[1])
        if not vector.needs & STATE or (vector.op == "cat" and self.graph.x in map(look_through, vector.nodes)):
            return "inputs"
        return "recurrent" if self._holds_state(vector) or not self._is_computed(vector) else "output"

    def terms(self, a: Argument, sign: str, top: bool) -> list[tuple[str, Argument]]:
        """Return the terms of a sum with their signs, sums within it opened up; top: a's own name does not count."""
        v = look_through(a) if isinstance(a, Node) else a
        if not isinstance(v, Node) or (not top and v in self.symbols):
            return [(sign, v)]
        other = "-" if sign == "+" else "+"
        if v.op in ("add", "sub"):
            return [
                *self.terms(v.args[0], sign, False), *self.terms(v.args[1], sign if v.op == "add" else other, False),
            ]  # fmt: skip
        return self.terms(v.args[0], other, False) if v.op == "neg" else [(sign, v)]

    def outputs(self) -> list[tuple[Node, Symbol]]:
        """Return what the step returns, with its symbols: the new states, then y."""
        found = [
            (v, replace(self.symbols[old], time=self.graph.now))
            for v, old in zip(self.graph.new, self.graph.state, strict=True)
        ]
        return [*found, (self.graph.y, Symbol("y", time=self.graph.now))]

    def _holds_state(self, v: Node) -> bool:
        """Tell whether the old state is in v itself, not only in a value with a name of its own."""
        if v.op == "state":
            return True
        if v.op in ("matrix", "convolution") or (v in self.symbols and v.op != "part"):
            return False
        return any(self._holds_state(look_through(a)) for a in v.nodes)

    def _is_computed(self, v: Node) -> bool:
        """Tell whether a product of weights is anywhere behind v; if not, v is the old state in another form."""
        return any(n.op in ("matrix", "convolution") for n in inputs_first([v]))

    def _count_uses(self) -> dict[Node, list[Node]]:
        uses: dict[Node, list[Node]] = {v: [] for v in self.order}
        for v in self.order:
            if v.op in MOVES:
                continue
            for a in v.nodes:
                uses[look_through(a)].append(v)
        return uses

    def _name_leaves(self) -> None:
        g = self.graph
        self._give(g.x, Symbol("x", time=self.graph.now))
        for old, new in zip(g.state, g.new, strict=True):
            name = old.name
            if (len(name) != 1 or name == "s") and len(new.name) == 1 and look_through(new) is not old:
                name = new.name
            # t is what counts the steps in every picture.
            symbol = symbol_of(
                "tau" if name == "t" else name or new.name or look_through(new).name or "s", self.graph.before
            )
            self._give(old, symbol)
        for k, v in enumerate(g.context):
            self._give(
                v,
                symbol_of(
                    v.name or (f"m{k + 1}" if len(g.context) > 1 else "m"), self.graph.now if v.needs & INPUT else ""
                ),
            )

    def _name_rest(self) -> None:
        """Name the parameters that are neither matrices of products nor biases, and the constants."""
        for v in self.order:
            if v in self.symbols or v in self.biases:
                continue
            factor = self._factor(v)
            if factor is not None:
                self._give(v, factor)
            elif v.op in ("constant", "parameter"):
                self._give(v, symbol_of(v.name or str(v.attrs[0] if v.op == "parameter" else "const")))
            elif is_piece(v) and v.name:
                self._give(v, symbol_of(v.name))

    def _factor(self, v: Node) -> Symbol | None:
        """Return the symbol of weights that are multiplied entry by entry: the small letter of the matrix's."""
        takers = self.uses[v]
        if v.op != "parameter" or "weight" not in str(v.attrs[0]).rpartition(".")[2] or len(takers) != 1:
            return None
        if takers[0].op != "mul":
            return None
        state = any(a.needs & STATE for a in takers[0].nodes)
        return Symbol((self.notation.recurrent if state else self.notation.inputs).lower())

    def _give(self, v: Node, symbol: Symbol) -> None:
        self.symbols[v] = self._free(symbol)

    def _name_values(self) -> None:
        outputs: dict[Node, Symbol] = {}
        for v, symbol in reversed(self.outputs()):
            inside = look_through(v)
            if inside.op not in _LEAVES:
                outputs[inside] = symbol
        names = {v: v.name for v in self.order if v.name and v.op not in _LEAVES | MOVES and v not in outputs}
        names = {v: name for v, name in names.items() if not is_piece(v)}
        for v in list(names):
            # The name of what goes into an activation is the name of the gate: i, f, g, o.
            taker = self._only_taker(v)
            while taker is not None and taker.op == "add" and not taker.name and taker not in outputs:
                taker = self._only_taker(taker)
            if taker is not None and taker.op in ACTIVATIONS and taker not in outputs and not taker.name:
                names[taker] = names.pop(v)
        for v in list(names):
            if self._dissolves(v, outputs):
                del names[v]
        for v, symbol in outputs.items():
            self._taken.add(symbol)
            self.symbols[v] = symbol
        for v in self.order:
            if v in outputs or v.op in _LEAVES | MOVES or is_piece(v):
                continue
            if v in names:
                self._give(
                    v, self._gate_symbol(v, self._value_symbol(names[v], self.graph.now if v.needs & ~CONTEXT else ""))
                )
            elif len(self.uses[v]) > 1 and v.needs and v.op not in ("not", "neg", "part", "result"):
                spare = (Symbol(letter, time=self.graph.now) for letter in _SPARE)
                self._give(v, next((s for s in spare if s not in self._taken), Symbol("u", time=self.graph.now)))

    def _value_symbol(self, name: str, time: str) -> Symbol:
        """Return a local variable's symbol: what is called new or candidate is the state's letter with a tilde."""
        states = [self.symbols[s] for s in self.graph.state]
        letters = [s for s in states if not s.upright and s.base != "τ"]
        if name in ("new", "candidate") and letters:
            return replace(letters[0], time=time, accent="tilde")
        return symbol_of(name, time)

    def _gate_symbol(self, v: Node, symbol: Symbol) -> Symbol:
        """In the notation of powers of z, where there are gates: zⁱ for a gate called i, z for the candidate."""
        if not self.notation.joined or v.op not in ("sigmoid", "tanh") or not self._is_layer(v):
            return symbol
        if not any(o.op == "sigmoid" and self._is_layer(o) for o in self.order):
            return symbol
        clash = any(o.name == "z" and o.op != "tanh" for o in self.order)
        return Symbol("z", sup="" if v.op == "tanh" and not clash else symbol.base, time=self.graph.now)

    def _is_layer(self, v: Node) -> bool:
        return any(look_through(t).op == "matrix" for _, t in self.terms(v.args[0], "+", True) if isinstance(t, Node))

    def _only_taker(self, v: Node) -> Node | None:
        return self.uses[v][0] if len(self.uses[v]) == 1 else None

    def _dissolves(self, v: Node, outputs: dict[Node, Symbol]) -> bool:
        """Tell whether a named value is only a stage on the way to another: a sum of products, used once."""
        taker = self._only_taker(v)
        if not self.uses[v] and v not in outputs:
            return True
        if taker is None:
            return False
        affine = v.op in ("add", "matrix", "convolution", "cat") or is_piece(v)
        return affine and (taker.op in ACTIVATIONS or taker.op in ("add", "sub", "mul", "matrix", "layer_norm"))

    def _name_weights(self) -> None:
        products: list[tuple[Node, Node, str, str]] = []
        sums: list[tuple[Node, list[Node], str]] = []
        for owner in [*self.named, *(look_through(v) for v, _ in self.outputs() if look_through(v).op in MOVES)]:
            for v in self._inside(owner):
                if v.op in ("matrix", "convolution"):
                    weight = self.plain_weight(v.nodes[0])
                    if weight is not None:
                        products.append((owner, weight, self.role(v), self._source(v)))
                if v.op in ("add", "sub"):
                    terms = [look_through(t) for _, t in self.terms(v, "+", True) if isinstance(t, Node)]
                    biases = [t for t in terms if _is_bias(t)]
                    roles = [self.role(t) for t in terms if t.op == "matrix" and t not in self.symbols]
                    if biases:
                        sums.append((owner, biases, "output" if set(roles) == {"output"} else "hidden"))
        if self.notation.joined:
            products.sort(key=lambda p: p[2] != "output")
        owners = {role: {o for o, _, r, _ in products if r == role} for _, _, role, _ in products}
        hidden = {o for o, _, r, _ in products if r != "output"}
        for owner, weight, role, source in products:
            if weight not in self.weights:
                alone = len(hidden if self.notation.joined else owners[role]) == 1
                who = None if alone and not self.notation.ends else self.symbols.get(owner)
                peers = list(dict.fromkeys(w for o, w, r, _ in products if (o, r) == (owner, role)))
                index = str(1 + peers.index(weight)) if len(peers) > 1 else ""
                self.weights[weight] = self.symbols[weight] = self._free(self.notation.weight(role, who, source, index))
        counts = {role: {o for o, _, r in sums if r == role} for _, _, role in sums}
        for owner, biases, role in sums:
            if all(b in self.biases for b in biases):
                continue
            who = None if len(counts[role]) == 1 and not self.notation.ends else self.symbols.get(owner)
            symbol = self._free(self.notation.bias_of(role, who))
            self.biases.update({b: symbol for b in biases if b not in self.biases})

    def _free(self, symbol: Symbol) -> Symbol:
        while symbol in self._taken:
            symbol = replace(symbol, primes=symbol.primes + 1)
        self._taken.add(symbol)
        return symbol

    def _source(self, product: Node) -> str:
        vector = look_through(product.nodes[1])
        while vector not in self.symbols and vector.nodes:
            vector = next(
                (look_through(a) for a in vector.nodes if look_through(a).op == "state"), look_through(vector.nodes[-1])
            )
        return self.symbols[vector].base if vector in self.symbols else ""

    def _inside(self, owner: Node) -> list[Node]:
        """Return the nodes of owner's own equation."""
        found: list[Node] = []
        stack = [owner]
        while stack:
            v = look_through(stack.pop())
            if v in found or (v is not owner and v in self.symbols and v.needs):
                continue
            found.append(v)
            stack += reversed(v.nodes)
        return found

    def plain_weight(self, weight: Node) -> Node | None:
        """Return the matrix of parameters that a product's weights are, or are made of."""
        v = look_through(weight)
        while v.op == "transpose":
            v = look_through(v.nodes[0])
        if v.op == "parameter" or _is_shared(v) or is_piece(v):
            return v if len(v.shape) > 1 else None
        found = [self.plain_weight(a) for a in v.nodes]
        return next((w for w in found if w is not None), None)


def _in_order(values: list[Node]) -> list[Node]:
    """Sort values so that each comes after those that it needs, and gates as their parts were cut."""
    behind = {v: set(inputs_first([v])) for v in values}
    made: list[Node] = []
    left = list(values)
    while left:
        ready = [v for v in left if not any(o in behind[v] for o in left if o is not v)]
        made.append(min(ready, key=lambda v: look_through(v.nodes[0]).number if v.op in ACTIVATIONS else v.number))
        left.remove(made[-1])
    return made


def is_piece(v: Node) -> bool:
    """Tell whether v is a part of a parameter, or of what is given once a call."""
    v = look_through(v)
    while v.op in ("part", "transpose") or v.op in MOVES:
        v = v.nodes[0]
        if v.op in ("parameter", "constant") or _is_shared(v):
            return True
    return False


def _is_shared(v: Node) -> bool:
    """Tell whether v is given once a call, such as weights with some of them dropped."""
    return v.op == "context" and v.needs == CONTEXT


def _is_bias(v: Node) -> bool:
    return (v.op == "parameter" or is_piece(v)) and not v.needs
