"""The taps of a delay line: which steps of the past a cell looks at."""

from __future__ import annotations

from collections.abc import Sequence

from recurra.core.errors import ArgumentError

__all__ = ["check_delays"]


def check_delays(delays: Sequence[int], *, least: int, deepest: int = 1) -> tuple[int, ...]:
    """Return the delays as a tuple. Raises ArgumentError unless they can be taps.

    delays: steps back in time, each once, none below `least`, the largest at least `deepest`.
    """
    taps = tuple(delays)
    whole = all(isinstance(d, int) and not isinstance(d, bool) and d >= least for d in taps)
    if not taps or not whole or len(set(taps)) != len(taps) or max(taps) < deepest:
        raise ArgumentError(
            f"delays must be different integers of at least {least}, the largest at least {deepest}, got {delays!r}"
        )
    return taps
