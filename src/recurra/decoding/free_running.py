"""Free running: a network's own choice is its next input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.core import Batch, StreamingNetwork
from recurra.core.errors import ArgumentError

__all__ = ["cut_at", "free_run", "run_on"]


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
    yield from _run(network.step, outputs[:, -1], state, None, length, choose, stop)


@torch.inference_mode()
def run_on(
    step: Callable[[Tensor, Any, Any], Sequence[Any]],
    first: Tensor,
    state: Any,
    length: int,
    choose: Callable[[Tensor], Tensor],
    *,
    context: Any = None,
    stop: int | None = None,
) -> Iterator[Tensor]:
    """Yield the ids `(B,)` of one step after another, from a state on: what a decoder writes.

    step: `(ids, state, context) -> (scores, state)`, such as `network.step`; first: ids `(B,)` before the first step;
    state, context: as the network's `encode` gave them; the rest as in `free_run`. A network with one input, 1 to N,
    runs by a step that gives it that input: `lambda ids, state, context: network.step(x, state)`.
    """
    if length < 1:
        return
    scores, state, *_ = step(first, state, context)
    yield from _run(step, scores, state, context, length, choose, stop)


def cut_at(steps: Iterable[Tensor], stop: int) -> list[list[int]]:
    """Return each row's ids up to its first `stop`, which is left out."""
    rows = [torch.stack(list(column)).tolist() for column in zip(*(ids.unbind() for ids in steps), strict=True)]
    return [row[: row.index(stop)] if stop in row else row for row in rows]


def _run(
    step: Callable[[Tensor, Any, Any], Sequence[Any]],
    scores: Tensor,
    state: Any,
    context: Any,
    length: int,
    choose: Callable[[Tensor], Tensor],
    stop: int | None,
) -> Iterator[Tensor]:
    ended = torch.zeros(scores.shape[0], dtype=torch.bool, device=scores.device)
    for t in range(length):
        ids = choose(scores)
        if stop is not None:
            ids = ids.masked_fill(ended, stop)
            ended = ended | (ids == stop)
        yield ids
        if t == length - 1 or bool(ended.all()):
            return
        scores, state, *_ = step(ids, state, context)
