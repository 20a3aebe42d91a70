"""What to learn from first: windows that grow, batches of rows of about one length, the network's own outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError
from recurra.core.protocols import Batch

__all__ = ["bucket_batches", "growing_window", "sampled_inputs"]


def growing_window(step: int, first: int, last: int, over: int) -> int:
    """Return the window's length at an update: from `first` to `last` by equal factors over `over` updates."""
    if not 1 <= first <= last or over < 1 or step < 0:
        raise ArgumentError(
            f"expected 1 <= first <= last, over >= 1 and step >= 0, got {first}, {last}, {over} and {step}"
        )
    return round(first * (last / first) ** min(step / over, 1.0))


def bucket_batches(
    lengths: Tensor | Sequence[int], batch_size: int, generator: torch.Generator | None = None
) -> list[Tensor]:
    """Return the rows of each batch of an epoch, `(rows,)` each, every row once and rows of about one length together.

    Rows are put in a random order, then in order of length; the batches come in a random order. Each row is in one
    batch of an epoch, and every batch but one is full: with the summed loss of a batch divided by `batch_size`, the
    sum of an epoch's gradients is that of any other batching, and the expected gradient is that of the whole data.
    """
    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1, got {batch_size}")
    size = torch.as_tensor(lengths)
    shuffled = torch.randperm(len(size), generator=generator)
    order = shuffled[size[shuffled].argsort(stable=True)]
    batches = list(order.split(batch_size))
    return [batches[k] for k in torch.randperm(len(batches), generator=generator).tolist()]


@torch.no_grad()
def sampled_inputs(network: Any, batch: Batch, share: float, state: Any = None) -> Batch:
    """Return the batch with a share of its symbols drawn from what the network expects there: scheduled sampling.

    network: predicts each symbol from those before it, by `step`; batch: with inputs `(B, T)` int64; state: before its
    first step. The first symbol stays; whether a later one is drawn is a coin of its own, and what follows is expected
    after what was drawn. The targets stay what they were, and no gradient goes through the drawing.

    Source: Bengio, Vinyals, Jaitly and Shazeer, "Scheduled sampling for sequence prediction with recurrent neural
    networks" (2015), arXiv v3.
    """
    if not 0 <= share <= 1:
        raise ArgumentError(f"expected a share from 0 to 1, got {share}")
    inputs = batch.inputs.clone()
    coins = torch.rand(inputs.shape) < share
    state = network.initial_state(len(inputs)) if state is None else state
    for t in range(inputs.shape[1] - 1):
        y, state = network.step(inputs[:, t], state)
        drawn = torch.multinomial(y.softmax(-1), 1).squeeze(1)
        inputs[:, t + 1] = torch.where(coins[:, t + 1].to(drawn.device), drawn, inputs[:, t + 1])
    return replace(batch, inputs=inputs)
