"""`check_cell`: every law of behaviour, tried on one cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from recurra.core import Cell
from recurra.testing.laws import LAWS
from recurra.testing.subject import GivenContext, Subject

__all__ = ["check_cell"]


def check_cell(
    cell: str | Cell | Callable[..., Cell],
    input_size: int = 3,
    hidden_size: int = 4,
    *,
    context: GivenContext | None = None,
    **options: Any,
) -> None:
    """Try every law of behaviour (`recurra.testing.LAWS`) on a cell, in eval mode; say nothing if all hold.

        from recurra.testing import check_cell
        check_cell(Leaky, 5, 7)

    cell: a `Cell` class, a registered name, a factory `(input_size, hidden_size) -> Cell`, or a built cell, of which
    copies are taken (with one of these, `Recurrent` is tried with one layer instead of two). Further options go to the
    class or factory. context: for a cell that must be given one, a function `(steps, batch) -> context`; its tensors
    `(T, B, ...)` are taken to be over time, those `(B, ...)` to be by rows.

    Random numbers are drawn from fixed seeds, and torch's own random state is left as it was found. Raises LawError:
    the law, what was expected, what came.
    """
    with torch.random.fork_rng(devices=[]):
        subject = Subject(cell, input_size, hidden_size, context=context, **options)
        for law in LAWS.values():
            law(subject)
