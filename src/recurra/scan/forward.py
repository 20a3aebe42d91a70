"""The forward kernels' calls, for all calls of the same sizes: for their own sake, and as the first half of a training
step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.compiler.words import Address
from recurra.scan.frame import Frame, Ports, Sizes
from recurra.scan.kernels import Compiled
from recurra.scan.spare_memory import working_memory
from recurra.scan.workspace import Form, Fresh, Layout, Place

__all__ = ["Inference", "Training"]

Given = Sequence[Tensor | None]
"""What the loop runs on: once, with rows, at every step, and the states; a state of zeros may be None."""


class Inference:
    """The forward for its own sake: only those states are kept for all steps that are outputs."""

    def __init__(self, c: Compiled, sizes: Sizes, given: Given, stacked: bool = False) -> None:
        """stacked: whether final states are `(1, B, ...)`, as of a stack of one layer."""
        self._compiled, self._sizes = c, sizes
        steps, batch = sizes.steps, sizes.batch
        states = len(given) - len(c.states)
        self._kept = [k for k in range(len(c.states)) if k in c.aliases]
        forms = [Form(steps + 1, c.states[k].shape, c.states[k].dtype) for k in self._kept]
        turning = [k for k in range(len(c.states)) if k not in c.aliases]
        layout = Layout([Form(2, c.states[k].shape, c.states[k].dtype) for k in turning], batch)
        # After what is given: the workspace, states kept, final states, outputs.
        memory = len(given)
        places = dict(zip(turning, layout.places(memory), strict=True))
        for n, (k, form) in enumerate(zip(self._kept, forms, strict=True)):
            places[k] = Place(Address(memory + 1 + n), math.prod(form.shape), form, batch)
        finals = memory + 1 + len(self._kept)
        outputs = [c.form(v, steps) for v in c.own_outputs]
        self._histories = Fresh([f.kind(batch) for f in forms], sizes.ragged)
        self._ends = Fresh([((*([1] if stacked else []), batch, *f.shape), f.dtype) for f in c.states])
        self._outputs = Fresh([f.kind(batch) for f in outputs], sizes.ragged)
        first = 0 if sizes.descend else 1
        self._found = [
            (c.own_outputs.index(o), None) if k is None else (self._kept.index(k), first)
            for o, k in zip(c.plan.outputs, c.aliases, strict=True)
        ]
        ports = _inputs(c, sizes, given)
        for k in range(len(c.states)):
            ports.carried(places[k], -1 if k in self._kept else 1, states + k, finals + k)
        _results(ports, finals + len(c.states), outputs, batch)
        own = Address(memory, layout.size)
        self.frame = Frame(c.kernels["infer"], ports, len(c.plan.staged.loop_once), own, sizes, sizes.descend)
        self._memory = layout.size + self.frame.memory

    def __call__(self, given: Given, lengths: tuple[int, ...] | None) -> tuple[list[Tensor], list[Tensor]]:
        """Return outputs and final states."""
        tensors, outputs, finals = self.laid(given)
        self.frame.run(tensors, lengths)
        if lengths is not None and self._sizes.descend:
            kept = zip(outputs, self._found, strict=True)
            outputs = [o if first is None else self._clean(o, lengths) for o, (_, first) in kept]
        return outputs, finals

    def laid(self, given: Given) -> tuple[list[Tensor | None], list[Tensor], list[Tensor]]:
        """Return what the frame is run with, and where it leaves outputs and final states."""
        memory = working_memory(self._memory)
        histories, finals, own = self._histories(), self._ends(), self._outputs()
        steps = self._sizes.steps
        outputs = [own[k] if first is None else histories[k].narrow(0, first, steps) for k, first in self._found]
        return [*given, memory, *histories, *finals, *own], outputs, finals

    def _clean(self, states: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """Return states after every step, without the initial ones that stand in the padding of reversed rows."""
        valid = torch.arange(self._sizes.steps).unsqueeze(1) < torch.tensor(lengths)
        return torch.where(valid.reshape(*valid.shape, *(1,) * (states.dim() - 2)), states, states.new_zeros(()))


class Training:
    """The forward of a training step: all states are kept, and what the backward reads besides.

    An output has memory of its own even where it is a state, whose history the backward reads: the caller may write
    into it. What the backward does read is among what it has to be given, so that writing into it is noticed.
    """

    def __init__(self, c: Compiled, sizes: Sizes, given: Given, stacked: bool = False) -> None:
        """stacked: as for `Inference`."""
        self._sizes = sizes
        steps, batch = sizes.steps, sizes.batch
        states = len(given) - len(c.states)
        layout = Layout(c.kept_forms(steps), batch)
        # After what is given: what is kept, the kernel's own memory, final states, outputs.
        memory = len(given)
        finals = memory + 2
        different = list(dict.fromkeys(c.plan.outputs))
        outputs = [c.form(v, steps) for v in different]
        self._ends = Fresh(((*([1] if stacked else []), batch, *f.shape), f.dtype) for f in c.states)
        self._outputs = Fresh([f.kind(batch) for f in outputs], sizes.ragged)
        self._found = [different.index(o) for o in c.plan.outputs]
        self._read = [different.index(o) for o in c.own_outputs]
        held = layout.places(memory)
        ports = _inputs(c, sizes, given)
        for k in range(len(c.states)):
            ports.carried(held[k], -1, states + k, finals + k)
        _results(ports, finals + len(c.states), outputs, batch)
        for place in held[len(c.states) :]:
            ports.place(place)
        constants = len(c.plan.staged.loop_once)
        self._frame = Frame(c.kernels["train"], ports, constants, Address(memory + 1), sizes, sizes.descend)
        self._size = layout.size

    def __call__(
        self, given: Given, lengths: tuple[int, ...] | None
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return outputs, final states, and what the backward has to be given."""
        kept = working_memory(self._size, zeros=lengths is not None)
        own = working_memory(self._frame.memory)
        finals, new = self._ends(), self._outputs()
        self._frame.run([*given, kept, own, *finals, *new], lengths)
        outputs = new if len(new) == len(self._found) else _apart([new[k] for k in self._found])
        return outputs, finals, [kept, *(new[k] for k in self._read)]


def _inputs(c: Compiled, sizes: Sizes, given: Given) -> Ports:
    """Return ports with everything that is given but for constants and states."""
    staged = c.plan.staged
    first = len(staged.loop_once)
    then = first + len(staged.loop_call)
    ports = Ports()
    for k, t in enumerate(given[first:then]):
        assert t is not None
        ports.row(first + k, math.prod(t.shape[1:]))
    for k, (time, row) in enumerate(sizes.strides):
        ports.step(then + k, time, row)
    return ports


def _results(ports: Ports, base: int, forms: Sequence[Form], batch: int) -> None:
    for k, form in enumerate(forms):
        width = math.prod(form.shape)
        ports.step(base + k, batch * width, width)


def _apart(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Return outputs of which each has memory of its own."""
    return [o.clone() if any(o is other for other in outputs[:k]) else o for k, o in enumerate(outputs)]
