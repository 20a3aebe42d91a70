"""Reading some frames and forecasting the next: an encoder and a forecaster of recurrent layers over grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.layers import CellFactory, Recurrent
from recurra.networks.channels import ChannelLinear
from recurra.networks.deep import cells_for
from recurra.networks.ragged import Lengths, check_parts, check_sequences, last_valid

__all__ = ["Forecaster"]


class Forecaster(nn.Module):
    """An encoder reads x_1, ..., x_T; each layer of the forecaster begins from the encoder's state at its height.

        encoder      u^l_t = cell_l(u^{l-1}_t),      u^0 = x
        forecaster   v^l_k = cell'_l(v^{l-1}_k),     v^0 = 0, or the frame before with fed_back (x_T first)
        x~_{T+k} = W [v^1_k; ...; v^L_k] + b         over channels, alike at every place,    k = 1, ..., horizon

        Forecaster(lambda i, h: ConvLSTMCell(i, h, grid=(16, 16)), 1, [32, 32], horizon=10)

    cells: one for all layers, or one for each, over grids or, as well, over vectors; channels: of a frame; sizes:
    hidden channels of each layer. x: `(B, T, channels, *grid)`; forecasts: `(B, horizon, channels, *grid)`.
    State: of each layer of the encoder. It streams: `step` takes one frame and gives the forecasts from there on.

    Paper: Shi et al., "Convolutional LSTM network: a machine learning approach for precipitation nowcasting", NIPS
    (2015), arXiv v2, section 3.2; fed back: Srivastava, Mansimov and Salakhutdinov, "Unsupervised learning of video
    representations using LSTMs", ICML (2015).
    Deviation: none for cells that are convolutional LSTMs; no squashing of the forecasts, which is the loss's matter.
    """

    topology = "forecaster"

    def __init__(
        self,
        cells: CellFactory | Sequence[CellFactory],
        channels: int,
        sizes: Sequence[int],
        horizon: int,
        *,
        fed_back: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if horizon < 1:
            raise ArgumentError(f"horizon must be at least 1 frame, got {horizon}")
        self.channels = channels
        self.horizon = horizon
        self.fed_back = fed_back
        self.encoder = _layers(cells, channels, sizes, backend)
        self.forecaster = _layers(cells, channels, sizes, backend)
        self.readout = ChannelLinear(sum(layer.output_size for layer in self._recurrent(self.forecaster)), channels)

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Lengths = None, horizon: int | None = None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """Return the forecasts after each row's last valid frame, `horizon` of them (the network's own number if not
        given), and the encoder's state."""
        check_sequences("Forecaster", x, self.channels)
        given = check_parts("Forecaster", state, len(self.encoder), "one for each layer")
        last = last_valid(x, lengths)
        final: list[Any] = []
        u = x
        for layer, own in zip(self.encoder, given, strict=True):
            u, new = layer(u, own, lengths=lengths)
            final.append(new)
        return self._forecast(last, final, self.horizon if horizon is None else horizon), tuple(final)

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Read one frame `(B, channels, *grid)`; return the forecasts from there on, and the encoder's state."""
        given = check_parts("Forecaster", state, len(self.encoder), "one for each layer")
        final: list[Any] = []
        u = x
        for layer, own in zip(self._recurrent(self.encoder), given, strict=True):
            u, new = layer.step(u, own, context)
            final.append(new)
        return self._forecast(x, final, self.horizon), tuple(final)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """Return the state before the first frame."""
        return tuple(layer.initial_state(batch) for layer in self._recurrent(self.encoder))

    def extra_repr(self) -> str:
        return f"horizon={self.horizon}, fed_back={self.fed_back}"

    def _forecast(self, last: Tensor, state: Sequence[Any], horizon: int) -> Tensor:
        """Run the forecaster; last: the frame that was read last."""
        states = list(state)
        if not self.fed_back:
            v, seen = last.new_zeros(last.shape[0], horizon, *last.shape[1:]), list[Tensor]()
            for layer, own in zip(self.forecaster, states, strict=True):
                v, _ = layer(v, own)
                seen.append(v)
            return self.readout(torch.cat(seen, 2), 2)
        frames: list[Tensor] = []
        for _ in range(horizon):
            v, seen = last, list[Tensor]()
            for k, layer in enumerate(self._recurrent(self.forecaster)):
                v, states[k] = layer.step(v, states[k])
                seen.append(v)
            last = self.readout(torch.cat(seen, 1), 1)
            frames.append(last)
        return torch.stack(frames, 1)

    @staticmethod
    def _recurrent(layers: nn.ModuleList) -> list[Recurrent]:
        return [layer for layer in layers if isinstance(layer, Recurrent)]


def _layers(
    cells: CellFactory | Sequence[CellFactory], width: int, sizes: Sequence[int], backend: str
) -> nn.ModuleList:
    layers = nn.ModuleList()
    for cell, size in zip(cells_for(cells, sizes), sizes, strict=True):
        layer = Recurrent(cell, width, size, batch_first=True, backend=backend)
        layers.append(layer)
        width = layer.output_size
    return layers
