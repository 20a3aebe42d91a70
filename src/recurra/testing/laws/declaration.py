"""What a cell declares is what it gives."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.core import State, split_shape
from recurra.testing.compare import expect
from recurra.testing.subject import Subject

__all__ = ["dtypes_follow_the_input", "shapes_are_as_declared"]


def shapes_are_as_declared(subject: Subject) -> None:
    """y has output_shape, and every state the shape that state_shapes declares, from the initial state on."""
    cell = subject.cell()
    for batch in (1, 3):
        declared = [(batch, *split_shape(entry)[0]) for entry in cell.state_shapes()]
        initial = cell.initial_state(batch, dtype=torch.float64)
        _expect_shapes("initial_state", initial, declared)
        y, new = _one_step(subject, batch, torch.float64)
        expect(isinstance(y, Tensor), "step's y", "a tensor", type(y).__name__)
        expect(tuple(y.shape) == (batch, *cell.output_shape), "y", (batch, *cell.output_shape), tuple(y.shape))
        _expect_shapes("new state", new, declared)


def dtypes_follow_the_input(subject: Subject) -> None:
    """y and every state have the input's dtype (float64, float32, bfloat16), or the one that state_shapes declares."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        cell = subject.cell(dtype)
        y, new = _one_step(subject, 2, dtype)
        expect(y.dtype == dtype, f"y for an input of {dtype}", dtype, y.dtype)
        for name, state in (("initial_state", cell.initial_state(2, dtype=dtype)), ("new state", new)):
            for k, (s, entry) in enumerate(zip(state, cell.state_shapes(), strict=True)):
                expected = split_shape(entry)[1] or dtype
                expect(s.dtype == expected, f"{name} {k} for an input of {dtype}", expected, s.dtype)


def _one_step(subject: Subject, batch: int, dtype: torch.dtype) -> tuple[Tensor, State]:
    """Take one step by hand: what scan makes of a wrong shape would hide where it came from."""
    cell = subject.cell(dtype)
    x = subject.x(1, batch, dtype)
    per_call, per_step = cell.make_context(subject.given(1, batch, dtype), 1, batch, x.device, dtype)
    shared = (c if isinstance(c, Tensor) else c.tensor for c in per_call)
    return cell(x[0], None, (*shared, *(v[0] for v in per_step)))


def _expect_shapes(what: str, state: State, declared: list[tuple[int, ...]]) -> None:
    expect(isinstance(state, tuple), what, "a tuple of tensors", type(state).__name__)
    expect(len(state) == len(declared), what, f"{len(declared)} tensor(s), as state_shapes declares", len(state))
    for k, (s, shape) in enumerate(zip(state, declared, strict=True)):
        expect(tuple(s.shape) == shape, f"{what} {k}", shape, tuple(s.shape))
