"""The contract of a recurrent cell: data, and one pure step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.core.state import Shape, State, StateShape, split_shape

__all__ = ["Cell", "Context", "Shared", "call_step"]


class Shared:
    """Marks an entry of `per_call` that has no rows: one tensor for the whole batch (a mask over weights)."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


Context: TypeAlias = tuple[tuple[Tensor | Shared, ...], tuple[Tensor, ...]]
"""What `make_context` returns: `(per_call, per_step)`."""


def _step_undefined(self: Cell, *args: Any) -> tuple[Tensor, State]:
    raise NotImplementedError(f"{type(self).__name__} must define step(x, state) -> (y, state)")


class Cell(nn.Module):
    """A recurrent cell: `(y_t, state_t) = step(x_t, state_{t-1})`.

    Subclass it, make parameters in `__init__`, and write the equation in `step`:

        class Leaky(recurra.Cell):
            def __init__(self, input_size, hidden_size):
                super().__init__(input_size, hidden_size)
                self.inputs = nn.Linear(input_size, hidden_size)
                self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)
                self.leak = nn.Parameter(torch.zeros(hidden_size))

            def step(self, x, state):
                (h,) = state
                a = torch.sigmoid(self.leak)
                h = (1 - a) * h + a * torch.tanh(self.inputs(x) + self.recurrent(h))
                return h, (h,)

    The step must be pure and deterministic: it draws no random number, treats each row of the batch
    alone, changes nothing in place, and reads only parameters, buffers and attributes set in `__init__`.

    There is no time argument. A cell that needs a clock carries an int64 state, so that it streams,
    freezes where a sequence ends, and reverses rightly. Integer states carry no gradient.

    Attributes:
        input_size, hidden_size: as given.
        input_shape: shape of one input without the batch, `(input_size,)` unless the cell sets it.
        output_shape: shape of one output without the batch, `(hidden_size,)` unless the cell sets it.
        gates: what each block of rows of the biases does, in order: "keep" (1 keeps the old state), "replace" (1 puts
            the new value in its place), "write" (1 adds the new value to it), "read", "reset", "new"; the initialisers
            `forget_bias_` and `chrono_` go by it.
        droppable: the states that a step uses in matrix products alone, so that recurrent dropout may mask them.
    """

    gates: ClassVar[tuple[str, ...]] = ()
    droppable: ClassVar[tuple[int, ...]] = ()

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ArgumentError(f"{type(self).__name__}: {name} must be an integer of at least 1, got {size!r}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.input_shape: Shape = (input_size,)
        self.output_shape: Shape = (hidden_size,)

    step: Callable[..., tuple[Tensor, State]] = _step_undefined
    """Return `(y, new_state)` of one time step: `step(x, state)`, or `step(x, state, context)`.

    x: `(B, *input_shape)`; state: tuple of `(B, ...)` tensors as `state_shapes` declares them; y: `(B, *output_shape)`.
    A step that takes a third argument gets the context: one flat tuple, the `per_call` entries first, then this
    step's slice of every `per_step` entry.
    """

    takes_context: bool = False
    """Whether the step has that third argument; found from the step itself."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.takes_context = len(inspect.signature(cls.step).parameters) > 3

    def state_shapes(self) -> tuple[StateShape, ...]:
        """Return each state tensor's shape without the batch, or `(shape, dtype)`; one vector by default."""
        return ((self.hidden_size,),)

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the state before the first step: zeros, unless the cell says otherwise."""
        shapes = (split_shape(declared) for declared in self.state_shapes())
        return tuple(torch.zeros(batch, *shape, device=device, dtype=own or dtype) for shape, own in shapes)

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        """Return `(per_call, per_step)`: what is constant over a call, or drawn for it.

        Called once a call, before the loop; this is the one place where random numbers may be drawn.
        given: what the caller handed over as `context`. Entries of `per_call` have B rows in dimension 0, or
        are wrapped in `Shared`; entries of `per_step` are `(T, B, ...)`, aligned to the input's time.
        Gradients flow through all of them.
        """
        return given, ()

    def forward(self, x: Tensor, state: State | None = None, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        """Run one step; `state=None` is the initial state."""
        if state is None:
            state = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        return call_step(self, x, state, context)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


def call_step(cell: Cell, x: Tensor, state: State, context: tuple[Any, ...]) -> tuple[Tensor, State]:
    """Call `cell.step` with the context, if it takes one."""
    if cell.takes_context:
        return cell.step(x, state, context)
    if context:
        raise ArgumentError(
            f"{type(cell).__name__}.step(x, state) takes no context, but got {len(context)} context tensor(s): "
            "give the step a third argument, or call without context"
        )
    return cell.step(x, state)
