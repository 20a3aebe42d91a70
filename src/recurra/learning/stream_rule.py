"""Any learning rule over a stream of windows, in the form that the trainer takes: a loss, and what is carried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.core.protocols import Batch
from recurra.learning.bptt import BPTT
from recurra.learning.ekf import EKF
from recurra.learning.rtrl import RTRL
from recurra.learning.rule import Carry, LearningRule, StepLoss, carried_tensors, restored_carry
from recurra.learning.snap import SnAp1
from recurra.learning.stepper import Stepper
from recurra.learning.stream_bptt import StreamBPTT
from recurra.learning.uoro import UORO

__all__ = ["RULES", "StreamRule", "stream_learner"]

RULES: dict[str, Callable[[], LearningRule | EKF]] = {
    "bptt": BPTT,
    "rtrl": RTRL,
    "snap1": SnAp1,
    "uoro": UORO,
    "ekf": lambda: EKF("global", outputs="softmax"),
    "dekf": lambda: EKF("node", outputs="softmax"),
}
"""The rules that go by a name; truncated BPTT over streams is `StreamBPTT`. The Kalman filters are for classes."""


class StreamRule:
    """Carries a rule's state and matrices from window to window.

    A row that `batch.resets` starts anew has the network's initial state, and no influence: parameters of a learned
    initial state learn only where all rows start together. The Kalman filters change the weights within `loss`, whose
    gradient is then zero, keep their covariance when rows start anew, and look no further back than the window.
    """

    def __init__(self, network: nn.Module, rule: LearningRule | EKF) -> None:
        self.network = network
        self.rule = rule
        self._carry: Carry | None = None

    def loss(self, batch: Batch, loss: StepLoss) -> Tensor:
        """Return the window's summed loss, whose `backward()` gives the rule's gradient."""
        inputs = batch.inputs.transpose(0, 1)
        if batch.targets is None:
            raise ArgumentError("expected a batch with targets to learn from, got none")
        targets = batch.targets.transpose(0, 1)
        carry = self._start(batch)
        if isinstance(self.rule, EKF):
            if batch.lengths is not None:
                over = torch.arange(len(inputs))[:, None] >= batch.lengths
                targets = targets.masked_fill(over, -1)
            total, self._carry = self.rule.update(self.network, inputs, targets, carry)
            return total.to(torch.get_default_dtype()) + 0 * _some(self.network)
        own = [p for p in self.network.parameters() if p.requires_grad]
        kept = [p.grad for p in own]
        for p in own:
            p.grad = None
        total, self._carry = self.rule.accumulate(self.network, inputs, targets, loss, carry, batch.lengths)
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in own]
        for p, grad in zip(own, kept, strict=True):
            p.grad = grad
        # A number whose derivatives are the rule's.
        pull = torch.stack([(p * g).sum() for p, g in zip(own, found, strict=True)]).sum()
        return total + (pull - pull.detach())

    def carried(self) -> dict[str, Tensor]:
        """Return all that is carried, by name."""
        return {} if self._carry is None else carried_tensors(self._carry)

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """Take back what `carried` gave; an empty mapping forgets the state, but no covariance."""
        if not carried and self._carry is not None and isinstance(self.rule, EKF):
            start = Stepper(self.network, "stream").initial_state(1)
            kept = {n: t for n, t in self._carry.own.items() if n.startswith(("covariance", "updates"))}
            self._carry = replace(self._carry, own=kept, state=start)
            return
        self._carry = restored_carry(self.network, carried)

    def _start(self, batch: Batch) -> Carry | None:
        """Return what the window goes on from."""
        carry, resets, rows = self._carry, batch.resets, batch.inputs.shape[0]
        if carry is None:
            return None
        stepper = Stepper(self.network, "stream")
        if resets is None or not bool(resets.any()):
            return carry
        fresh: Any = stepper.initial_state(rows)
        if bool(resets.all()):
            if not isinstance(self.rule, EKF):
                return None
            kept = {n: t for n, t in carry.own.items() if n.startswith(("covariance", "updates"))}
            with torch.no_grad():
                return Carry(stepper.initial_state(rows), kept)
        where = resets.nonzero().squeeze(1)
        with torch.no_grad():
            state = stepper.form.put(carry.state, where, stepper.form.take(fresh, where))
        own = {n: t for n, t in carry.own.items() if not n.startswith(("past.", "rtrl."))}
        return Carry(state, {n: t.index_fill(0, where, 0) if _of_rows(n) else t for n, t in own.items()})


def stream_learner(network: Any, learning: str, windows: int = 1) -> StreamBPTT | StreamRule:
    """Return what learns a stream by a rule's name: "tbptt", back over so many windows, or one of `RULES`."""
    if learning == "tbptt":
        return StreamBPTT(network, windows)
    if learning not in RULES:
        raise ArgumentError(f"learning must be one of tbptt, {', '.join(RULES)}, got {learning!r}")
    return StreamRule(network, RULES[learning]())


def _of_rows(name: str) -> bool:
    """Tell what a rule carries for each row."""
    return name in ("s", "theta") or name.startswith("influence.")


def _some(network: nn.Module) -> Tensor:
    """Return a number with a graph, which the trainer calls `backward()` on."""
    return torch.stack([p.sum() for p in network.parameters() if p.requires_grad]).sum()
