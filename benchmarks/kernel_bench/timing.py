"""Timing on a machine that others use too: contestants take turns; what counts is the median of the turns' ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Budget", "Times", "interleave"]

_LEAST = 2e-3
"""Seconds that one timed sample lasts at least: shorter calls are repeated within it."""


@dataclass(frozen=True)
class Budget:
    """How much a measurement may take: seconds for all contestants together, and the bounds on the number of turns."""

    seconds: float
    least: int
    most: int
    rest: float = 0.0
    """Seconds of rest before each sample, in which the threads of the contestant before stop spinning."""


@dataclass(frozen=True)
class Times:
    """Seconds a call of each contestant, one entry a turn."""

    samples: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Return the median time of a call."""
        return statistics.median(self.samples[name])

    def ratio(self, name: str, base: str) -> float:
        """Return the median over the turns of the time of `name` divided by that of `base`: above 1, base is faster."""
        pairs = zip(self.samples[name], self.samples[base], strict=True)
        return statistics.median(a / b for a, b in pairs)


def interleave(calls: Mapping[str, Callable[[], Any]], budget: Budget) -> Times:
    """Time calls in turns, each turn in another order; two untimed calls of each come first.

    An untimed call comes before every sample too, since in use a call follows one of its kind: memory that was given
    back to the system while others had their turn may cost more to get again than all the call computes.
    """
    repeats = {name: _repeats(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    begin = time.perf_counter()
    for turn in range(budget.most):
        if turn >= budget.least and time.perf_counter() - begin > budget.seconds:
            break
        for name in order:
            samples[name].append(_sample(calls[name], repeats[name], budget.rest))
        order = [*order[1:], order[0]]
    return Times(samples)


def _repeats(call: Callable[[], Any]) -> int:
    call()
    call()
    begin = time.perf_counter()
    call()
    return max(1, round(_LEAST / max(time.perf_counter() - begin, 1e-7)))


def _sample(call: Callable[[], Any], repeats: int, rest: float) -> float:
    if rest:
        time.sleep(rest)
    call()
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - begin) / repeats
