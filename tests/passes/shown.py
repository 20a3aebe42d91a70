"""Runs the passes one after the other, each verified, and shows what they made.

`PYTHONPATH=tests python -m passes.shown` writes the missing files of `tests/golden/passes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from passes.steps import Delta, Gates, Leaky, Parts, Squashed
from recurra.compiler.canonicalise import canonicalise
from recurra.compiler.differentiate import differentiate
from recurra.compiler.ir import Graph, Value, topological, verify
from recurra.compiler.lower import Buffer, Lowered, lower
from recurra.compiler.plan import plan
from recurra.compiler.stage import Staged, stage
from recurra.compiler.trace import Spec, Traced, trace
from recurra.core import Cell

__all__ = ["FOLDER", "SHOWN", "lowered", "staged", "traced"]

FOLDER = Path(__file__).parents[1] / "golden" / "passes"


def traced(cell: Cell) -> Traced:
    """Return the graph of a step, verified."""
    state = [Spec(tuple(s.shape[1:]), s.dtype) for s in cell.initial_state(1)]
    made = trace(cell, Spec(tuple(cell.input_shape), torch.float32), state, [])
    verify([made.y, *made.new])
    return made


def staged(cell: Cell, hoist: bool = True) -> Staged:
    """Return the stages of a step, verified."""
    made = stage(traced(cell), [], hoist)
    known = [made.traced.x, *made.traced.parameters.values(), *made.traced.constants]
    verify([*made.once, *made.per_call, *made.before], known)
    verify([*made.outputs, *made.new], made.leaves)
    return made


def lowered(graph: Graph, outputs: Sequence[Value], leaves: Iterable[Value]) -> Lowered:
    """Return one loop as groups, with a buffer for every leaf and every output."""
    inputs = {v: Buffer(f"in{k}", v.shape, v.kind, "row") for k, v in enumerate(leaves)}
    given = [(v, Buffer(f"out{k}", v.shape, v.kind, "row")) for k, v in enumerate(dict.fromkeys(outputs))]
    made = lower(graph, given, inputs)
    verify([v for group in made.groups for v in group.values], inputs)
    return made


def _text(title: str, outputs: Sequence[Value], leaves: Iterable[Value] = ()) -> str:
    """Return a graph, its values numbered in the order in which they are shown."""
    known = set(leaves)
    order = topological(outputs, known)
    names = {v: f"v{k}" for k, v in enumerate(order)}
    lines: list[str] = []
    for v in order:
        shape = ", ".join("B" if n == -1 else f"{-n} B" if n < 0 else str(n) for n in v.shape)
        if v in known or not v.args:
            what = f"{v.op} {v.attrs[0]}" if v.op in ("input", "fill") else "given"
        else:
            args = [names[a] if isinstance(a, Value) else repr(a) for a in v.args]
            what = f"{v.op}({', '.join(args)}{''.join(f'; {a}' for a in v.attrs)})"
        lines.append(f"  {names[v]:4} {v.kind}[{shape}] = {what}")
    return "\n".join([f"{title}: {', '.join(names[v] for v in outputs) or 'nothing'}", *lines, ""])


def _trace() -> str:
    made = traced(Leaky())
    return _text("y and the new state", [made.y, *made.new])


def _stage(made: Staged) -> str:
    return "\n".join([
        _text("once", made.once),
        _text("before the loop", made.before, made.once),
        _text("in the loop", [*made.outputs, *made.new], made.leaves),
    ])  # fmt: skip


def _differentiate(made: Staged) -> str:
    graph = made.traced.graph
    graph.protect(made.leaves)
    found = differentiate(made)
    carried = [c.after for c in (*found.carried, *found.histories)]
    incoming = [c.before for c in (*found.carried, *found.histories)]
    incoming += [g for g in found.output_grads if g is not None]
    epilogue = list(found.epilogue_once.values())
    for roots in (carried, epilogue, [v for v in found.finals if v is not None]):
        verify(roots, [*made.leaves, *incoming])
    return "\n".join([
        _text("carried", carried, [*made.leaves, *incoming]),
        _text("the initial state's gradient", [v for v in found.finals if v is not None], made.leaves),
        _text("after the loop", epilogue, [*made.leaves, *found.kept]),
    ])  # fmt: skip


def _canonicalise(cell: Callable[[], Cell]) -> Callable[[], str]:
    def shown() -> str:
        made = staged(cell())
        graph = made.traced.graph
        graph.protect(made.leaves)
        found = differentiate(made)
        leaves = {*made.leaves, *(c.before for c in found.carried), *(c.before for c in found.histories)}
        leaves |= {g for g in found.output_grads if g is not None}
        roots = [*made.new, *(c.after for c in found.carried)]
        values = canonicalise(graph, roots, leaves)
        verify(values, leaves)
        return _text("before", roots, leaves) + "\n" + _text("after", values, leaves)

    return shown


def _partition() -> str:
    made = staged(Gates())
    found = plan(made)
    assert found.backward is not None
    return (
        _text("saved", found.saved, made.leaves) + f"\nmemory a row and step: {sum(v.shape[1] for v in found.saved)}\n"
    )


def _lower() -> str:
    made = staged(Delta())
    graph = made.traced.graph
    graph.protect(made.leaves)
    values = canonicalise(graph, [*made.outputs, *made.new], made.leaves)
    found = lowered(graph, values, made.leaves)
    lines: list[str] = []
    for group in found.groups:
        ops = ", ".join(v.op for v in group.values)
        into = ", ".join(s.buffer.name for v in group.values for s in found.stores.get(v, []))
        shape = ", ".join("B" if n < 0 else str(n) for n in group.shape)
        lines.append(f"level {group.level}: {group.kind} over ({shape}): {ops} -> {into}")
    scratch = ", ".join(f"{b.name} {list(b.shape[1:])}" for b in found.scratch)
    return "\n".join([*lines, f"scratch: {scratch}", ""])


SHOWN: dict[str, Callable[[], str]] = {
    "trace": _trace,
    "stage": lambda: _stage(staged(Leaky())),
    "stage_in_the_loop": lambda: _stage(staged(Squashed(), hoist=False)),
    "differentiate": lambda: _differentiate(staged(Gates())),
    "differentiate_in_the_loop": lambda: _differentiate(staged(Squashed(), hoist=False)),
    "canonicalise_gates": _canonicalise(Gates),
    "canonicalise_parts": _canonicalise(Parts),
    "partition": _partition,
    "lower": _lower,
}
"""For every pass (and what it is shown on) what makes the text."""


def main() -> None:
    """Write the missing files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, shown in SHOWN.items():
        file = FOLDER / f"{name}.txt"
        if not file.exists():
            file.write_text(shown())
            print(f"{file}: look at it, and commit it")


if __name__ == "__main__":
    main()
