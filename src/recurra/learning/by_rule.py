"""Any learning rule in place of `backward()` through a network's forward, for the trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from recurra.core.errors import ArgumentError
from recurra.core.protocols import Stepwise
from recurra.learning.bptt import BPTT
from recurra.learning.ekf import EKF
from recurra.learning.rtrl import RTRL
from recurra.learning.snap import SnAp1
from recurra.learning.stream_rule import StreamRule
from recurra.learning.truncated_bptt import TruncatedBPTT
from recurra.learning.uoro import UORO

__all__ = ["RULES", "ByRule"]

RULES: dict[str, Callable[[int], Any]] = {
    "bptt": lambda _: BPTT(),
    "tbptt": TruncatedBPTT,
    "rtrl": lambda _: RTRL(),
    "snap1": lambda _: SnAp1(),
    "uoro": lambda _: UORO(),
    "ekf": lambda look_back: EKF("global", window=look_back, outputs="softmax"),
    "dekf": lambda look_back: EKF("node", window=look_back, outputs="softmax"),
}
"""The rules that go by a name, made from the steps that they look back. The Kalman filters are for classes."""


class ByRule:
    """A `Trainable` that learns another one by a rule, from its steps alone.

    learning: one of `RULES`; look_back: steps that tbptt and the Kalman filters look back. What is carried is the
    rule's state and matrices, so that a run goes on bit for bit. The first batch shows whether the rule fits: raises
    ArgumentError for what it refuses, and where it would need more memory than there is.
    """

    def __init__(self, trainable: Stepwise, learning: str, look_back: int = 10) -> None:
        if learning not in RULES:
            raise ArgumentError(f"learning must be one of {', '.join(RULES)}, got {learning!r}")
        self.network = trainable.network
        self.learning = learning
        self._trainable = trainable
        first = trainable.steps(next(trainable.batches(0)))
        rule = RULES[learning](look_back)
        self.memory: int = rule.memory_needed(first.network, first.batch.inputs.transpose(0, 1))
        """Bytes that the rule keeps beside the weights, of a batch as large as the first."""
        self._stream = StreamRule(first.network, rule)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """See `Trainable`."""
        return self._trainable.batches(epoch, start)

    def loss(self, batch: Any) -> tuple[Tensor, int]:
        """See `Trainable`: the loss's `backward()` gives the rule's gradient."""
        steps = self._trainable.steps(batch)
        return self._stream.loss(steps.batch, steps.loss) / steps.count, steps.count

    def validate(self) -> dict[str, float]:
        """See `Trainable`."""
        return self._trainable.validate()

    def carried(self) -> dict[str, Tensor]:
        """See `Trainable`."""
        return self._stream.carried()

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """See `Trainable`."""
        self._stream.restore(carried)

    def sample(self) -> str | None:
        """See `Trainable`."""
        return self._trainable.sample()
