"""Layers of any kind, one upon the other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.layers import Recurrent
from recurra.networks.ragged import Lengths, check_parts

__all__ = ["Chain"]


class Chain(nn.Module):
    """y = part_n(... part_2(part_1(x))): each part's outputs are the inputs of the next.

        Chain(recurra.Recurrent(Leaky, 32, 64, batch_first=True), TwoWay(Leaky, 64, 64), Deep(Leaky, 128, [64, 64]))

    parts: `Recurrent(..., batch_first=True)`, and whatever else is a `SequenceLayer`. It is one itself. A part that
    changes the number of steps says by `output_lengths` what becomes of lengths; one that comes late has a `delay`.
    State: a tuple with the state of each part. It runs step by step where all its parts do.
    """

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        if not parts:
            raise ArgumentError("expected at least one part to chain, got none")
        for below, above in pairwise(parts):
            made, wanted = _size(below, "output_size"), _size(above, "input_size")
            if None not in (made, wanted) and made != wanted:
                raise ArgumentError(
                    f"{type(above).__name__} expects inputs of {wanted} features, but {type(below).__name__} below it "
                    f"gives {made}: make them agree"
                )
        for part in parts:
            if getattr(part, "batch_first", True) is not True:
                raise ArgumentError(f"a chain's parts are batch first: give {type(part).__name__} batch_first=True")
        self.parts = nn.ModuleList(parts)
        self.input_size = _size(parts[0], "input_size")
        self.output_size = _size(parts[-1], "output_size")

    def forward(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Return y `(B, T, output_size)` and the state; T is another where a part changes it."""
        final: list[Any] = []
        for part, own in zip(self.parts, check_parts("Chain", state, len(self.parts), "one for each"), strict=True):
            x, new = part(x, own, lengths=lengths)
            lengths = _lengths_after(part, lengths)
            final.append(new)
        return x, tuple(final)

    def output_lengths(self, lengths: Lengths) -> Lengths:
        """Return the valid steps of the outputs."""
        for part in self.parts:
            lengths = _lengths_after(part, lengths)
        return lengths

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Run one step of every part. Raises ArgumentError where a part needs what comes later, and says which."""
        final: list[Any] = []
        for part, own in zip(self.parts, check_parts("Chain", state, len(self.parts), "one for each"), strict=True):
            if getattr(part, "delay", 0):
                raise ArgumentError(
                    f"{type(part).__name__} answers {getattr(part, 'delay', 0)} steps late, so that what stands on it "
                    "cannot run step by step: step it by itself"
                )
            x, new = _method(part, "step")(x, own, context)
            final.append(new)
        return x, tuple(final)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """Return the state before the first step."""
        return tuple(_method(part, "initial_state")(batch) for part in self.parts)

    def draw_on(self, diagram: Any, steps: int) -> None:
        """Draw the parts one above the other, recurrent layers with their arrows through time, each under its name."""
        below = [diagram.vector(t, 0, f"x_{t}", "input") for t in range(1, steps + 1)]
        for k, part in enumerate(self.parts):
            recurrent = isinstance(part, Recurrent)
            name = ("h" if recurrent else "a") + chr(39) * k
            here = [
                diagram.vector(t, k + 1, f"{name}_{t}", "state" if recurrent else "context")
                for t in range(1, steps + 1)
            ]
            diagram.row_label(k + 1, type(part).__name__)
            for one, other in zip(below, here, strict=True):
                diagram.arrow(one, other, f"U{chr(39) * k}")
            if recurrent:
                for one, other in pairwise(here):
                    diagram.arrow(one, other, f"W{chr(39) * k}")
            below = here


def _lengths_after(part: nn.Module, lengths: Lengths) -> Lengths:
    change = getattr(part, "output_lengths", None)
    return lengths if change is None or lengths is None else change(lengths)


def _method(part: nn.Module, name: str) -> Any:
    found = getattr(part, name, None)
    if found is None:
        raise ArgumentError(f"{type(part).__name__} has no `{name}`, so that the chain cannot run step by step")
    return found


def _size(part: nn.Module, name: str) -> Any:
    return getattr(part, name, None)
