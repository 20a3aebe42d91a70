"""The source of a random cell, from choices; and the hypothesis strategy of such sources."""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st

from random_cells import choosing, pointwise, products, shapes
from random_cells.choices import Choices, FromHypothesis, one_of
from random_cells.pointwise import Operation
from random_cells.writer import Shape, Term, Writer, count

__all__ = ["OPERATIONS", "Written", "random_cells", "write_cell"]

OPERATIONS: dict[str, Operation] = {
    **pointwise.OPERATIONS,
    **products.OPERATIONS,
    **shapes.OPERATIONS,
    **choosing.OPERATIONS,
}
"""Every operation by its name."""


@dataclass(frozen=True)
class Written:
    """A cell's source; the operations on which its outputs and states depend, and those of them that are carried.

    carried: the operations whose arguments depend on the state, which no compiler can take out of the loop.
    """

    source: str
    operations: frozenset[str]
    carried: frozenset[str]


@st.composite
def random_cells(draw: st.DrawFn) -> str:
    """Draw the source of a module with a `recurra.Cell` called `RandomCell`, and a list `CONTEXT`; see `write_cell`."""
    return write_cell(FromHypothesis(draw)).source


def write_cell(choices: Choices, feature: str | None = None) -> Written:
    """Write a cell; `feature` is an operation that it is to contain.

    The source defines `RandomCell()` and `CONTEXT`, which lists what its context is made of: `(sort, shape)`, the sort
    being "rows" (a tensor for a call), "shared" (without rows) or "steps" (over time).
    """
    w = Writer(choices)
    states = _states(w, clock=feature is not None and "clock" in feature)
    context = _context(w)
    input_shape: Shape = (w.integer(1, 7),) if not w.chance(6) else (w.integer(1, 3), w.integer(1, 3))
    w.terms.append(Term("x", input_shape, level=2, bound=1.5))
    w.terms.extend(Term(name, shape, kind) for name, shape, kind in states)
    featured = None
    steps = w.integer(1, 9)
    at = w.integer(0, steps - 1)
    for k in range(steps):
        if k == at and feature is not None:
            featured = _as_real(w, OPERATIONS[feature](w))
        else:
            one_of(choices, list(OPERATIONS.values()))(w)
    new = [_update(w, *state, featured) for state in states]
    y, shape = _output(w, states, new, featured)
    live = w.live([y, *new])
    return Written(
        _source(w, input_shape, shape, states, context, [s.line for s in live], y, new),
        frozenset(s.operation for s in live),
        frozenset(s.operation for s in live if s.level == 3),
    )


def _as_real(w: Writer, term: Term | None) -> Term | None:
    if term is None or term.kind == "real":
        return term
    return w.emit("clock_to_real", f"torch.cos(0.7 * {term.name}.to(x.dtype))", term.shape)


def _states(w: Writer, clock: bool) -> list[tuple[str, Shape, str]]:
    found: list[tuple[str, Shape, str]] = []
    for k in range(w.integer(1, 3)):
        shape: Shape = (w.integer(1, 9),) if not w.chance(4) else (w.integer(1, 4), w.integer(1, 4))
        found.append((f"s{k}", shape, "real"))
    if w.chance(3) or clock:
        shape = ((), (1,), (w.integer(2, 5),))[w.integer(0, 2)]
        found.append((f"s{len(found)}", shape, "int"))
        if w.chance(3):
            found.append((f"s{len(found)}", (), "int"))
    return found


def _context(w: Writer) -> list[tuple[str, Shape]]:
    found: list[tuple[str, Shape]] = []
    if w.chance(3):
        # per_call entries come before those of single steps.
        for sort in ("rows", "shared", "steps"):
            if w.chance(2):
                shape: Shape = (w.integer(1, 5),) if not w.chance(3) else (w.integer(1, 4), w.integer(1, 4))
                found.append((sort, shape))
    for k, (sort, shape) in enumerate(found):
        if sort != "shared":
            w.terms.append(Term(f"c{k}", shape, level=1 if sort == "rows" else 2))
        else:
            # Without rows it can only be used as a parameter is.
            w.share(f"c{k}", shape)
    return found


