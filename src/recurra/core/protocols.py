"""What networks, heads and trainable tasks promise, so that learning, decoding and streaming work on any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

__all__ = ["Batch", "Counted", "Head", "Network", "Steps", "Stepwise", "StreamingNetwork", "Trainable"]


@dataclass(frozen=True)
class Batch:
    """Some sequences, batch first.

    inputs: `(B, T, ...)`; targets: `(B, T, ...)` or None; lengths: `(B,)` int64, the valid steps of
    each row, or None where all T are; resets: `(B,)` bool, True where a row starts a new document and
    must start from the network's initial state, or None; state: what the network carries in, or None;
    target_lengths: `(B,)` int64, where the targets have lengths of their own.
    """

    inputs: Tensor
    targets: Tensor | None = None
    lengths: Tensor | None = None
    resets: Tensor | None = None
    state: Any = None
    target_lengths: Tensor | None = None


@runtime_checkable
class Network(Protocol):
    """Maps a batch to outputs and a final state."""

    def forward(self, batch: Batch) -> tuple[Tensor, Any]:
        """Return outputs `(B, T, ...)` and the state after each row's last valid step."""
        ...


@runtime_checkable
class StreamingNetwork(Network, Protocol):
    """A network that looks only backwards, and so can be run one step at a time."""

    def initial_state(self, batch: int) -> Any:
        """Return the state before the first step, for `batch` rows."""
        ...

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs `(B, ...)` of one step and the new state; equals `forward`, step by step."""
        ...


@runtime_checkable
class Head(Protocol):
    """What stands on a network's outputs: a loss to learn by and a way to predict."""

    def loss(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        """Return the loss summed over the entries of `targets` where `mask` is True (all, if None)."""
        ...

    def predict(self, outputs: Tensor, mask: Tensor | None) -> Tensor:
        """Return the most likely targets."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """All that the trainer knows of a task."""

    network: nn.Module

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """Yield the batches of one epoch (counted from 0) from number `start` on: a pure function of its arguments."""
        ...

    def loss(self, batch: Any) -> tuple[Tensor, int]:
        """Return the mean loss of a batch (nats a token) with its graph, and the number of tokens."""
        ...

    def validate(self) -> dict[str, float]:
        """Return the metrics on the validation part; `val_loss` (nats a token) must be among them."""
        ...

    def carried(self) -> dict[str, Tensor]:
        """Return what is carried from batch to batch and not a weight (recurrent states), to be saved."""
        ...

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """Take back what `carried` gave; an empty mapping, given where each epoch begins, means a fresh start."""
        ...

    def sample(self) -> str | None:
        """Return something a person can look at while training goes on, or None."""
        ...


@dataclass(frozen=True)
class Steps:
    """A batch as a network meets it step by step.

    network: a `StreamingNetwork`, all or part of the trainable's; batch: with targets `(B, T, ...)`, one for every
    step; loss: `loss(y_t, target_t)`, summed over the rows of a step; count: what the sum over all steps is divided by.
    """

    network: nn.Module
    batch: Batch
    loss: Callable[[Tensor, Any], Tensor]
    count: int


@runtime_checkable
class Stepwise(Trainable, Protocol):
    """A trainable whose loss is a sum over steps, so that any learning rule can learn it."""

    def steps(self, batch: Any) -> Steps:
        """Return a batch step by step. Raises ArgumentError where this network or head cannot run so."""
        ...


@runtime_checkable
class Counted(Trainable, Protocol):
    """A trainable that knows how many batches an epoch has, without making them."""

    def count(self, epoch: int) -> int:
        """Return the number of batches of an epoch."""
        ...
