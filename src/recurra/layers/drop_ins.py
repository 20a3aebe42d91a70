"""RNN, GRU and LSTM with torch.nn's constructors, shapes, weights' names, packed input and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recurra.cells.elman import ElmanCell
from recurra.cells.gru import GRUCell
from recurra.cells.lstm import LSTMCell
from recurra.cells.projected_lstm import ProjectedLSTMCell
from recurra.core import Cell
from recurra.layers.layout import Layout
from recurra.layers.sequences import prepare, run_again
from recurra.layers.stack import Stack
from recurra.layers.states import join_states, split_state
from recurra.layers.streaming import stream_step
from recurra.scan import Snapshot, adopt, forget_weights

__all__ = ["GRU", "LSTM", "RNN"]


class _DropIn(nn.RNNBase):
    """What the three share. `torch.nn.RNNBase` gives the parameters, their initialisation, and the checks.

    They do not subclass `torch.nn.RNN`, `GRU` and `LSTM` themselves, which `torch.compile` refuses by type.
    """

    backend: str = "auto"
    """Which way to run; see `recurra.Recurrent`. Set it on the layer: `rnn.backend = "reference"`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._be_found()

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        self._be_found()

    def _be_found(self) -> None:
        """Have the cells ready for `torch.compile`, which cannot look on while they are made."""
        adopt(self)
        self._bound_cells()

    def _make_cell(self, input_size: int) -> Cell:
        """Return a cell with this layer's equation; its parameters are never used, only their names."""
        raise NotImplementedError

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        return_all_states: bool = False,
    ) -> Any:
        """Run whole sequences, as torch's layer of this name does; return `(output, hx)`.

        input: `(T, B, input_size)`, `(B, T, input_size)` with batch_first, `(T, input_size)`, or a packed sequence,
        sorted or not. Beyond torch: lengths `(B,)` for padded input, and `return_all_states` for
        `(output, hx, states)` with states `(layers * directions, T, B, ...)`. Raises ValueError and RuntimeError where
        torch does.
        """
        usual = lengths is None and not return_all_states
        if usual:
            done = run_again(self, input, hx, self.batch_first)
            if done is not None:
                return done
        self._check_dimensions(input, hx)
        layout = Layout(input, lengths, self.batch_first, 1)
        batched = layout.state_in(hx)
        self._check_sizes(layout, batched)
        stack = self._stack()
        initial = None if batched is None else split_state(stack.cells, batched, layout.x.shape[1])
        y, final, states = stack.run(layout.x, initial, lengths=layout.lengths, keep_states=return_all_states)
        if usual:
            prepare(self, stack)
        output = layout.output(y), layout.state_out(join_states(stack.cells, final))
        if states is None:
            return output
        return *output, layout.state_out(join_states(stack.cells, states), dim=2)

    def step(self, x: Tensor, state: Any = None, active: Tensor | None = None) -> tuple[Tensor, Any]:
        """Run one step, x `(B, input_size)`: streaming; see `recurra.Recurrent.step`."""
        return stream_step(self, self._stack, x, state, (), active)

    def initial_state(self, batch: int) -> Any:
        """Return zeros for `batch` rows, on the weights' device and in their dtype."""
        weight = next(self.parameters())
        cells = self._stack().cells
        return join_states(cells, [c.initial_state(batch, device=weight.device, dtype=weight.dtype) for c in cells])

    def bound_cells(self) -> list[Cell]:
        """Return the cells that compute this layer, in the order of layers and directions, on its own parameters."""
        return self._stack().cells

    def flatten_parameters(self) -> None:
        """Have packed weights packed anew, after a write that PyTorch cannot see (through `.data` or NumPy)."""
        forget_weights()
        super().flatten_parameters()

    def _check_dimensions(self, input: Any, hx: Any) -> None:
        name = type(self).__name__
        if isinstance(input, PackedSequence):
            return
        if input.dim() not in (2, 3):
            raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.dim()}D tensor instead")
        kind = "batched 3-D" if input.dim() == 3 else "unbatched 2-D"
        for h in () if hx is None else (hx,) if isinstance(hx, Tensor) else hx:
            if h.dim() != input.dim():
                raise RuntimeError(f"For {kind} input, hx should also be {input.dim()}-D but got {h.dim()}-D tensor")

    def _check_sizes(self, layout: Layout, hx: Any) -> None:
        x = layout.x.transpose(0, 1) if self.batch_first else layout.x
        self.check_input(x, None)
        if hx is not None:
            self.check_forward_args(x, hx, None)
        if layout.x.shape[0] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")

    def _stack(self) -> Stack:
        return Stack(self._bound_cells(), self.dropout, self.training, self.backend, id(self))

    def _bound_cells(self) -> list[list[Cell]]:
        """Cells that read this module's own parameters, as they are at this moment.

        Taken anew whenever anything about the module has changed, so that replaced, tied, moved or functionally swapped
        parameters are always seen.
        """
        if torch.compiler.is_compiling():
            return self._bind_cells()
        known = _BOUND.get(self)
        if known is not None and known[0].holds():
            return known[1]
        cells = self._bind_cells()
        if all(name in self._parameters for name in self._flat_weights_names):
            _BOUND[self] = Snapshot([self]), cells
        return cells

    def _bind_cells(self) -> list[list[Cell]]:
        directions = ["", "_reverse"] if self.bidirectional else [""]
        made: list[list[Cell]] = []
        width = self.input_size
        for k in range(self.num_layers):
            skeleton = self._skeleton(width)
            names = list(skeleton._parameters)
            made.append(
                [
                    _bind(skeleton, {n: getattr(self, f"{n}_l{k}{suffix}", None) for n in names}, self.training)
                    for suffix in directions
                ]
            )
            width = len(directions) * skeleton.output_shape[0]
        return made

    def _skeleton(self, width: int) -> Cell:
        """Return the cell's form without memory; made once for each form, as it costs more than a short sequence."""
        key = (type(self), width, self.hidden_size, self.mode, self.bias, self.proj_size)
        if key not in _SKELETONS:
            with torch.device("meta"):
                _SKELETONS[key] = self._make_cell(width)
        return _SKELETONS[key]


