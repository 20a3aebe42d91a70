"""The squashing functions that cells offer by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError

__all__ = ["ACTIVATIONS", "check_activation"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "identity": lambda z: z,
}
"""Every function by its name."""


def check_activation(name: str) -> str:
    """Return the name. Raises ArgumentError where no function is called so."""
    if name not in ACTIVATIONS:
        raise ArgumentError(f"nonlinearity must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return name
