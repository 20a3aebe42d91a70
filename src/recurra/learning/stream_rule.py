"""Any learning rule over a stream of windows, in the form that the trainer takes: a loss, and what is carried."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.core.protocols import Batch
from recurra.learning.ekf import EKF
from recurra.learning.rule import Carry, LearningRule, StepLoss, carried_tensors, restored_carry
from recurra.learning.stepper import Stepper

__all__ = ["StreamRule"]

_LASTING = ("covariance", "updates", "generator", "heard", "sets", "member")
"""What a rule knows beyond a sequence: of the weights, of chance, and of the structure of a step."""


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
        self._anew = False

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
        """Take back what `carried` gave; an empty mapping forgets the state, but neither covariance nor structure."""
        self._anew = not carried
        if carried:
            self._carry = restored_carry(self.network, carried)

    def _start(self, batch: Batch) -> Carry | None:
        """Return what the window goes on from."""
        carry, resets, rows = self._carry, batch.resets, batch.inputs.shape[0]
        if carry is None:
            return None
        stepper = Stepper(self.network, "stream")
        if self._anew or (resets is not None and bool(resets.all())):
            self._anew = False
            kept = _lasting(carry.own)
            with torch.no_grad():
                return Carry(stepper.initial_state(rows), kept) if kept else None
        if resets is None or not bool(resets.any()):
            return carry
        where = resets.nonzero().squeeze(1)
        with torch.no_grad():
            fresh = stepper.form.take(stepper.initial_state(rows), where)
            state = stepper.form.put(carry.state, where, fresh)
        own = {n: t for n, t in carry.own.items() if not n.startswith(("past.", "rtrl."))}
        return Carry(state, {n: t.index_fill(0, where, 0) if _of_rows(n) else t for n, t in own.items()})


def _lasting(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n: t for n, t in own.items() if n.removeprefix("rtrl.").split(".")[0] in _LASTING}


def _of_rows(name: str) -> bool:
    """Tell what a rule carries for each row."""
    return name in ("s", "theta") or name.startswith("influence.")


def _some(network: nn.Module) -> Tensor:
    """Return a number with a graph, which the trainer calls `backward()` on."""
    return torch.stack([p.sum() for p in network.parameters() if p.requires_grad]).sum()
