"""The one function that runs a cell over time, whatever the backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from recurra.core import Cell, Context, Shared, State, split_shape
from recurra.core.errors import CellError, ShapeError
from recurra.scan.backends import choose
from recurra.scan.compiled import again
from recurra.scan.lengths import check_lengths
from recurra.scan.problem import Problem, Result

__all__ = ["check_context", "check_input", "check_state", "scan"]


def scan(
    cell: Cell,
    x: Tensor,
    state: State | None = None,
    *,
    context: tuple[Any, ...] = (),
    lengths: Tensor | Sequence[int] | None = None,
    reverse: bool = False,
    backend: str = "auto",
    keep_states: bool = False,
) -> Result:
    """Run a cell over time: `y_t, state_t = cell.step(x_t, state_{t-1})` for t = 1 .. T.

    x: `(T, B, *input_shape)`; state: the state before the first step, the cell's initial state if None;
    context: what `cell.make_context` is given, tensors over time being `(T, B, ...)`;
    lengths: `(B,)` integers, the valid steps of each row, in any order, on any device, zero allowed;
    reverse: go through each row's valid part backwards; backend: a name from `BACKENDS`.

    Returns `(y, state, states)`: y `(T, B, *output_shape)` aligned to x; the state after each row's last valid step
    (frozen there); states `(T, B, ...)` if `keep_states`, else None. y and states are zero in the padding, and nothing
    that lies in the padding of x or context has any influence. Raises ShapeError where sizes do not fit.
    """
    check_input(cell, x, "T", "B")
    steps, batch = x.shape[:2]
    if state is not None:
        check_state(cell, state, batch)
    if not context and backend in ("auto", "cpp"):
        valid = check_lengths(lengths, steps, batch)
        done = again(cell, x, state, valid, reverse, keep_states, backend == "cpp")
        if done is not None:
            return done
    if state is None:
        state = cell.initial_state(batch, device=x.device, dtype=x.dtype)
        check_state(cell, state, batch)
    valid = check_lengths(lengths, steps, batch)
    per_call, per_step = check_context(cell.make_context(context, steps, batch, x.device, x.dtype), steps, batch)
    return choose(backend)(Problem(cell, x, state, per_call, per_step, valid, reverse, keep_states))


def check_input(cell: Cell, x: Tensor, *leading: str) -> None:
    """Raise ShapeError unless `x` has the leading dimensions (by name) and then the cell's `input_shape`."""
    if x.dim() != len(leading) + len(cell.input_shape) or tuple(x.shape[len(leading) :]) != cell.input_shape:
        expected = ", ".join((*leading, *map(str, cell.input_shape)))
        raise ShapeError(f"{type(cell).__name__}: expected an input of shape ({expected}), got {tuple(x.shape)}")


def check_state(cell: Cell, state: State, batch: int) -> None:
    """Raise ShapeError unless `state` is what the cell declares, for `batch` rows."""
    declared = cell.state_shapes()
    name = type(cell).__name__
    if len(state) != len(declared):
        raise ShapeError(f"{name} has a state of {len(declared)} tensor(s), got {len(state)}")
    for k, (given, entry) in enumerate(zip(state, declared, strict=True)):
        shape, dtype = split_shape(entry)
        expected = (batch, *shape)
        if tuple(given.shape) != expected:
            raise ShapeError(f"state {k} of {name}: expected shape {expected}, got {tuple(given.shape)}")
        if dtype is not None and given.dtype != dtype:
            raise ShapeError(f"state {k} of {name}: expected {dtype}, got {given.dtype}")


def check_context(context: Context, steps: int, batch: int) -> Context:
    """Return the context with every `per_call` tensor that cannot have one row for each sequence marked as shared.

    Raises CellError where a `per_step` entry is not `(T, B, ...)`.
    """
    per_call, per_step = context
    for k, v in enumerate(per_step):
        if tuple(v.shape[:2]) != (steps, batch):
            raise CellError(f"per_step context {k} must have shape ({steps}, {batch}, ...), got {tuple(v.shape)}")
    marked = (Shared(c) if isinstance(c, Tensor) and c.shape[:1] != (batch,) else c for c in per_call)
    return tuple(marked), tuple(per_step)
