"""The ways to run a cell over time agree."""

from __future__ import annotations

from typing import Any

import torch

from recurra.core.errors import BackendError
from recurra.scan import BACKENDS
from recurra.testing.compare import expect_close
from recurra.testing.subject import Subject

__all__ = ["every_backend_equals_the_reference"]

_CALLS: tuple[dict[str, Any], ...] = (
    {},
    {"reverse": True},
    {"lengths": (2, 5, 0, 4), "keep_states": True},
    {"lengths": (2, 5, 0, 4), "keep_states": True, "reverse": True},
)


def every_backend_equals_the_reference(subject: Subject) -> None:
    """Every backend that takes the cell equals the reference loop: outputs, states and gradients.

    Where a cell itself blows rounding up (a norm over few, nearly equal numbers), two right results in float32 are as
    far apart as the reference is from float64: gradients may differ by that much more.
    """
    for dtype in (torch.float64, torch.float32):
        case = subject.case(steps=5, batch=4, dtype=dtype)
        for options in _CALLS:
            truth, true_grads = case.gradients(backend="reference", **options)
            _, exact = case.exact().gradients(backend="reference", **options)
            rounding = {k: float((g - exact[k]).abs().max()) if g.numel() else 0.0 for k, g in true_grads.items()}
            for backend in BACKENDS:
                if backend == "reference":
                    continue
                try:
                    result, grads = case.gradients(backend=backend, **options)
                except BackendError:
                    continue
                said = f"with backend {backend}, {dtype}, {options or 'no options'}"
                expect_close(f"y {said}", result.y, truth.y)
                expect_close(f"final state {said}", result.state, truth.state)
                expect_close(f"states {said}", result.states or (), truth.states or ())
                for name, g in grads.items():
                    expect_close(f"gradient of {name} {said}", g, true_grads[name], summed=True, slack=rounding[name])
