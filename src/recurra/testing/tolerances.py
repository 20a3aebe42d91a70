"""How near two results must be that are equal up to rounding: one table, by dtype."""

from __future__ import annotations

from typing import NamedTuple

import torch

__all__ = ["GRADCHECK", "TOLERANCES", "Tolerance"]


class Tolerance(NamedTuple):
    """Two numbers are near if `|got - expected| <= atol + rtol * |expected|`."""

    rtol: float
    atol: float


TOLERANCES: dict[torch.dtype, Tolerance] = {
    torch.float64: Tolerance(rtol=1e-10, atol=1e-12),
    torch.float32: Tolerance(rtol=1e-5, atol=1e-6),
    torch.float16: Tolerance(rtol=1e-2, atol=1e-3),
    torch.bfloat16: Tolerance(rtol=5e-2, atol=1e-2),
}
"""Many roundings of each dtype: a few steps of a small cell, summed in another order, stay within them."""

GRADCHECK = Tolerance(rtol=1e-3, atol=1e-5)
"""For derivatives against differences of float64 values 1e-6 apart, which are right to about six digits."""
