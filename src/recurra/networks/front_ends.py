"""Convolutional front ends for what comes before a recurrent stack: series and speech, pictures, lines of writing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks.ragged import Lengths, check_parts, check_sequences, valid, zeroed
from recurra.scan.lengths import check_lengths

__all__ = ["ColumnsFront", "PictureFront", "SeriesFront"]


class SeriesFront(nn.Module):
    """Convolutions over time, relu(W * x + b) one upon the other, before a recurrent stack.

        Chain(SeriesFront(40, [64, 64], strides=[2, 2]), recurra.Recurrent(Leaky, 64, 128, batch_first=True))

    channels: of each layer; kernel: the places that each sees; strides: the steps from one output to the next, 1 if not
    given: n steps become ceil(n / stride), which `output_lengths` tells. Around each row's valid part lie zeros, so
    that a row of a ragged batch gives what it gives alone. causal: an output sees no later input; with strides of 1 it
    then streams. x: `(B, T, input_size)`; y: `(B, T', channels[-1])`. State of a stream: the last inputs of each layer,
    `(1, B, kernel - 1, its inputs)`.

    Papers: speech: Amodei et al., "Deep speech 2" (2015), arXiv v1; causal: van den Oord et al., "WaveNet" (2016).
    """

    topology = "convolutional-front"

    def __init__(
        self,
        input_size: int,
        channels: Sequence[int],
        kernel: int = 3,
        *,
        strides: Sequence[int] | None = None,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides or [1] * len(channels))
        if not channels or kernel < 1 or len(self.strides) != len(channels) or min(self.strides) < 1:
            raise ArgumentError(
                "expected at least one layer's channels, a kernel of at least 1, and one stride of at least 1 for each "
                f"layer, got channels {list(channels)}, kernel {kernel}, strides {list(self.strides)}"
            )
        self.input_size = input_size
        self.output_size = channels[-1]
        self.kernel = kernel
        self.causal = causal
        self.streaming = causal and max(self.strides) == 1
        self.layers = nn.ModuleList(
            nn.Conv1d(a, b, kernel, stride)
            for (a, b), stride in zip(pairwise((input_size, *channels)), self.strides, strict=True)
        )

    def forward(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return y `(B, T', channels)`, zero in the padding, and the state, which is empty unless it streams."""
        check_sequences("SeriesFront", x, self.input_size)
        if state and not self.streaming:
            raise ArgumentError("SeriesFront carries a state only if causal and with strides of 1: call it without")
        before = check_parts("SeriesFront", state or None, len(self.layers), "one for each layer")
        final: list[Tensor] = []
        for k, layer in enumerate(self.layers):
            mask = valid(lengths, x)
            x = zeroed(x, mask)
            x, last = self._layer(k, layer, x, before[k], mask)
            final.append(last)
            lengths = _shorter(lengths, self.strides[k])
            x = zeroed(torch.relu(x), valid(lengths, x))
        return x, tuple(final) if self.streaming else ()

    def output_lengths(self, lengths: Lengths) -> Lengths:
        """Return how many of the outputs are valid."""
        for stride in self.strides:
            lengths = _shorter(lengths, stride)
        return lengths

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run one step `(B, input_size)`. Raises ArgumentError unless causal and with strides of 1."""
        if not self.streaming:
            why = f"gives one output for {self.strides} inputs" if self.causal else "sees later inputs"
            raise ArgumentError(
                f"SeriesFront {why}, so it cannot run step by step: make it with causal=True and strides of 1"
            )
        y, state = self.forward(x.unsqueeze(1), state)
        return y.squeeze(1), state

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return the state before the first step: zeros."""
        if not self.streaming:
            return ()
        convolutions = (layer for layer in self.layers if isinstance(layer, nn.Conv1d))
        return tuple(c.weight.new_zeros(1, batch, self.kernel - 1, c.in_channels) for c in convolutions)

    def extra_repr(self) -> str:
        return f"causal={self.causal}"

    def _layer(self, k: int, layer: nn.Module, x: Tensor, before: Any, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the layer's sums, and the last kernel - 1 valid inputs of each row."""
        B, T = x.shape[:2]
        around = self.kernel - 1
        left = around if self.causal else around // 2
        # As many zeros behind as let the last window begin at the last output's own input.
        x = F.pad(x, (0, 0, left, around - left))
        if before is not None:
            x = torch.cat([before[0], x[:, around:]], 1)
        counts = x.new_full((B,), T, dtype=torch.int64) if mask is None else mask.sum(1)
        where = counts.unsqueeze(1) + torch.arange(around, device=x.device)
        last = x[torch.arange(B, device=x.device).unsqueeze(1), where].unsqueeze(0)
        if not T:
            assert isinstance(layer, nn.Conv1d)
            return x.new_zeros(B, 0, layer.out_channels), last
        return layer(x.transpose(1, 2)).transpose(1, 2), last


class PictureFront(nn.Module):
    """A picture as one vector: convolutions with pooling over windows of 2, the mean over all places, a linear layer.

        h = maxpool(relu(W * h + b)) for each of `channels`;    y = V mean(h) + c

    channels: of the picture, then of each layer; x: `(N, channels, height, width)` of any height and width; y:
    `(N, output_size)`. For a video put it into `EveryStep`. Convolutions see 3 x 3 places, with zeros around.
    """

    def __init__(self, channels: Sequence[int], output_size: int) -> None:
        super().__init__()
        self.convolutions = _convolutions(channels)
        self.channels = channels[0]
        self.output_size = output_size
        self.linear = nn.Linear(channels[-1], output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return the vectors. Raises ShapeError for what is no picture of these channels."""
        _check_pictures("PictureFront", x, self.channels)
        for convolution in self.convolutions:
            x = F.max_pool2d(torch.relu(convolution(x)), 2, ceil_mode=True)
        return self.linear(x.mean((2, 3)))


class ColumnsFront(nn.Module):
    """A picture read from left to right, as a line of writing: columns of features become steps.

        h = maxpool(relu(W * h + b)) for each of `channels`;    y_t = mean over the height of h at column t

    channels: of the picture, then of each layer; x: `(B, channels, height, width)`, widths beyond a row's length being
    padding; y: `(B, ceil(width / 2^layers), channels[-1])`; `output_lengths` tells how lengths, that is widths, change.
    It needs the whole picture.

    Paper: Shi, Bai and Yao, "An end-to-end trainable neural network for image-based sequence recognition" (2015), arXiv
    v1 (CRNN).
    Deviation: the mean over the height, so that any height will do; they choose layers after which one row is left.
    """

    topology = "convolutional-front"

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.convolutions = _convolutions(channels)
        self.channels = channels[0]
        self.output_size = channels[-1]

    def forward(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, tuple[()]]:
        """Return y, zero in the padding, and an empty state."""
        _check_pictures("ColumnsFront", x, self.channels)
        x = _without_padding(x, lengths)
        for convolution in self.convolutions:
            # Nothing is below zero, so that zeros in the padding are never the largest of a window.
            x = F.max_pool2d(_without_padding(torch.relu(convolution(x)), lengths), 2, ceil_mode=True)
            lengths = _shorter(lengths, 2)
        return x.mean(2).transpose(1, 2), ()

    def output_lengths(self, lengths: Lengths) -> Lengths:
        """Return how many of the outputs are valid."""
        return _shorter(lengths, 2 ** len(self.convolutions))

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, Any]:
        """Raise ArgumentError: a column's features see the columns to its right."""
        raise ArgumentError(
            "ColumnsFront sees the columns to the right too, so it cannot run step by step: give pictures"
        )


def _convolutions(channels: Sequence[int]) -> nn.ModuleList:
    if len(channels) < 2:
        raise ArgumentError(f"expected the picture's channels and those of at least one layer, got {list(channels)}")
    return nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(channels))


def _check_pictures(name: str, x: Tensor, channels: int) -> None:
    if x.dim() != 4 or x.shape[1] != channels:
        raise ShapeError(f"{name}: expected pictures of shape (N, {channels}, height, width), got {tuple(x.shape)}")


def _without_padding(x: Tensor, widths: Lengths) -> Tensor:
    counts = check_lengths(widths, x.shape[3], x.shape[0])
    if counts is None:
        return x
    mask = torch.arange(x.shape[3], device=x.device) < torch.tensor(counts, device=x.device).unsqueeze(1)
    return torch.where(mask[:, None, None], x, 0.0)


def _shorter(lengths: Lengths, stride: int) -> Lengths:
    return None if lengths is None else -(-torch.as_tensor(lengths) // stride)
