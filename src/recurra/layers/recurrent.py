"""Any cell as a layer: stacked, bidirectional, over ragged batches, streaming."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recurra import cells
from recurra.core import Cell
from recurra.core.errors import ArgumentError
from recurra.layers.layout import Layout
from recurra.layers.sequences import prepare, run_again
from recurra.layers.stack import Stack
from recurra.layers.states import join_states, split_state
from recurra.layers.streaming import stream_step
from recurra.scan import adopt, choose, forget_weights

__all__ = ["CellFactory", "Directions", "Recurrent", "cell_factory"]

CellFactory: TypeAlias = str | Callable[..., Cell]
"""A `Cell` class, a registered name, or any callable `(input_size, hidden_size) -> Cell`."""


class Recurrent(nn.Module):
    """A recurrent layer over any cell.

        rnn = recurra.Recurrent(Leaky, 32, 128, num_layers=2, bidirectional=True, batch_first=True)
        y, state = rnn(x)                                # x: (B, T, 32) -> y: (B, T, 256)
        y, state = rnn(x, state, lengths=lengths)        # lengths: (B,), any order, any device, zero allowed
        y_t, state = one_way.step(x_t, state)            # streaming

    cell: a `Cell` class, a registered name ("lstm"), or a callable `(input_size, hidden_size) -> Cell`;
    further options go to it. dropout: probability, between layers, while training. backend: "auto" takes the fastest
    that supports the cell; "reference" is the plain loop; a forced backend that cannot run says why.

    Parameters are named `layers.{k}.{forward|reverse}.<the cell's own names>`: a public format.
    """

    def __init__(
        self,
        cell: CellFactory,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        batch_first: bool = False,
        backend: str = "auto",
        **cell_options: Any,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ArgumentError(f"num_layers must be at least 1, got {num_layers}")
        if not 0.0 <= dropout <= 1.0:
            raise ArgumentError(f"dropout must be a probability between 0 and 1, got {dropout}")
        choose(backend)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.batch_first = batch_first
        self.backend = backend
        self.layers = nn.ModuleList()
        build = cell_factory(cell)
        width = input_size
        for _ in range(num_layers):
            made = [build(width, hidden_size, **cell_options) for _ in range(2 if bidirectional else 1)]
            layer = Directions(*made)
            self.layers.append(layer)
            width = sum(c.output_shape[0] for c in layer.cells)
        self.output_size = width
        adopt(self)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        adopt(self)

    def forward(
        self,
        x: Tensor | PackedSequence,
        state: Any = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        context: tuple[Any, ...] | None = None,
        return_all_states: bool = False,
    ) -> Any:
        """Run whole sequences; return `(output, state)`, or `(output, state, states)` with `return_all_states`.

        x: `(T, B, ...)`, `(B, T, ...)` with batch_first, `(T, ...)` for one sequence alone, or a packed sequence.
        state: what an earlier call returned, None for the initial state. lengths: `(B,)`, the valid steps of each row.
        context: handed to every cell; tensors over time are `(T, B, ...)` whatever batch_first says.

        output: as x, with `output_size` features, zero in the padding. state: for each of the cell's state tensors one
        `(layers * directions, B, ...)`, or a tuple with one tensor for each layer and direction where their shapes
        differ; a state of a single tensor is that tensor. states: the same with time,
        `(layers * directions, T, B, ...)`.
        Raises ShapeError where sizes do not fit.
        """
        usual = lengths is None and not context and not return_all_states
        if usual:
            done = run_again(self, x, state, self.batch_first)
            if done is not None:
                return done
        stack = self._stack()
        layout = Layout(x, lengths, self.batch_first, len(stack.cells[0].input_shape))
        state = layout.state_in(state)
        initial = None if state is None else split_state(stack.cells, state, layout.x.shape[1])
        y, final, states = stack.run(
            layout.x, initial, context=context or (), lengths=layout.lengths, keep_states=return_all_states
        )
        if usual:
            prepare(self, stack)
        output = layout.output(y), layout.state_out(join_states(stack.cells, final))
        if states is None:
            return output
        return *output, layout.state_out(join_states(stack.cells, states), dim=2)

    def step(
        self,
        x: Tensor,
        state: Any = None,
        context: tuple[Any, ...] | None = None,
        active: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Run one step; equals `forward`, one step at a time. Only for one-directional layers.

        x: `(B, ...)`; state: as in `forward`; context: as in `forward` for T = 1; active: `(B,)` bool, the live rows:
        the others keep their state and give zeros. Returns `(y, state)`. Raises ArgumentError if bidirectional.
        """
        return stream_step(self, self._stack, x, state, context or (), active)

    def initial_state(self, batch: int) -> Any:
        """Return the state before the first step for `batch` rows, on the weights' device and in their dtype."""
        like = next((p for p in chain(self.parameters(), self.buffers()) if p.is_floating_point()), None)
        device, dtype = (like.device, like.dtype) if like is not None else (None, None)
        stack = self._stack()
        return join_states(stack.cells, [c.initial_state(batch, device=device, dtype=dtype) for c in stack.cells])

    def bound_cells(self) -> list[Cell]:
        """Return the cells, in the order of layers and directions."""
        return self._stack().cells

    def flatten_parameters(self) -> None:
        """Have packed weights packed anew, after a write that PyTorch cannot see (through `.data` or NumPy).

        Only streaming keeps packed weights from call to call, and sees every write that PyTorch sees.
        """
        forget_weights()

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        if self.dropout:
            parts.append(f"dropout={self.dropout}")
        if self.batch_first:
            parts.append("batch_first=True")
        if self.backend != "auto":
            parts.append(f"backend={self.backend!r}")
        return ", ".join(parts)

    def _stack(self) -> Stack:
        return Stack(
            [_directions(layer).cells for layer in self.layers], self.dropout, self.training, self.backend, id(self)
        )


class Directions(nn.Module):
    """One layer: a forward cell and perhaps a reverse one, under exactly these names in the `state_dict`."""

    def __init__(self, forward: Cell, reverse: Cell | None = None) -> None:
        super().__init__()
        # Not add_module: "forward" is also a method of every module, here shadowed by the property below.
        self._modules["forward"] = forward
        if reverse is not None:
            self._modules["reverse"] = reverse

    @property
    def forward(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The forward cell; calling the layer calls it."""
        return self._modules["forward"]

    @property
    def cells(self) -> list[Cell]:
        """The one or two cells."""
        return [cell for cell in self._modules.values() if isinstance(cell, Cell)]


def _directions(layer: nn.Module) -> Directions:
    assert isinstance(layer, Directions)
    return layer


def cell_factory(cell: CellFactory) -> Callable[..., Cell]:
    """Return what makes the cells: `build(input_size, hidden_size, **options)`, whatever form the choice had.

    Raises UnknownNameError for an unknown name, ArgumentError for what is no cell.
    """
    if isinstance(cell, str):
        return cells.get(cell)
    if not callable(cell):
        raise ArgumentError(
            f"cell must be a Cell class, a registered name ({', '.join(cells.names())}), or a callable "
            f"(input_size, hidden_size) -> Cell; got {type(cell).__name__}"
        )

    def build(*sizes: int, **options: Any) -> Cell:
        made = cell(*sizes, **options)
        if not isinstance(made, Cell):
            raise ArgumentError(f"the cell factory must return a recurra.Cell, got {type(made).__name__}")
        return made

    return build
