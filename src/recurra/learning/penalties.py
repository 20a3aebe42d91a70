"""The regularisers that training can be told to use, around a trainable's own loss."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.core.protocols import Stepwise, Trainable
from recurra.layers import Recurrent
from recurra.learning.by_rule import ByRule
from recurra.learning.options import TrainerOptions
from recurra.learning.regularisers import (
    activation_penalty,
    gradient_flow_penalty,
    weight_noise,
    weight_penalty,
)
from recurra.learning.stepper import Stepper

__all__ = ["Penalties"]

_BY_BACKWARD = ("activation_cost", "temporal_cost", "gradient_flow", "weight_noise")


class Penalties:
    """What the options `l1`, `activation_cost`, `temporal_cost`, `gradient_flow` and `weight_noise` do at an update.

    The costs of activations (AR) and of their changes (TAR) look at the outputs of every `Recurrent` of the network,
    valid steps alone; gradient_flow needs a trainable that goes step by step (`Stepwise`), and looks at rows that fill
    their window. Raises ArgumentError for options that do not fit the trainable.
    """

    def __init__(self, trainable: Trainable, options: TrainerOptions) -> None:
        self._trainable, self._options = trainable, options
        self._layers = [m for m in trainable.network.modules() if isinstance(m, Recurrent)]
        self._seen: list[tuple[Tensor, Tensor]] = []
        asked = [n for n in _BY_BACKWARD if getattr(options, n)]
        if asked and isinstance(trainable, ByRule):
            raise ArgumentError(f"{', '.join(asked)} goes with learning by backward(), not with {trainable.learning}")
        if options.l1 and isinstance(trainable, ByRule) and trainable.learning in ("ekf", "dekf"):
            raise ArgumentError("l1 adds to a gradient, and the Kalman filters have none: leave either out")
        if options.gradient_flow:
            if not isinstance(trainable, Stepwise):
                raise ArgumentError("gradient_flow needs a task whose loss is a sum over steps, and this one's is not")
            Stepper(trainable.steps(next(trainable.batches(0))).network, "gradient_flow")

    @contextlib.contextmanager
    def noisy(self) -> Generator[None]:
        """Run a forward and a backward pass with noise on the weights, if that was asked for."""
        if not self._options.weight_noise:
            yield
            return
        with weight_noise(self._trainable.network.parameters(), self._options.weight_noise):
            yield

    def loss(self, batch: Any) -> tuple[Tensor, Tensor, int]:
        """Return the trainable's loss, the same with all penalties, and the number of tokens."""
        o = self._options
        flow: Any = self._gradient_flow(batch) if o.gradient_flow else 0
        with self._watched():
            loss, tokens = self._trainable.loss(batch)
        whole = loss + o.gradient_flow * flow
        for y, valid in self._seen:
            whole = whole + activation_penalty(y[valid], o.activation_cost)
            if y.shape[0] > 1:
                moves = torch.where((valid[1:] & valid[:-1]).unsqueeze(-1), y.diff(dim=0), 0)
                # A mean over the steps that there are, not over the padding.
                share = (valid[1:] & valid[:-1]).float().mean().clamp_min(1e-12)
                whole = whole + activation_penalty(moves, o.temporal_cost) / share
        if o.l1:
            whole = whole + weight_penalty(
                (p for p in self._trainable.network.parameters() if p.requires_grad), l1=o.l1
            )
        self._seen.clear()
        return loss, whole, tokens

    def _gradient_flow(self, batch: Any) -> Any:
        """Return the penalty of the rows that are full."""
        assert isinstance(self._trainable, Stepwise)
        steps = self._trainable.steps(batch)
        seen, stepper = steps.batch, Stepper(steps.network, "gradient_flow")
        assert seen.targets is not None
        inputs, targets = seen.inputs.transpose(0, 1), seen.targets.transpose(0, 1)
        if seen.lengths is None:
            return gradient_flow_penalty(steps.network, inputs, targets, steps.loss, seen.state)
        full = (seen.lengths == len(inputs)).nonzero().squeeze(1)
        if not len(full):
            return 0
        state = None if seen.state is None else stepper.form.take(seen.state, full)
        return gradient_flow_penalty(steps.network, inputs[:, full], targets[:, full], steps.loss, state)

    @contextlib.contextmanager
    def _watched(self) -> Generator[None]:
        """Keep what the layers give, if it costs something."""
        if not (self._options.activation_cost or self._options.temporal_cost):
            yield
            return
        hooks = [m.register_forward_hook(self._see, with_kwargs=True) for m in self._layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _see(self, layer: nn.Module, _given: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        assert isinstance(layer, Recurrent)
        y = result[0].transpose(0, 1) if layer.batch_first else result[0]
        lengths = named.get("lengths")
        steps = torch.arange(y.shape[0], device=y.device)[:, None]
        valid = steps < (torch.full(y.shape[1:2], y.shape[0]) if lengths is None else lengths).to(y.device)
        self._seen.append((y, valid))
