"""What holds of every topology that takes the place of a layer: streaming, rows by themselves, gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recurra import cells

__all__ = ["KINDS", "gradients_are_right", "rows_stand_alone", "streamed", "streams"]

KINDS = ["elman", "lstm", "gru", "clockwork", "layer_norm_gru", "qrnn", "stack_augmented", "narx"]
"""Cells of all kinds over vectors: gates, a clock in whole numbers, delays, a stack, states of several shapes."""
assert set(KINDS) < set(cells.names())


def streamed(network: Any, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """Run a network over x `(B, T, ...)` one step at a time."""
    state = network.initial_state(x.shape[0]) if state is None else state
    outputs: list[Tensor] = []
    for now in x.unbind(1):
        y, state = network.step(now, state)
        outputs.append(y)
    return torch.stack(outputs, 1), state


def streams(network: Any, x: Tensor) -> None:
    """Steps equal the whole, from nothing and from a state; and so do two parts of the whole."""
    whole, final = network(x)
    y, state = streamed(network, x)
    torch.testing.assert_close(y, whole)
    torch.testing.assert_close(state, final)
    first, between = network(x[:, :2])
    second, end = network(x[:, 2:], between)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(end, final)
    torch.testing.assert_close(streamed(network, x[:, 2:], between)[0], whole[:, 2:])


def rows_stand_alone(network: Any, x: Tensor, lengths: Sequence[int]) -> None:
    """Each row of a ragged batch gives what it gives alone, with zeros after it; NaN in the padding reaches nothing."""
    x = x.clone()
    for b, n in enumerate(lengths):
        x[b, n:] = torch.nan
    x.requires_grad_()
    y, _ = network(x, lengths=torch.tensor(lengths))
    for b, n in enumerate(lengths):
        if n:
            torch.testing.assert_close(y[b, :n], network(x[b : b + 1, :n])[0][0])
        assert not bool(y[b, n:].count_nonzero())
    grads = torch.autograd.grad(y.sum(), [x, *network.parameters()], allow_unused=True)
    assert all(g is None or bool(g.isfinite().all()) for g in grads)


def gradients_are_right(network: nn.Module, x: Tensor, **options: Any) -> None:
    """Gradients by x and by all parameters are those of finite differences, in float64."""
    names = [name for name, p in network.named_parameters() if p.requires_grad]
    values = [p.detach().clone().requires_grad_() for p in network.parameters() if p.requires_grad]

    def run(v: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(network, dict(zip(names, weights, strict=True)), (v,), options)[0]

    assert torch.autograd.gradcheck(run, (x.detach().requires_grad_(), *values), fast_mode=True)
