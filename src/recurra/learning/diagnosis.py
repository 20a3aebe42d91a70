"""Why a recurrent network does not learn: what becomes of gradients, influence, gates and weights, in numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.core.protocols import Batch
from recurra.learning.bptt_terms import bptt_terms
from recurra.learning.rule import StepLoss
from recurra.learning.sparsity import derivatives
from recurra.learning.state_form import map_state
from recurra.learning.stepper import Stepper
from recurra.learning.verdict import verdict
from recurra.learning.watching import Watch

__all__ = ["Diagnosis", "diagnose", "input_influence"]

_SATURATED = 0.05  # how near its ends a squashing function has lost most of its slope
_FORGOTTEN = 0.01  # of the largest influence
_MOST = 64  # steps of the triangle of terms


@dataclass(frozen=True)
class Diagnosis:
    """What was found. Norms are over rows and units together.

    gradient: ‖∂L/∂h_t‖ for each layer and step but the last, L being the losses of all later steps; gamma: the factor a
    step, fitted to ‖δ_{t,k}‖/‖δ_{t,t}‖ = γ^(t-k), and ratios: those, over t - k; triangle: ‖δ_{t,k}‖; lyapunov: the
    leading exponent of the products of ∂h_t/∂h_{t-1}, and gamma_of_products its exponential; influence: ‖∂y_T/∂x_{T-k}‖
    over k; memory: steps until it is below 1 % of its largest; spectra: spectral radius, largest and smallest singular
    value of each square block of recurrent weights; saturation: the share of values of each squashing function, in the
    order of the step, that are within 0.05 of its ends; dead: the share of state numbers that never move; updates:
    ‖∂L/∂w‖ * rate / ‖w‖ of each parameter.
    """

    gradient: list[list[float]]
    gamma: float
    ratios: list[float]
    triangle: list[list[float]]
    lyapunov: float
    influence: list[float]
    memory: int | None
    spectra: dict[str, list[dict[str, float]]]
    saturation: dict[str, float]
    dead: float
    updates: dict[str, float]
    verdict: list[str]

    @property
    def gamma_of_products(self) -> float:
        """e to the Lyapunov exponent: the factor a step of the products of Jacobians along the sequence."""
        return math.exp(min(self.lyapunov, 700.0))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON; numbers that are not finite become None."""
        return _plain({**asdict(self), "gamma_of_products": self.gamma_of_products})


def diagnose(network: nn.Module, batch: Batch, loss: StepLoss | None = None, *, rate: float = 1e-3) -> Diagnosis:
    """Look at a network on a batch: see `Diagnosis`; `.verdict` says in words what to try.

    network: anything with `step` and `initial_state`; batch: as for `forward`, `(B, T, ...)`. loss: `loss(y_t,
    target_t)`; if None, cross-entropy for whole-number targets, half the squared error for others, and half the squared
    output where there are none. rate: the learning rate that `updates` is for. Lengths are not looked at: give rows
    that are full.
    """
    stepper = Stepper(network, "diagnose")
    inputs = batch.inputs.transpose(0, 1)
    if inputs.shape[0] < 2 or not inputs.shape[1]:
        raise ArgumentError(f"expected at least 2 steps of at least 1 row, got shape {tuple(batch.inputs.shape)}")
    targets: Any = [None] * len(inputs) if batch.targets is None else batch.targets.transpose(0, 1)
    loss = loss or _usual_loss
    begun = stepper.initial_state(inputs.shape[1]) if batch.state is None else batch.state
    begun = map_state(begun, Tensor.detach)
    run = _run(stepper, inputs, targets, loss, begun)
    terms = bptt_terms(network, inputs[:_MOST], targets[:_MOST], loss, state=begun)
    felt = input_influence(network, inputs, state=begun)
    norms = {n: float(p.detach().norm()) for n, p in stepper.parameters.items()}
    found: dict[str, Any] = {
        "gradient": run.gradient,
        "gamma": terms.gamma,
        "ratios": terms.ratios,
        "triangle": terms.norms.tolist(),
        "lyapunov": _lyapunov(stepper, inputs, run.numbers, run.others),
        "influence": felt,
        "memory": _memory(felt),
        "spectra": _spectra(stepper, inputs[0], begun),
        "saturation": run.saturation,
        "dead": run.dead,
        "updates": {n: rate * run.weights[n] / norms[n] if norms[n] else math.inf for n in norms},
    }
    return Diagnosis(**found, verdict=verdict(found, len(inputs)))


