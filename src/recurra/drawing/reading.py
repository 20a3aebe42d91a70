"""Reading a cell: its step is run once on small tensors, recorded, and written down under its author's names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from recurra.compiler.errors import Unsupported
from recurra.compiler.trace import Recording, Spec, named_tensors, record
from recurra.core import Cell, Shared, State, TreeCell, split_shape
from recurra.core.errors import RecurraError
from recurra.drawing.operations import translate
from recurra.drawing.step_graph import CONTEXT, INPUT, MOVES, STATE, Builder, Node, StepGraph, look_through

__all__ = ["read_step"]

_BATCH = 2
_CHILDREN = 2
_FOREIGN = (str(Path(torch.__file__).parent), str(Path(sys.modules[Spec.__module__].__file__ or "").parent))


def read_step(cell: Cell | TreeCell) -> StepGraph:
    """Return what `cell.step` does; a cell over trees is given two children, or as many as it has places.

    Raises Unsupported, with the reason and the source line, where it cannot be told: the step looks at values, draws
    random numbers, or fails.
    """
    with torch.no_grad():
        tree = isinstance(cell, TreeCell)
        x, state, context, stages = _arguments(cell)
        if isinstance(cell, TreeCell):
            cell = _OnTree(cell)
        names = _LocalNames()
        try:
            with names:
                run = record(cell, _BATCH, x, state, context)
        except Unsupported:
            raise
        except Exception as error:
            raise Unsupported("step", f"{type(error).__name__}: {error}".splitlines()[0]) from error
    graph = _graph(run, names.found, stages, len(state))
    if tree:
        graph.now, graph.before = "p", "k"
    return graph


class _OnTree(Cell):
    """A cell over trees in the form of others: its state are the children's, its context which there are."""

    def __init__(self, tree: TreeCell) -> None:
        super().__init__(tree.input_size, tree.hidden_size)
        self.tree = tree

    def step(self, x: Tensor, state: State, context: tuple[Any, ...]) -> tuple[Tensor, State]:
        return self.tree.step(x, state, context[0])


def _arguments(cell: Cell | TreeCell) -> tuple[Spec, list[Spec], list[Spec], list[int]]:
    """Return what the step's arguments look like, and what each entry of the context counts as."""
    like = next((t for _, t in named_tensors(cell) if t.is_floating_point()), torch.zeros(()))
    dtype = like.dtype
    shapes = [split_shape(s) for s in cell.state_shapes()]
    if isinstance(cell, TreeCell):
        places = cell.arity or _CHILDREN
        state = [Spec((places, *s), own or dtype) for s, own in shapes]
        return Spec(cell.input_shape, dtype), state, [Spec((places,), torch.bool)], [INPUT]
    try:
        per_call, per_step = cell.make_context((), 1, _BATCH, like.device, dtype)
    except (RecurraError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise Unsupported("context", f"it cannot be tried without a context ({error})") from error
    context = [
        Spec(tuple(c.tensor.shape), c.tensor.dtype, rows=False) if isinstance(c, Shared)
        else Spec(tuple(c.shape[1:]), c.dtype)
        for c in per_call
    ]  # fmt: skip
    context += [Spec(tuple(c.shape[2:]), c.dtype) for c in per_step]
    stages = [CONTEXT] * len(per_call) + [INPUT] * len(per_step)
    return Spec(cell.input_shape, dtype), [Spec(s, own or dtype) for s, own in shapes], context, stages


class _LocalNames:
    """While it is entered, notes the local variables of all functions but torch's and the compiler's."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Tensor]] = []
        self._seen: set[int] = set()
        self._before: Any = None

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._enter)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _enter(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        return None if code.co_filename.startswith(_FOREIGN) or code.co_name.startswith("<") else self._look

    def _look(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        for name, value in frame.f_locals.items():
            if isinstance(value, Tensor) and id(value) not in self._seen and not name.startswith(("_", ".")):
                self._seen.add(id(value))
                # Kept alive, so that no other tensor can take its identity.
                self.found.append((name, value))
        return self._look


def _graph(run: Recording, names: Sequence[tuple[str, Tensor]], stages: list[int], states: int) -> StepGraph:
    builder = Builder()
    values: dict[int, Node | float] = {}
    leaves: dict[str, Node] = {}
    for name, number in run.leaves.items():
        kind, needs = _leaf_kind(name, stages)
        leaves[name] = builder.make(
            kind, (), run.described[number][0], (name.removeprefix("cell.").removeprefix("tree."),), needs
        )
        values[number] = leaves[name]
    values |= {
        number: tensor.item() if tensor.dim() == 0 else builder.make("constant", (), tensor.shape, (number,))
        for number, tensor in run.constants.items()
    }
    idle: set[int] = set()
    for k, event in enumerate(run.events):
        builder.event = k
        made = translate(builder, event, values)
        for number, node in zip(event.results, made, strict=False):
            if number is not None and node is not None:
                values[number] = node
        if all(not isinstance(n, Node) or n.op in MOVES or k not in n.events for n in made):
            idle.add(k)
    for name, tensor in names:
        number = run.find(tensor)
        node = values.get(number) if number is not None else None
        node = look_through(node) if isinstance(node, Node) else None
        if node is not None and not node.name:
            node.name = name
    y, *new = (_node(builder, values[n]) for n in run.outputs)
    graph = StepGraph(
        leaves["x"], [leaves[f"state.{k}"] for k in range(states)],
        [leaves[f"context.{k}"] for k in range(len(stages))], y, new, len(run.events),
        [f"{e.name} ({e.where})" for e in run.events],
    )  # fmt: skip
    used = {e for n in graph.order() for e in n.events}
    graph.idle = frozenset(idle | (set(range(len(run.events))) - used))
    return graph


def _leaf_kind(name: str, stages: Sequence[int]) -> tuple[str, int]:
    if name.startswith("cell."):
        return "parameter", 0
    if name == "x":
        return "x", INPUT
    kind, _, k = name.partition(".")
    return (kind, STATE) if kind == "state" else (kind, stages[int(k)])


def _node(builder: Builder, value: Node | float) -> Node:
    return value if isinstance(value, Node) else builder.make("number", (value,), ())
