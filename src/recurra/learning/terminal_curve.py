"""A learning curve in a terminal: dots of Braille letters, two by four in each."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["History", "draw_dots"]

_MOST = 512
# The dots of a Braille letter, by column and row: Unicode numbers them down the left side first, the lowest row last.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


class History:
    """The points of a curve that may go on for millions of steps: where they are too many, neighbours are averaged."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []
        self._each = 1
        self._waiting: list[tuple[float, float]] = []

    def add(self, x: float, y: float) -> None:
        """Take one more point; one that is not finite is left out."""
        if not math.isfinite(y):
            return
        self._waiting.append((x, y))
        if len(self._waiting) < self._each:
            return
        self.points.append(_mean(self._waiting))
        self._waiting = []
        if len(self.points) >= _MOST:
            self.points = [_mean(self.points[k : k + 2]) for k in range(0, len(self.points), 2)]
            self._each *= 2


def draw_dots(
    curves: Sequence[Sequence[tuple[float, float]]], width: int, height: int, x_high: float
) -> tuple[list[list[str]], float, float]:
    """Return, for each curve, `height` lines of `width` letters that show it from x = 0 to x_high, and the lowest and
    highest y of all. The lines of several curves are laid over one another by the caller."""
    ys = [y for curve in curves for _, y in curve]
    low, high = (min(ys), max(ys)) if ys else (0.0, 1.0)
    span = high - low or 1.0
    drawn: list[list[str]] = []
    for curve in curves:
        cells = [[0] * width for _ in range(height)]
        last: tuple[int, int] | None = None
        for x, y in curve:
            column = min(2 * width - 1, int(x / max(1e-9, x_high) * (2 * width - 1)))
            row = min(4 * height - 1, round((high - y) / span * (4 * height - 1)))
            for c, r in _between(last or (column, row), (column, row)):
                cells[r // 4][c // 2] |= _DOTS[c % 2][r % 4]
            last = (column, row)
        drawn.append(["".join(chr(0x2800 + dots) if dots else " " for dots in line) for line in cells])
    return drawn, low, high


def _between(a: tuple[int, int], b: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the dots on the line from a to b."""
    steps = max(abs(b[0] - a[0]), abs(b[1] - a[1]), 1)
    return [
        (round(a[0] + (b[0] - a[0]) * k / steps), round(a[1] + (b[1] - a[1]) * k / steps)) for k in range(steps + 1)
    ]


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
