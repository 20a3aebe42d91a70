"""A cell beside its equation, written out once more in NumPy for a single row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch

from recurra import cells, scan

__all__ = ["Array", "Equation", "assert_equals", "sigmoid"]

Array: TypeAlias = Any
Equation: TypeAlias = Callable[[dict[str, Array], Array, tuple[Array, ...]], tuple[Array, tuple[Array, ...]]]
"""`(weights, x, state) -> (y, state)` of one step of one row."""

T, B, I, H = 4, 3, 5, 6  # noqa: E741


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def assert_equals(name: str, equation: Equation, options: dict[str, Any]) -> None:
    """Compare every output and the final state over some steps, from a random state, with random weights."""
    cell = cells.get(name)(I, H, **options).double()
    with torch.no_grad():
        for p in cell.parameters():  # also what begins as ones or zeros
            p.add_(0.3 * torch.randn_like(p))
    x = torch.randn(T, B, I, dtype=torch.float64)
    initial = tuple(torch.randn(B, *shape, dtype=torch.float64) for shape in cell.state_shapes())
    result = scan(cell, x, initial)
    weights = {k: v.numpy() for k, v in cell.state_dict().items()}
    for b in range(B):
        state = tuple(s[b].numpy() for s in initial)
        for t in range(T):
            y, state = equation(weights, x[t, b].numpy(), state)
            np.testing.assert_allclose(result.y[t, b].detach().numpy(), y, rtol=1e-11, atol=1e-13)
        for got, expected in zip(result.state, state, strict=True):
            np.testing.assert_allclose(got[b].detach().numpy(), expected, rtol=1e-11, atol=1e-13)
