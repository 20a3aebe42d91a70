"""What is added to a loss, or to the weights, so that a network generalises or keeps its gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.learning.rule import StepLoss
from recurra.learning.state_form import map_state
from recurra.learning.stepper import Stepper

__all__ = [
    "activation_penalty",
    "gradient_flow_penalty",
    "temporal_activation_penalty",
    "weight_noise",
    "weight_penalty",
]


def activation_penalty(outputs: Tensor, weight: float = 2.0) -> Tensor:
    """AR: `weight * mean(y_t²)`, large outputs cost. outputs: a layer's, any shape.

    Source: Merity, McCann and Socher, "Revisiting activation regularization for language RNNs" (2017), arXiv v1.
    Deviation: the mean of squares, as in their code, not the norm of the paper.
    """
    return weight * outputs.square().mean()


def temporal_activation_penalty(outputs: Tensor, weight: float = 1.0, dim: int = 0) -> Tensor:
    """TAR: `weight * mean((y_{t+1} - y_t)²)`, quick changes cost; 0 for a single step. dim: that of time."""
    if outputs.shape[dim] < 2:
        return outputs.new_zeros(())
    return weight * outputs.diff(dim=dim).square().mean()


def weight_penalty(parameters: Iterable[Tensor], *, l1: float = 0.0, l2: float = 0.0) -> Tensor:
    """`l1 * Σ|w| + l2 * Σw²`."""
    parts = [l1 * p.abs().sum() + l2 * p.square().sum() for p in parameters]
    if not parts:
        raise ArgumentError("expected at least one parameter, got none")
    return torch.stack(parts).sum()


@contextlib.contextmanager
def weight_noise(
    parameters: Iterable[nn.Parameter], std: float, generator: torch.Generator | None = None
) -> Generator[None]:
    """Have every weight off by N(0, std²) within the block; after it they are what they were, bit for bit.

    Run forward and `backward()` inside, the optimizer's step outside.
    Source: Jim, Giles and Horne, "An analysis of noise in recurrent neural networks" (1996).
    """
    own = [p for p in parameters if p.requires_grad]
    before = [p.detach().clone() for p in own]
    with torch.no_grad():
        for p in own:
            p.add_(std * torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device))
    try:
        yield
    finally:
        with torch.no_grad():
            for p, value in zip(own, before, strict=True):
                p.copy_(value)


def gradient_flow_penalty(
    network: nn.Module, inputs: Tensor, targets: Any, loss: StepLoss, state: Any = None
) -> Tensor:
    """Pascanu's regulariser, to be added to the loss: a step should neither shrink nor grow the gradient.

        Ω = mean over steps and rows of (‖∂L/∂h_{k+1} ∂h_{k+1}/∂h_k‖ / ‖∂L/∂h_{k+1}‖ - 1)²

    L are the losses of all steps after k + 1. As in the paper, only ∂h_{k+1}/∂h_k is differentiated again, h_k and
    ∂L/∂h_{k+1} being taken as they are. inputs: `(T, B, ...)`; it costs about two more passes.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), arXiv v2,
    section 3.3. Deviation: the mean in place of the sum, so that it does not grow with T.
    """
    stepper = Stepper(network, "gradient_flow_penalty")
    state = stepper.initial_state(inputs.shape[1]) if state is None else state
    state = map_state(state, Tensor.detach)
    before: list[Tensor] = []
    after: list[Tensor] = []
    total: Any = 0
    with stepper.plainly(), torch.enable_grad():
        clocks: list[list[Tensor]] = []
        for t, x in enumerate(inputs):
            numbers, others = stepper.form.pack(state)
            if not numbers.requires_grad:
                numbers = numbers.requires_grad_()
            before.append(numbers)
            clocks.append(others)
            y, state = stepper.step(x, stepper.form.unpack(numbers, others))
            total = total + loss(y, targets[t])
        pulls: Any = torch.autograd.grad(total, before, allow_unused=True)
        parts: list[Tensor] = []
        for k, x in enumerate(inputs[:-1]):
            pull = pulls[k + 1]
            if pull is None:
                continue
            old = before[k].detach().requires_grad_()
            new, _ = stepper.form.pack(stepper.step(x, stepper.form.unpack(old, clocks[k]))[1])
            after.append(new)
            (moved,) = torch.autograd.grad(new, old, pull, create_graph=True)
            size = pull.norm(dim=1)
            kept = size > 0
            if bool(kept.any()):
                ratio = moved[kept].square().sum(1).clamp_min(1e-30).sqrt() / size[kept]
                parts.append((ratio - 1).square().mean())
    return torch.stack(parts).mean() if parts else total * 0
