"""The terms of backpropagation through time, pair by pair: how a loss at t pulls at what was computed at k."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.learning.rule import StepLoss
from recurra.learning.state_form import map_state
from recurra.learning.stepper import Stepper
from recurra.learning.watching import Product, Watch

__all__ = ["BPTTTerms", "bptt_terms", "fitted_gamma"]


@dataclass(frozen=True)
class BPTTTerms:
    """δ_{t,k} = ∂L_t/∂z_k for every pair t >= k, where z_k = U h_{k-1} + ... is what a layer's units are fed.

    delta: `(T, T, B, units)`, t first, zero above the diagonal; heard: `(T, B, n)`, h_{k-1}, or None where the step has
    no product of a weight matrix with the state: then z_k is the state itself. weight: the name of U, or None.
    """

    delta: Tensor
    heard: Tensor | None
    weight: str | None

    @property
    def gradient(self) -> Tensor:
        """∂L/∂U = Σ_t Σ_k δ_{t,k} h_{k-1}ᵀ, `(units, n)`. Raises ArgumentError where there is no U."""
        if self.heard is None:
            raise ArgumentError("expected a step that multiplies the state by a weight matrix, got one without")
        return torch.einsum("tkbu,kbn->un", self.delta, self.heard)

    @property
    def norms(self) -> Tensor:
        """‖δ_{t,k}‖ over rows and units, `(T, T)`: the triangle."""
        return self.delta.flatten(2).norm(dim=2)

    @property
    def ratios(self) -> list[float]:
        """The geometric mean over t of ‖δ_{t,k}‖ / ‖δ_{t,t}‖ for t - k = 0, 1, ...; pairs of which one is 0 are left
        out, and 0 where all are."""
        norms, found = self.norms, list[float]()
        own = norms.diagonal()
        for lag in range(len(norms)):
            past = norms.diagonal(-lag)
            usable = (past > 0) & (own[lag:] > 0)
            quotients = (past[usable] / own[lag:][usable]).log()
            found.append(float(quotients.mean().exp()) if len(quotients) else 0.0)
        return found

    @property
    def gamma(self) -> float:
        """The γ whose powers γ^(t-k) fit the ratios best."""
        return fitted_gamma(self.ratios)


def bptt_terms(
    network: nn.Module, inputs: Tensor, targets: Any, loss: StepLoss, *, layer: int = 0, state: Any = None
) -> BPTTTerms:
    """Return δ_{t,k} for every pair of steps: T backward passes.

    inputs: `(T, B, ...)`; targets and loss: as in `LearningRule.accumulate`. layer: which of the step's products with
    the state, counted from the input up: 0 is the recurrent weights of the lowest layer.
    """
    stepper = Stepper(network, "bptt_terms")
    state = stepper.initial_state(inputs.shape[1]) if state is None else state
    chosen = _recurrent(stepper, inputs[0], state)
    if layer and layer >= len(chosen):
        raise ArgumentError(f"expected a layer from 0 to {max(len(chosen) - 1, 0)}, got {layer}")
    state = map_state(state, Tensor.detach)
    losses: list[Tensor] = []
    fed: list[Tensor] = []
    heard: list[Tensor] = []
    name: str | None = None
    with stepper.plainly(), torch.enable_grad():
        for t, x in enumerate(inputs):
            with Watch(stepper.parameters) as watch:
                y, state = stepper.step(x, state)
            if chosen:
                product = watch.products[chosen[layer]]
                fed.append(product.z)
                heard.append(product.heard.detach())
                name = product.name
            else:
                numbers, others = stepper.form.pack(state)
                if not numbers.requires_grad:  # a state of inputs alone
                    numbers = numbers.requires_grad_()
                fed.append(numbers)
                state = stepper.form.unpack(numbers, others)
            losses.append(loss(y, targets[t]))
    steps = len(fed)
    delta = inputs.new_zeros(steps, steps, *fed[0].shape, dtype=fed[0].dtype)
    for t, value in enumerate(losses):
        if not value.requires_grad:
            continue
        found: Any = torch.autograd.grad(value, fed[: t + 1], retain_graph=True, allow_unused=True)
        for k, g in enumerate(found):
            if g is not None:
                delta[t, k] = g
    if not chosen:
        return BPTTTerms(delta, None, None)
    return BPTTTerms(delta, torch.stack(heard), name)


def fitted_gamma(ratios: list[float]) -> float:
    """Return γ of the line log ratio = (t - k) log γ, by least squares through 1 at t = k; 0 where nothing is left."""
    pairs = [(lag, math.log(r)) for lag, r in enumerate(ratios) if lag and r > 0 and math.isfinite(r)]
    if not pairs:
        return 0.0
    return math.exp(sum(lag * r for lag, r in pairs) / sum(lag * lag for lag, _ in pairs))


def _recurrent(stepper: Stepper, x: Tensor, state: Any) -> list[int]:
    """Return the numbers of the step's products that multiply what came in as state, without anything in between."""
    given = map_state(state, lambda leaf: leaf.detach().requires_grad_(leaf.is_floating_point()))
    with stepper.plainly(), torch.enable_grad(), Watch(stepper.parameters) as watch:
        stepper.step(x.detach(), given)
    return [number for number, product in enumerate(watch.products) if _of_state_alone(product)]


def _of_state_alone(product: Product) -> bool:
    """Tell whether what was multiplied comes from the old state and from no parameter."""
    if not product.heard.requires_grad:
        return False
    waiting, seen = [product.heard.grad_fn], set[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, nn.Parameter):
            return False
        waiting += [inner for inner, _ in node.next_functions]
    return True
