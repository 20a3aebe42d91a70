"""torch.func: vmap, grad and jvp."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from recurra.testing.case import floats, score
from recurra.testing.compare import expect_close
from recurra.testing.subject import Subject

__all__ = ["func_grad_equals_backward", "func_jvp_equals_backward", "vmap_equals_a_loop"]

_LENGTHS = (3, 1)


def vmap_equals_a_loop(subject: Subject) -> None:
    """torch.func.vmap over many batches equals a plain loop over them."""
    case = subject.case(steps=3, batch=2)
    run = case.function(lengths=_LENGTHS)
    many = torch.stack([case.x, 2 * case.x, -case.x])

    def call(x: Tensor) -> tuple[Tensor, ...]:
        return floats(run({"x": x}))

    mapped = torch.func.vmap(call)(many)
    looped = [torch.stack(column) for column in zip(*map(call, many), strict=True)]
    expect_close("y and floating states", mapped, looped)


def func_grad_equals_backward(subject: Subject) -> None:
    """torch.func.grad gives the gradients that backward gives."""
    case = subject.case(steps=3, batch=2)
    run = case.function(lengths=_LENGTHS)
    expected = case.gradients(lengths=_LENGTHS).by_name
    grads = torch.func.grad(lambda tensors: score(run(tensors)))(case.tensors())
    for name, g in expected.items():
        expect_close(f"gradient of {name}", grads[name], g)


def func_jvp_equals_backward(subject: Subject) -> None:
    """torch.func.jvp, forward in time, gives the directional derivative that backward gives."""
    case = subject.case(steps=3, batch=2)
    run = case.function(lengths=_LENGTHS)
    tensors = case.tensors()
    tangents = {name: torch.linspace(-1, 1, v.numel(), dtype=v.dtype).view(v.shape) for name, v in tensors.items()}
    with warnings.catch_warnings():
        # torch's own rules for jvp use what torch itself has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        forward = torch.func.jvp(lambda t: score(run(t)), (tensors,), (tangents,))[1]
    grads = case.gradients(lengths=_LENGTHS).by_name
    backward = torch.stack([(grads[name] * tangents[name]).sum() for name in tensors]).sum()
    expect_close("directional derivative", forward, backward)
