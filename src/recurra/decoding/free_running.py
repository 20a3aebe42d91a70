"""Free running: a network's own choice is its next input."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from recurra.core import Batch, StreamingNetwork
from recurra.core.errors import ArgumentError

__all__ = ["free_run"]


@torch.inference_mode()
def free_run(
    network: StreamingNetwork, prompt: Tensor, length: int, choose: Callable[[Tensor], Tensor], stop: int | None = None
) -> Iterator[Tensor]:
    """Yield the ids `(B,)` of one step after another, streaming through `network.step`.

    prompt: `(B, P)` ids, P at least 1, read in one call before the first choice; length: how many steps at most;
    choose: scores `(B, symbols)` -> ids `(B,)`; stop: an id that ends a row (the last thing it yields; afterwards the
    row repeats it), and the whole run once every row has ended.
    """
    if prompt.dim() != 2 or prompt.shape[1] == 0:
        raise ArgumentError(f"the prompt must have at least one symbol, shape (B, P), got {tuple(prompt.shape)}")
    outputs, state = network.forward(Batch(prompt))
    scores = outputs[:, -1]
    ended = torch.zeros(prompt.shape[0], dtype=torch.bool, device=prompt.device)
    for _ in range(length):
        ids = choose(scores)
        if stop is not None:
            ids = ids.masked_fill(ended, stop)
            ended = ended | (ids == stop)
        yield ids
        if bool(ended.all()):
            return
        scores, state = network.step(ids, state)
