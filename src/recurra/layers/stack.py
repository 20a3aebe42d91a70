"""Layers upon layers: every layer's one or two directions over time, dropout between layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recurra.core import Cell, State
from recurra.core.errors import ArgumentError
from recurra.scan import Result, scan, step

__all__ = ["Stack", "StackResult"]


class StackResult(NamedTuple):
    """The top layer's output `(T, B, ...)`, every cell's final state, and all its states if they were asked for."""

    y: Tensor
    final: list[State]
    states: list[State] | None


class Stack(NamedTuple):
    """The cells of a stack, `layers[k]` being layer k's forward cell and, if it is bidirectional, its reverse cell."""

    layers: Sequence[Sequence[Cell]]
    dropout: float
    training: bool
    backend: str
    owner: int = 0
    """The id of the module whose `bound_cells` these are, under which they were adopted; 0 for none."""

    @property
    def cells(self) -> list[Cell]:
        """All cells: layer 0 forward, layer 0 reverse, layer 1 forward, ..."""
        return [cell for layer in self.layers for cell in layer]

    def run(
        self,
        x: Tensor,
        initial: Sequence[State] | None,
        *,
        context: tuple[Any, ...] = (),
        lengths: Tensor | Sequence[int] | None = None,
        keep_states: bool = False,
    ) -> StackResult:
        """Run whole sequences `(T, B, ...)`. Every cell is given the same context."""
        given = iter(initial) if initial is not None else None
        final: list[State] = []
        kept: list[State] = []
        for depth, layer in enumerate(self.layers):
            x = self._between(x, depth)
            results = [
                self._one(
                    depth, direction, x, next(given) if given is not None else None, context, lengths, keep_states
                )
                for direction in range(len(layer))
            ]
            outputs = [result.y for result in results]
            final += [result.state for result in results]
            kept += [result.states for result in results if result.states is not None]
            # Features (or channels) are the first dimension of an output, after time and batch.
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 2)
        return StackResult(x, final, kept if keep_states else None)

    def step(
        self,
        x: Tensor,
        initial: Sequence[State] | None,
        *,
        context: tuple[Any, ...] = (),
        active: Tensor | None = None,
    ) -> tuple[Tensor, list[State]]:
        """Run one step `(B, ...)` of every layer. Raises ArgumentError for a bidirectional stack."""
        if any(len(layer) > 1 for layer in self.layers):
            raise ArgumentError("a bidirectional network needs the whole sequence, so it cannot run step by step")
        final: list[State] = []
        for depth, cell in enumerate(self.cells):
            x = self._between(x, depth)
            state = initial[depth] if initial is not None else None
            x, last = step(cell, x, state, context=context, active=active, backend=self.backend)
            final.append(last)
        return x, final

    def _one(
        self, depth: int, direction: int, x: Tensor, state: State | None, context: tuple[Any, ...], lengths: Any,
        keep_states: bool,
    ) -> Result:  # fmt: skip
        """Run one direction of one layer."""
        cell, reverse = self.layers[depth][direction], direction == 1
        index = sum(map(len, self.layers[:depth])) + direction
        opaque = self._opaque(index, cell, x, state, context, lengths, reverse, keep_states)
        return opaque or scan(
            cell,
            x,
            state,
            context=context,
            lengths=lengths,
            reverse=reverse,
            backend=self.backend,
            keep_states=keep_states,
        )

    def _opaque(
        self, index: int, cell: Cell, x: Tensor, state: State | None, context: tuple[Any, ...], lengths: Any,
        reverse: bool, keep_states: bool,
    ) -> Result | None:  # fmt: skip
        """Run a cell as one operator, where `torch.compile` makes a graph of the surrounding model."""
        if not torch.compiler.is_compiling() or not self.owner or context or keep_states:
            return None
        if self.backend not in ("auto", "cpp"):
            return None
        from recurra.scan.opaque import opaque

        return opaque(self.owner, index, cell, x, state, lengths, reverse)

    def _between(self, x: Tensor, depth: int) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if depth and self.dropout else x
