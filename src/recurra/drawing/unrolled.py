"""Recurrent layers and what stands on them, folded and unrolled over time, from the real modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core import Batch, Cell, PerLayer
from recurra.core.errors import ArgumentError
from recurra.drawing.diagram import Diagram, Vector
from recurra.drawing.notation import Notation, notation_called
from recurra.drawing.picture import Picture
from recurra.drawing.titles import title_of
from recurra.layers import GRU, LSTM, RNN, Recurrent
from recurra.networks import Synchronous

__all__ = ["draw_folded", "draw_unrolled", "find_layers"]


@dataclass
class _Layers:
    """The cells of a network: `cells[k]` are layer k's forward cell and, where there is one, its reverse cell."""

    module: nn.Module
    recurrent: nn.Module
    cells: list[list[Cell]]
    embed: str
    readout: str


def find_layers(module: nn.Module) -> _Layers | None:
    """Return the recurrent layers of a module, None where there are none or more than one stack of them."""
    if isinstance(module, Recurrent):
        return _Layers(module, module, [list(layer.cells) for layer in module.layers], "", "")  # pyright: ignore[reportCallIssue, reportArgumentType]
    if isinstance(module, RNN | GRU | LSTM):
        bound, many = module.bound_cells(), 2 if module.bidirectional else 1
        return _Layers(module, module, [bound[k : k + many] for k in range(0, len(bound), many)], "", "")
    if isinstance(module, Synchronous):
        inside = find_layers(module.get_submodule("recurrent"))
        if inside is not None:
            inside.module = module
            inside.embed, inside.readout = type(module.embed).__name__, type(module.readout).__name__
        return inside
    found = [c for c in module.children() if find_layers(c) is not None]
    return find_layers(found[0]) if len(found) == 1 else None


def draw_unrolled(
    module: nn.Module,
    *,
    steps: int = 4,
    notation: str = "paper",
    batch: Any = None,
    units: bool = False,
    title: str = "",
) -> Picture:
    """Return a network's picture over the first `steps` steps, h_0 first.

    batch: inputs as the module takes them; the values of the first sequence then colour the vectors. units: open each
    vector into its units. Raises ArgumentError where the module has no recurrent layer.
    """
    layers = _layers(module)
    form = notation_called(notation)
    values = _Values(layers, batch) if batch is not None else None
    if values is not None:
        steps = min(steps, values.steps)
    if steps < 1:
        raise ArgumentError(f"expected at least one step to draw, got {steps}")
    two_way = len(layers.cells[0]) > 1
    d = Diagram(title or _title(layers), open_units=units, spread=1.35 if two_way else 1.0)
    below = [
        d.vector(t, 0, f"x_{t}", "input", units=layers.cells[0][0].input_shape[0], values=values.x(t) if values else ())
        for t in range(1, steps + 1)
    ]
    row = 1.0
    for depth, cells in enumerate(layers.cells):
        below = _layer(d, layers, depth, cells, below, row, form, values)
        row += 3.0 if two_way else 1.0
    if layers.readout:
        for t, h in enumerate(below, 1):
            y = d.vector(t, row, f"y_{t}", "output", values=values.y(t) if values else ())
            d.arrow(h, y, form.output if not form.ends else "W_yh")
    for depth, cells in enumerate(layers.cells):
        at = 1.0 + depth * (3.0 if two_way else 1.0)
        d.row_label(at, title_of(cells[0]) + (" →" if two_way else ""))
        if two_way:
            d.row_label(at + 1, title_of(cells[1]) + " ←")
    if layers.embed:
        d.row_label(0, layers.embed)
    return d.picture("Each layer's weights are the same at every step: they are shared over time." if steps > 1 else "")


def draw_folded(module: nn.Module, *, notation: str = "paper", units: bool = False, title: str = "") -> Picture:
    """Return a network's picture with time folded up: every state has an arrow to itself."""
    layers = _layers(module)
    form = notation_called(notation)
    d = Diagram(title or f"{_title(layers)}, folded", open_units=units)
    below = [d.vector(1, 0, "x_t", "input", units=layers.cells[0][0].input_shape[0])]
    row = 1.0
    for depth, cells in enumerate(layers.cells):
        made: list[Vector] = []
        for k, cell in enumerate(cells):
            column = 1.0 if len(cells) == 1 else 0.3 + 1.4 * k
            kind = "reverse" if k else "state"
            h = d.vector(column, row, _state_name("t", depth, k), kind, units=cell.hidden_size)
            first, second = _letters(form, depth, k)
            for b in below:
                d.arrow(b, h, first)
            d.arrow(h, h, second)
            made.append(h)
        d.row_label(row, title_of(cells[0]))
        below = made
        row += 1.35
    if layers.readout:
        y = d.vector(1, row - 0.2, "y_t", "output")
        for h in below:
            d.arrow(h, y, form.output if not form.ends else "W_yh")
    return d.picture("The arrow of a state to itself takes one time step.")