def _update(w: Writer, name: str, shape: Shape, kind: str, featured: Term | None) -> str:
    """Return an expression for a new state: bounded by 1 for reals, a count for clocks."""
    if kind == "int":
        return _tick(w, name, shape)
    made = featured if featured is not None and not w.chance(3) else w.pick()
    assert made is not None
    value = f"torch.tanh({w.fit(made, shape, 2)})"
    form = w.integer(0, 3)
    if form == 1:
        value = f"0.6 * {name} + 0.4 * {value}"
    elif form == 2:
        gate = w.pick(lambda t: t.shape == shape and t.name != name)
        gate_text = w.parameter(shape) if gate is None else w.text(gate)
        value = f"torch.sigmoid({gate_text}) * {name} + (1 - torch.sigmoid({gate_text})) * {value}"
    elif form == 3:
        mask = w.pick(lambda t: t.shape == shape, "bool")
        value = f"torch.where({w.boolean(shape) if mask is None else mask.name}, {value}, {name})"
    return value


def _tick(w: Writer, name: str, shape: Shape) -> str:
    count_of = w.pick(lambda t: t.shape == shape and t.name != name, "int")
    if count_of is not None and w.chance(4):
        return f"({name} + {count_of.name}) % 7"
    return w.one_of((f"{name} + 1", f"({name} + 1) % 5", f"torch.where({name} >= 4, 0, {name} + 1)"))


def _output(
    w: Writer, states: list[tuple[str, Shape, str]], new: list[str], featured: Term | None
) -> tuple[str, Shape]:
    """Return an expression for y and its shape; the featured term takes part in it."""
    if featured is None:
        if w.chance(3):
            return new[0], states[0][1]
        made = w.pick()
        assert made is not None
        if made.shape and made.name != "x":
            return w.text(made), made.shape
    first = featured or w.pick()
    second = w.pick()
    assert first is not None
    assert second is not None
    flat = [w.fit(t, (count(t.shape),)) for t in dict.fromkeys((first, second))]
    y = w.emit(
        "cat", f"torch.cat([{', '.join(flat)}], 1)", (count(first.shape) + count(second.shape) * (second != first),)
    )
    return y.name, y.shape


def _source(
    w: Writer,
    input_shape: Shape,
    output_shape: Shape,
    states: list[tuple[str, Shape, str]],
    context: list[tuple[str, Shape]],
    lines: list[str],
    y: str,
    new: list[str],
) -> str:
    declared = [f"({s}, torch.int64)" if kind == "int" else f"{s}" for _, s, kind in states]
    setup = [
        f"super().__init__({count(input_shape)}, {count(states[0][1])})",
        f"self.input_shape = {input_shape}",
        f"self.output_shape = {output_shape}",
        *w.setup,
    ]
    body = [f"({', '.join(name for name, _, _ in states)},) = state"]
    if context:
        body.append(f"({', '.join(f'c{k}' for k in range(len(context)))},) = context")
    body += [*lines, f"return {y}, ({', '.join(new)},)"]
    parts = [
        "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\nimport recurra as rc\n",
        f"CONTEXT = {context}\n\n",
        "class RandomCell(rc.Cell):",
        *_method("__init__", "self", setup),
        *_method("state_shapes", "self", [f"return ({', '.join(declared)},)"]),
    ]
    if any(sort != "rows" for sort, _ in context):
        given = [f"rc.Shared(given[{k}])" if sort == "shared" else f"given[{k}]" for k, (sort, _) in enumerate(context)]
        calls = [g for g, (sort, _) in zip(given, context, strict=True) if sort != "steps"]
        over_time = [g for g, (sort, _) in zip(given, context, strict=True) if sort == "steps"]
        made = f"({''.join(g + ', ' for g in calls)}), ({''.join(g + ', ' for g in over_time)})"
        parts += _method("make_context", "self, given, steps, batch, device, dtype", [f"return {made}"])
    parts += _method("step", f"self, x, state{', context' if context else ''}", body)
    return "\n".join(parts)


def _method(name: str, arguments: str, lines: list[str]) -> list[str]:
    return [f"    def {name}({arguments}):", *(f"        {line}" for line in lines), ""]