def input_influence(network: nn.Module, inputs: Tensor, *, state: Any = None, seeds: int = 8) -> list[float]:
    """Return ‖∂y_T/∂x_{T-k}‖ for k = 0, 1, ..., as the root mean square over `seeds` random directions of y_T.

    inputs: `(T, B, ...)`; for symbols, which have no derivative, that by the state which they meet.
    """
    stepper = Stepper(network, "input_influence")
    state = stepper.initial_state(inputs.shape[1]) if state is None else state
    state = map_state(state, Tensor.detach)
    leaves: list[Tensor] = []
    y = inputs.new_zeros(0)
    with stepper.plainly(), torch.enable_grad():
        for x in inputs:
            if x.is_floating_point():
                x = x.detach().requires_grad_()
                leaves.append(x)
            else:
                numbers, others = stepper.form.pack(state)
                numbers = numbers if numbers.requires_grad else numbers.requires_grad_()
                leaves.append(numbers)
                state = stepper.form.unpack(numbers, others)
            y, state = stepper.step(x, state)
    pulls = torch.randn(seeds, *y.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(y)
    found = derivatives(y, leaves[::-1], pulls)
    return [float(g.flatten(1).norm(dim=1).square().mean().sqrt()) for g in found]


@dataclass(frozen=True)
class _Run:
    """What one pass forward and back showed."""

    gradient: list[list[float]]
    weights: dict[str, float]
    numbers: list[Tensor]
    others: list[list[Tensor]]
    saturation: dict[str, float]
    dead: float


def _run(stepper: Stepper, inputs: Tensor, targets: Any, loss: StepLoss, state: Any) -> _Run:
    form = stepper.form
    before: list[Tensor] = []
    others: list[list[Tensor]] = []
    kept: list[Tensor] = []
    squashed: dict[str, list[Tensor]] = {}
    total: Any = 0
    with stepper.plainly(), torch.enable_grad():
        for t, x in enumerate(inputs):
            numbers, clocks = form.pack(state)
            before.append(numbers.detach())
            others.append(clocks)
            with Watch(stepper.parameters) as watch:
                y, state = stepper.step(x, state)
            numbers, clocks = form.pack(state)
            if not numbers.requires_grad:  # a state of inputs alone
                numbers = numbers.requires_grad_()
            kept.append(numbers)
            state = form.unpack(numbers, clocks)
            total = total + loss(y, targets[t])
            for number, (kind, value) in enumerate(watch.squashed):
                low, high = (0.0, 1.0) if kind == "sigmoid" else (-1.0, 1.0)
                near = (value < low + _SATURATED) | (value > high - _SATURATED)
                squashed.setdefault(f"{number + 1} {kind}", []).append(near.detach().float().mean())
    leaves = list(stepper.parameters.values())
    grads = derivatives(total, [*kept, *leaves])
    states = torch.stack([k.detach() for k in kept])
    layers = form.layers
    count = int(layers.max()) + 1
    gradient = [[float(g[:, layers == k].norm()) for g in grads[: len(kept) - 1]] for k in range(count)]
    still = states.flatten(0, 1).std(0) < 1e-6 * states.abs().max().clamp_min(1e-30)
    return _Run(
        gradient,
        {n: float(g.norm()) for n, g in zip(stepper.parameters, grads[len(kept) :], strict=True)},
        before,
        others,
        {name: float(torch.stack(values).mean()) for name, values in squashed.items()},
        float(still.float().mean()),
    )


def _lyapunov(stepper: Stepper, inputs: Tensor, numbers: list[Tensor], others: list[list[Tensor]]) -> float:
    """Return the mean growth a step of the fastest direction, by products with one vector a row, made new each time."""
    direction = torch.randn(numbers[0].shape, generator=torch.Generator().manual_seed(0)).to(numbers[0])
    direction /= direction.norm(dim=1, keepdim=True)
    grown, counted = 0.0, 0
    for t, x in enumerate(inputs):
        start = numbers[t].detach().requires_grad_()
        with stepper.plainly(), torch.enable_grad():
            after, _ = stepper.form.pack(stepper.step(x, stepper.form.unpack(start, others[t]))[1])
        dummy = torch.zeros_like(after, requires_grad=True)
        if not after.requires_grad:
            return -math.inf
        (back,) = torch.autograd.grad(after, start, dummy, create_graph=True, allow_unused=True, materialize_grads=True)
        if not back.requires_grad:
            return -math.inf
        (moved,) = torch.autograd.grad(back, dummy, direction)
        size = moved.norm(dim=1, keepdim=True)
        if not bool((size > 0).all()):
            return -math.inf
        if t >= len(inputs) // 10:  # the first steps turn the vector into the fastest direction
            grown += float(size.log().mean())
            counted += 1
        direction = moved / size
    return grown / max(counted, 1)


def _spectra(stepper: Stepper, x: Tensor, state: Any) -> dict[str, list[dict[str, float]]]:
    """Return spectral radius and singular values of what multiplies the state, block by square block."""
    numbers, others = stepper.form.pack(state)
    probe = numbers.detach().requires_grad_()
    with stepper.plainly(), torch.enable_grad(), Watch(stepper.parameters) as watch:
        stepper.step(x, stepper.form.unpack(probe, others))
    found: dict[str, list[dict[str, float]]] = {}
    for product in watch.products:
        weight = stepper.parameters[product.name].detach()
        if not product.heard.requires_grad or weight.shape[0] % weight.shape[1]:
            continue
        blocks = [b.double() for b in weight.split(weight.shape[1])]
        values = [torch.linalg.svdvals(b) for b in blocks]
        found[product.name] = [
            {
                "radius": float(torch.linalg.eigvals(b).abs().max()),
                "largest": float(v.max()),
                "smallest": float(v.min()),
            }
            for b, v in zip(blocks, values, strict=True)
        ]
    return found


def _memory(felt: list[float]) -> int | None:
    """Return the steps until influence stays below 1 % of its largest; None where it has not by the end."""
    bound = _FORGOTTEN * max(felt)
    above = [k for k, value in enumerate(felt) if value > bound]
    last = above[-1] if above else 0
    return None if last == len(felt) - 1 else last + 1


def _usual_loss(y: Tensor, target: Any) -> Tensor:
    if target is None:
        return 0.5 * y.square().sum()
    if target.is_floating_point():
        return 0.5 * (y - target).square().sum()
    return F.cross_entropy(y.flatten(0, -2), target.flatten(), reduction="sum")


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(v) for key, v in value.items()}
        case list():
            return [_plain(v) for v in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
