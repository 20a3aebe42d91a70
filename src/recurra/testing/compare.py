"""Saying what was expected and what came, in one line."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.core.errors import LawError
from recurra.testing.tolerances import TOLERANCES

__all__ = ["expect", "expect_close", "expect_equal"]


def expect(holds: bool, what: str, expected: object, got: object) -> None:
    """Raise LawError unless `holds`."""
    if not holds:
        raise LawError(f"{what}: expected {expected}, got {got}")


def expect_equal(what: str, got: Tensor | Sequence[Tensor], expected: Tensor | Sequence[Tensor]) -> None:
    """Raise LawError unless the tensors agree in shape, dtype and every bit of their values (NaN equals NaN)."""
    for name, g, e in _pairs(what, got, expected):
        _compare(name, g, e, 0.0, 0.0)


def expect_close(
    what: str,
    got: Tensor | Sequence[Tensor],
    expected: Tensor | Sequence[Tensor],
    *,
    summed: bool = False,
    slack: float = 0.0,
) -> None:
    """Raise LawError unless the tensors agree in shape and dtype, and in values up to rounding (`TOLERANCES`).

    summed: each entry is a sum whose terms may cancel (a gradient, over time and rows), so that its rounding is
    relative to the tensor's largest entry and not to its own. slack: what `expected` itself is known to be off by.
    """
    for name, g, e in _pairs(what, got, expected):
        rtol, atol = TOLERANCES.get(e.dtype, (0.0, 0.0))
        if summed and e.numel() and bool(e.isfinite().all()):
            atol += rtol * float(e.detach().abs().max())
            rtol = 0.0
        _compare(name, g, e, rtol, atol + slack)


def _pairs(
    what: str, got: Tensor | Sequence[Tensor], expected: Tensor | Sequence[Tensor]
) -> list[tuple[str, Tensor, Tensor]]:
    if isinstance(got, Tensor) and isinstance(expected, Tensor):
        return [(what, got, expected)]
    got, expected = list(got), list(expected)
    expect(len(got) == len(expected), what, f"{len(expected)} tensors", len(got))
    return [(f"{what} {k}", g, e) for k, (g, e) in enumerate(zip(got, expected, strict=True))]


def _compare(what: str, got: Tensor, expected: Tensor, rtol: float, atol: float) -> None:
    got, expected = got.detach(), expected.detach()
    expect(got.shape == expected.shape, what, f"shape {tuple(expected.shape)}", tuple(got.shape))
    expect(got.dtype == expected.dtype, what, expected.dtype, got.dtype)
    near = torch.isclose(got, expected, rtol=rtol, atol=atol, equal_nan=True)
    if bool(near.all()):
        return
    where = tuple((~near).nonzero()[0].tolist())
    wanted = expected[where].item()
    margin = f" within {atol + rtol * abs(wanted):.0e}" if atol else ""
    expect(False, f"{what}[{', '.join(map(str, where))}]", f"{wanted!r}{margin}", repr(got[where].item()))
