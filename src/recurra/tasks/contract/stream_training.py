"""Training on documents that are read as streams of windows, each symbol predicted from those before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core import Batch, Steps
from recurra.core.errors import ArgumentError
from recurra.data.split import require_window
from recurra.data.streams import StreamReader
from recurra.heads import Softmax
from recurra.learning import StreamBPTT, growing_window, sampled_inputs

__all__ = ["StreamTraining", "predicted_nats", "stream_loss"]

_SAMPLING_EPOCHS = 5
"""Epochs after which scheduled sampling has its full share."""


class StreamTraining:
    """A network over streams as the trainer sees it: truncated BPTT, the state carried from window to window.

    train, validation: documents of token numbers; window: steps between updates; backprop: steps the gradient goes
    back, a multiple of the window; first_window: that of the first epoch, which doubles with each until it is `window`;
    sampled: share of the inputs that are drawn from what the network itself expects there (scheduled sampling), reached
    by equal steps in the first five epochs; sample: writes something to look at.
    """

    def __init__(
        self,
        network: Any,
        train: Sequence[Any],
        validation: Sequence[Any],
        *,
        batch_size: int,
        window: int,
        backprop: int | None = None,
        first_window: int | None = None,
        sampled: float = 0.0,
        sample: Callable[[], str | None],
    ) -> None:
        self.network: nn.Module = network
        self._train, self._validation = train, validation
        self._batch_size, self._window, self._first = batch_size, window, first_window or window
        self._sampled, self._share = sampled, 0.0
        self._sample = sample
        require_window(train, window, "training")
        require_window(validation, window, "validation")
        self._carry = StreamBPTT(network, (backprop or window) // window)
        self._head = Softmax()
        self._read: StreamReader | None = None

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See `Trainable`."""
        self._share = self._sampled * min(epoch / _SAMPLING_EPOCHS, 1.0)
        return self._reader(epoch).batches(start)

    def count(self, epoch: int) -> int:
        """See `Counted`."""
        return len(self._reader(epoch))

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """See `Trainable`."""
        if self._share:
            batch = sampled_inputs(self.network, batch, self._share, self._carry.begun(batch))
        loss, tokens = stream_loss(self._head, self._carry, batch)
        return loss / tokens, tokens

    def steps(self, batch: Batch) -> Steps:
        """See `Stepwise`."""
        if self._sampled:
            raise ArgumentError("scheduled sampling (--sampled-inputs) fits --learning tbptt alone: leave out either")
        begun = replace(batch, state=self._carry.begun(batch))
        return Steps(self.network, begun, self._head.loss, _count(batch))

    def validate(self) -> dict[str, float]:
        """See `Trainable`."""
        nats, tokens = predicted_nats(self.network, self._validation, self._batch_size, self._window)
        return {"val_loss": nats / tokens, "val_perplexity": math.exp(nats / tokens)}

    def carried(self) -> dict[str, Tensor]:
        """See `Trainable`."""
        return self._carry.carried()

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """See `Trainable`."""
        self._carry.restore(carried)

    def sample(self) -> str | None:
        """See `Trainable`."""
        return self._sample()

    def _reader(self, epoch: int) -> StreamReader:
        over = max(1, math.ceil(math.log2(self._window / self._first)))
        window = growing_window(epoch, self._first, self._window, over)
        if self._read is None or self._read.window != window:
            self._read = StreamReader(self._train, self._batch_size, window)
        return self._read


@torch.no_grad()
def predicted_nats(network: Any, documents: Sequence[Any], batch_size: int, window: int) -> tuple[float, int]:
    """Return the summed loss over documents of token numbers, and the number of predictions."""
    carry, head = StreamBPTT(network), Softmax()
    total, count = 0.0, 0
    for batch in StreamReader(documents, batch_size, window).batches():
        loss, tokens = stream_loss(head, carry, batch)
        total += float(loss)
        count += tokens
    return total, count


def stream_loss(head: Softmax, carry: StreamBPTT, batch: Batch) -> tuple[Tensor, int]:
    """Return the loss summed over the valid predictions of a batch, and their number."""
    assert batch.targets is not None
    outputs = carry.forward(batch)
    if batch.lengths is None:
        return head.loss(outputs, batch.targets), batch.targets.numel()
    mask = torch.arange(batch.inputs.shape[1]) < batch.lengths[:, None]
    return head.loss(outputs, batch.targets, mask), _count(batch)


def _count(batch: Batch) -> int:
    return batch.inputs.numel() if batch.lengths is None else int(batch.lengths.sum())
