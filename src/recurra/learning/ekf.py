"""Training by the extended Kalman filter: the weights are a state that outputs measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError, DivergedError, ShapeError
from recurra.learning.covariance import Covariance, Grouping, group_columns
from recurra.learning.forward_mode import ForwardMode, free_memory
from recurra.learning.output_derivatives import ForwardDerivative, OutputDerivative, WindowDerivative
from recurra.learning.rule import Carry
from recurra.learning.stepper import Stepper

__all__ = ["EKF", "Annealed"]


@dataclass(frozen=True)
class Annealed:
    """A variance that falls from `first` to `last` by equal factors over `updates` updates, and stays there."""

    first: float
    last: float
    updates: int

    def __post_init__(self) -> None:
        if not (self.first >= 0 and self.last >= 0 and (self.first > 0) == (self.last > 0) and self.updates >= 1):
            raise ArgumentError(f"expected two variances above zero (or both zero) and at least 1 update, got {self}")

    def at(self, update: int) -> float:
        """Return the variance at an update, counted from 0."""
        if not self.first:
            return 0.0
        return self.first * (self.last / self.first) ** min(update / self.updates, 1.0)


class EKF:
    """Extended Kalman filter training, an update a step: θ += K (target - y), with K by the covariance of θ.

    H is the total recurrent derivative dy_t/dθ: see `OutputDerivative`; the covariance and its update: `Covariance`.
    Rows of a batch are streams side by side whose outputs are measured together (multi-stream). Costs a step: entries
    of the covariance times outputs times rows.

    groups: "global" (GEKF, one covariance of all parameters), "layer" or "node" (DEKF): see `Grouping`.
    window: steps the derivative looks back (truncated BPTT); None: the whole past, by RTRL.
    noise: variance of a measurement; process: variance that every weight gains at each update; either a number or
    `Annealed`. variance: of each weight at the start, P_0 = variance * I.
    outputs: "gaussian", y is the mean of the target; "softmax", y are the scores of classes and the target a class:
    measured is then the unit vector of the class, whose covariance at p = softmax(y) is R = diag(p) - p pᵀ, and `noise`
    a factor on it. R is singular; with H = R dy/dθ everything is divided by its root, whose range the error lies in.

    Source: Puskorius and Feldkamp, "Neurocontrol of nonlinear dynamical systems with Kalman filter trained recurrent
    networks", IEEE Transactions on Neural Networks 5(2) (1994); multi-stream: Feldkamp and Puskorius (1994); softmax:
    Ollivier, "Online natural gradient as a Kalman filter" (2018), arXiv v4. Deviation: Joseph's form, in float64.
    """

    def __init__(
        self,
        groups: Grouping = "node",
        *,
        window: int | None = 10,
        noise: float | Annealed = 1.0,
        process: float | Annealed = 1e-6,
        variance: float = 1.0,
        outputs: Literal["gaussian", "softmax"] = "gaussian",
    ) -> None:
        if groups not in ("global", "layer", "node"):
            raise ArgumentError(f"groups must be global, layer or node, got {groups!r}")
        if outputs not in ("gaussian", "softmax"):
            raise ArgumentError(f"outputs must be gaussian or softmax, got {outputs!r}")
        if window is not None and window < 1:
            raise ArgumentError(f"window must be at least 1, or None for the whole past, got {window}")
        if not variance > 0:
            raise ArgumentError(f"variance must be above zero, got {variance}")
        self.groups: Grouping = groups
        self.window = window
        self.noise = noise if isinstance(noise, Annealed) else Annealed(noise, noise, 1)
        self.process = process if isinstance(process, Annealed) else Annealed(process, process, 1)
        if not self.noise.first:
            raise ArgumentError("noise must be above zero: a measurement without noise would fix the weights for good")
        self.variance = variance
        self.outputs = outputs
        self._mode = ForwardMode("EKF", True, 1, None)

    def update(
        self, network: nn.Module, inputs: Tensor, targets: Tensor, carry: Carry | None = None
    ) -> tuple[Tensor, Carry]:
        """Learn from a sequence, an update a step; the parameters change. Return `(total, carry)`.

        inputs: `(T, B, ...)`; targets: `(T, B, O)`, or `(T, B)` classes for softmax; NaN (or a class below 0) is a
        target that is not there. total: each step's loss before its update, summed: half the squared error, or
        -log p of the class in nats: an honest forecast.
        Raises ArgumentError for a network that cannot run step by step or whose covariance is too large, ShapeError
        where targets do not fit, DivergedError where the weights stop being numbers.
        """
        stepper = Stepper(network, "EKF")
        steps, batch = inputs.shape[:2]
        parameters = stepper.parameters
        columns = group_columns(parameters, self.groups)
        _refuse_large(columns, self.groups)
        given = carry.own if carry is not None else {}
        covariance = (
            Covariance(columns, [given[f"covariance.{k}"] for k in range(len(columns))])
            if "covariance.0" in given
            else Covariance.initial(columns, self.variance)
        )
        count = int(given["updates"]) if "updates" in given else 0
        total = torch.zeros((), dtype=torch.float64, device=stepper.like.device)
        sizes = [p.numel() for p in parameters.values()]
        with stepper.plainly():
            derivative = self._derivative(stepper, inputs, carry)
            for t in range(steps):
                y = derivative.step(inputs[t])
                measured = self._measure(y.reshape(batch, -1).double(), targets[t])
                if measured is None:
                    continue
                loss, keep, whiten, innovation = measured
                total = total + loss
                h = derivative.derivative().double()
                h = h if keep is None else h[keep]
                h = h if whiten is None else whiten @ h
                noise = torch.zeros(len(h), len(h), dtype=h.dtype, device=h.device)
                noise.diagonal().fill_(self.noise.at(count))
                change = covariance.measure(h, noise, innovation, self.process.at(count))
                # Past the version counter: graphs of past steps may see the weights as they are now.
                for p, part in zip(parameters.values(), change.to(stepper.like.dtype).split(sizes), strict=True):
                    p.data.add_(part.view_as(p))
                count += 1
        for p in parameters.values():
            torch.autograd.graph.increment_version(p)
        if not math.isfinite(float(total)):
            raise DivergedError("EKF: the weights became infinite or NaN: try a smaller variance or a larger noise")
        blocks = {f"covariance.{k}": block for k, block in enumerate(covariance.blocks)}
        own = {**derivative.tensors(), **blocks, "updates": torch.tensor(count)}
        return total, Carry(derivative.state, own)

    def memory_needed(self, network: nn.Module, inputs: Tensor) -> int:
        """Return the bytes of the covariance, and of the steps that are looked back at (the influence, without a
        window); raises ArgumentError where they are too many."""
        stepper = Stepper(network, "EKF")
        columns = group_columns(stepper.parameters, self.groups)
        _refuse_large(columns, self.groups)
        covariance = sum(8 * c.numel() * c.shape[1] for c in columns)
        if self.window is None:
            return covariance + self._mode.memory_needed(network, inputs)
        return covariance + self.window * stepper.kept(inputs[0], stepper.initial_state(inputs.shape[1]))

    def _derivative(self, stepper: Stepper, inputs: Tensor, carry: Carry | None) -> OutputDerivative:
        if self.window is None:
            return ForwardDerivative(self._mode, stepper, inputs, carry)
        return WindowDerivative(stepper, self.window, inputs.shape[1], carry)

    def _measure(self, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor] | None:
        """Return loss, which outputs count `(m,)` (None: all), what whitens their derivative, and the innovation."""
        if self.outputs == "gaussian":
            wanted = target.reshape(y.shape[0], -1).double()
            if wanted.shape != y.shape:
                raise ShapeError(f"expected targets of {y.shape[1]} numbers a row, got shape {tuple(target.shape)}")
            error = (wanted - y).flatten()
            total = error.square().sum()
            if not math.isnan(float(total)):
                return 0.5 * total, None, None, error
            keep = (~error.isnan()).nonzero().squeeze(1)
            error = error[keep]
            return (0.5 * error.square().sum(), keep, None, error) if len(keep) else None
        if target.shape != y.shape[:1] or target.is_floating_point():
            raise ShapeError(f"expected a class for each of {len(y)} rows, got {target.dtype} {tuple(target.shape)}")
        rows = (target >= 0).nonzero().squeeze(1)
        if not len(rows):
            return None
        y, target = y[rows], target[rows]
        p = y.softmax(1)
        values, vectors = torch.linalg.eigh(torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1))
        usable = values > 1e-12
        root = torch.where(usable, values, 0).sqrt()
        inverse = torch.where(usable, 1 / root.clamp_min(1e-6), 0)
        error = torch.nn.functional.one_hot(target, p.shape[1]) - p
        whiten = torch.block_diag(*(root.unsqueeze(2) * vectors.transpose(1, 2)))
        innovation = (inverse * (vectors.transpose(1, 2) @ error.unsqueeze(2)).squeeze(2)).flatten()
        keep = (rows[:, None] * p.shape[1] + torch.arange(p.shape[1], device=rows.device)).flatten()
        loss = torch.nn.functional.cross_entropy(y, target, reduction="sum")
        return loss, keep, whiten, innovation


def _refuse_large(columns: Sequence[Tensor], groups: Grouping) -> None:
    """Raise ArgumentError where the covariance would not fit into the memory that is free."""
    size = sum(8 * c.numel() * c.shape[1] for c in columns)
    free = free_memory()
    if size > free:
        instead = 'groups="node", whose blocks are small' if groups != "node" else "a smaller network"
        raise ArgumentError(
            f"EKF would need {size / 1e9:,.3g} GB for the covariance of {sum(c.numel() for c in columns):,} parameters "
            f"in {sum(len(c) for c in columns):,} group(s), and may take {free / 1e9:,.3g} GB: use {instead}"
        )