def _layer(
    d: Diagram, layers: _Layers, depth: int, cells: Sequence[Cell], below: Sequence[Vector], row: float, form: Notation,
    values: _Values | None,
) -> list[Vector]:  # fmt: skip
    """Draw one layer over all steps; return what the layer above takes."""
    steps = len(below)
    aside = 0.22 if len(cells) > 1 else 0.0
    tops: list[list[Vector]] = []
    for k, cell in enumerate(cells):
        kind, shift = ("reverse", aside) if k else ("state", -aside)
        states = [
            d.vector(t + shift, row + k, _state_name(t, depth, k), kind, units=cell.hidden_size,
                     values=values.state(depth, k, t) if values else ())
            for t in range(1, steps + 1)
        ]  # fmt: skip
        first_time = steps + 1 if k else 0
        start = d.vector(first_time + shift, row + k, _state_name(first_time, depth, k), kind, units=cell.hidden_size)
        first, second = _letters(form, depth, k)
        chain = [start, *(reversed(states) if k else states)]
        for x, h in zip(below, states, strict=True):
            d.arrow(x, h, first)
        for a, b in pairwise(chain):
            d.arrow(a, b, second)
        tops.append(states)
    if len(cells) == 1:
        return tops[0]
    joined: list[Vector] = []
    for t, both in enumerate(zip(*tops, strict=True), 1):
        joined.append(d.vector(t, row + 2, f"[h{_primes(depth)}_{t}; g{_primes(depth)}_{t}]", "join"))
        for h in both:
            d.arrow(h, joined[-1], dashed=True)
    return joined


class _Values:
    """What the vectors of a network are for the first sequence of a batch."""

    def __init__(self, layers: _Layers, batch: Any) -> None:
        inputs = batch.inputs if isinstance(batch, Batch) else batch
        if not isinstance(inputs, Tensor):
            raise ArgumentError(
                f"expected a tensor or a Batch of inputs to colour the vectors, got {type(inputs).__name__}"
            )
        was = layers.module.training
        layers.module.eval()
        try:
            with torch.no_grad():
                self._run(layers, batch, inputs)
        finally:
            layers.module.train(was)

    def _run(self, layers: _Layers, batch: Any, inputs: Tensor) -> None:
        recurrent: Any = layers.recurrent
        embedded, output = inputs, None
        if isinstance(layers.module, Synchronous):
            embedded = layers.module.embed(inputs)
            output, _ = layers.module(batch if isinstance(batch, Batch) else Batch(inputs))
        _, _, states = recurrent(embedded, return_all_states=True)
        first = states[0] if isinstance(states, tuple) and not isinstance(states, PerLayer) else states
        batched = embedded.dim() == 3
        self._x = embedded[0] if batched and recurrent.batch_first else embedded[:, 0] if batched else embedded
        self._states = [s[:, 0] if batched else s for s in first]
        self._y = None if output is None else output[0]
        self._directions = len(layers.cells[0])
        self.steps = self._x.shape[0]

    def x(self, t: int) -> list[float]:
        """Return the input of step t, counted from 1."""
        return self._x[t - 1].flatten().tolist()

    def state(self, depth: int, direction: int, t: int) -> list[float]:
        """Return a layer's first state after step t."""
        return self._states[depth * self._directions + direction][t - 1].flatten().tolist()

    def y(self, t: int) -> list[float]:
        """Return the network's output at step t."""
        return [] if self._y is None else self._y[t - 1].flatten().tolist()


def _layers(module: nn.Module) -> _Layers:
    found = find_layers(module)
    if found is None:
        raise ArgumentError(
            f"expected a network with one stack of recurrent layers to draw over time, got {type(module).__name__}: "
            "give its recurrent layer, or let it have a method draw_on(diagram, steps)"
        )
    return found


def _state_name(time: int | str, depth: int, direction: int) -> str:
    return f"{'g' if direction else 'h'}{_primes(depth)}_{time}"


def _primes(depth: int) -> str:
    return "'" * depth


def _letters(form: Notation, depth: int, direction: int) -> tuple[str, str]:
    """Return the names of a layer's weights, from below and from the state before."""
    mark = _primes(depth)
    state = "g" if direction else "h"
    if form.ends:
        source = f"h{_primes(depth - 1)}" if depth else "x"
        return f"W_{state}{mark}{source}", f"W_{state}{mark}{state}{mark}"
    below = "_g" if direction else ""
    if form.joined:
        return f"W{mark}{below}", f"W{mark}{below}"
    return f"{form.inputs}{mark}{below}", f"{form.recurrent}{mark}{below}"


def _title(layers: _Layers) -> str:
    name = type(layers.module).__name__
    parts = [name] if name != "Recurrent" else []
    parts += [f"{len(layers.cells)} layers"] if len(layers.cells) > 1 else []
    parts += ["both directions"] if len(layers.cells[0]) > 1 else []
    cell = title_of(layers.cells[0][0])
    return ", ".join([cell, *parts]) if not isinstance(layers.module, RNN | GRU | LSTM) else ", ".join(parts)