_SKELETONS: dict[tuple[Any, ...], Cell] = {}
_BOUND: WeakKeyDictionary[_DropIn, tuple[Snapshot, list[list[Cell]]]] = WeakKeyDictionary()


class RNN(_DropIn):
    """Elman's network, in place of `torch.nn.RNN`. Note the fourth positional argument, as in torch: nonlinearity."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **unknown: Any,
    ) -> None:
        _refuse(unknown)
        modes = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        if nonlinearity not in modes:
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        self.nonlinearity = nonlinearity
        super().__init__(
            modes[nonlinearity], input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            device=device, dtype=dtype,
        )  # fmt: skip

    def _make_cell(self, input_size: int) -> Cell:
        return ElmanCell(input_size, self.hidden_size, self.nonlinearity, self.bias)


class GRU(_DropIn):
    """The GRU with the reset gate after the product, in place of `torch.nn.GRU`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **unknown: Any,
    ) -> None:
        _refuse(unknown)
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            device=device, dtype=dtype,
        )  # fmt: skip

    def _make_cell(self, input_size: int) -> Cell:
        return GRUCell(input_size, self.hidden_size, self.bias)


class LSTM(_DropIn):
    """The LSTM, with or without a recurrent projection, in place of `torch.nn.LSTM`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size,
            device=device, dtype=dtype,
        )  # fmt: skip

    def _make_cell(self, input_size: int) -> Cell:
        if self.proj_size:
            return ProjectedLSTMCell(input_size, self.hidden_size, self.proj_size, self.bias)
        return LSTMCell(input_size, self.hidden_size, self.bias)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Check h and c, which have different sizes where there is a projection."""
        self.check_input(input, batch_sizes)
        layers, batch, size = self.get_expected_hidden_size(input, batch_sizes)
        self.check_hidden_size(hidden[0], (layers, batch, size), "Expected hidden[0] size {}, got {}")
        self.check_hidden_size(hidden[1], (layers, batch, self.hidden_size), "Expected hidden[1] size {}, got {}")


def _refuse(unknown: Mapping[str, Any]) -> None:
    if "proj_size" in unknown:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
    if unknown:
        raise TypeError(f"unexpected keyword argument {next(iter(unknown))!r}")


def _bind(skeleton: Cell, parameters: Mapping[str, Any], training: bool) -> Cell:
    cell = object.__new__(type(skeleton))
    cell.__dict__ = {**skeleton.__dict__, "_parameters": dict(parameters), "training": training}
    return cell
