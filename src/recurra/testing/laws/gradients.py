"""First and second derivatives against differences, in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from recurra.core.errors import LawError
from recurra.testing.case import floats
from recurra.testing.subject import Subject
from recurra.testing.tolerances import GRADCHECK

__all__ = ["gradients_are_right", "second_gradients_are_right"]


def gradients_are_right(subject: Subject) -> None:
    """Gradients equal differences in float64: by the input, floating states, floating context and every weight."""
    _check(subject, torch.autograd.gradcheck)


def second_gradients_are_right(subject: Subject) -> None:
    """Gradients of gradients equal differences in float64: double backward is right."""
    _check(subject, torch.autograd.gradgradcheck)


def _check(subject: Subject, check: Callable[..., bool]) -> None:
    case = subject.case(steps=2, batch=3)
    run = case.function(lengths=(2, 0, 1))
    named = case.tensors()
    leaves = [v.detach().clone().requires_grad_() for v in named.values()]

    def call(*values: Tensor) -> tuple[Tensor, ...]:
        return floats(run(dict(zip(named, values, strict=True))))

    # fast_mode compares a random projection of the derivatives, so that any size of cell is quick.
    try:
        check(call, leaves, rtol=GRADCHECK.rtol, atol=GRADCHECK.atol, fast_mode=True)
    except GradcheckError as error:
        raise LawError(f"expected the gradients by {', '.join(named)} to equal differences, got {error}") from error
