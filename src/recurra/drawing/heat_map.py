"""Heat maps: a number for every pair of tokens, such as attention weights or gradients over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from recurra.core.errors import ArgumentError
from recurra.drawing.axis import text_width
from recurra.drawing.canvas import Canvas
from recurra.drawing.colours import diverging, readable_on, sequential
from recurra.drawing.picture import Picture

__all__ = ["heat_map"]

_SIZE = 12.5
_LONGEST = 150.0
_MOST_PIXELS = 620.0


def heat_map(
    values: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = "",
    row_label: str = "",
    column_label: str = "",
) -> Picture:
    """Return a heat map: `values[i][j]` is the cell of row i and column j, the first row at the top.

    rows, columns: the tokens, Chinese too. Where they are too many to be read, every second, fifth, tenth ... one is
    written, so that they never touch; long ones are cut. Numbers below zero get colours of their own; those that are
    not finite stay empty. Few cells show their numbers. Raises ArgumentError where sizes do not fit.
    """
    table = [[float(v) for v in row] for row in values]
    if not table or not columns or len(table) != len(rows) or any(len(row) != len(columns) for row in table):
        raise ArgumentError(
            f"expected {len(rows)} rows of {len(columns)} numbers, at least one of each, "
            f"got {len(table)} rows of {sorted({len(row) for row in table})}"
        )
    finite = [v for row in table for v in row if math.isfinite(v)]
    largest = max((abs(v) for v in finite), default=0.0) or 1.0
    signed = any(v < 0 for v in finite)
    side = max(2.0, min(34.0, _MOST_PIXELS / max(len(rows), len(columns))))
    names = [_cut(name) for name in rows]
    tops = [_cut(name) for name in columns]
    upright = max(text_width(t, _SIZE) for t in tops) <= side - 3
    above = 24.0 if upright else max(text_width(t, _SIZE) for t in tops) * 0.72 + 22
    left = 24 + (22 if row_label else 0) + max(text_width(n, _SIZE) for n in names) + 8
    top = (50.0 if title else 18.0) + (20 if column_label else 0) + above
    canvas = Canvas(title or "heat map")
    canvas.text(24, 34, title, "title", "start")
    numbered = len(rows) * len(columns) <= 120 and side >= 30
    for i, row in enumerate(table):
        for j, value in enumerate(row):
            if not math.isfinite(value):
                continue
            colour = diverging(value / largest) if signed else sequential(value / largest)
            x, y = left + j * side, top + i * side
            canvas.rectangle(x, y, side, side, "cell", 0, f' style="fill:{colour}"')
            if numbered:
                digits = 2 if largest < 1 and not signed else 1 if largest < 10 else 0
                shown = f"{value:.{digits}f}".replace("-", "−")
                shown = shown.replace("0.", ".", 1) if digits == 2 else shown
                canvas.text(
                    x + side / 2, y + side / 2 + 4, shown, "small", extra=f' style="fill:{readable_on(colour)}"'
                )
    width, height = len(columns) * side, len(rows) * side
    canvas.rectangle(left, top, width, height, "outline", 0)
    for i in range(0, len(rows), _stride(side, _SIZE + 3)):
        canvas.text(left - 8, top + (i + 0.5) * side + 4.5, names[i], "label", "end")
    for j in range(0, len(columns), _stride(side, _SIZE + 3 if upright else 1.5 * _SIZE)):
        x = left + (j + 0.5) * side
        if upright:
            canvas.text(x, top - 8, tops[j], "label")
        else:
            turned = f' transform="rotate(-45 {x + 3:.1f} {top - 7:.1f})"'
            canvas.text(x + 3, top - 7, tops[j], "label", "start", turned)
    canvas.text(left + width / 2, top - above - 2, column_label, "label soft")
    if row_label:
        y = top + height / 2
        canvas.text(30, y, row_label, "label soft", extra=f' transform="rotate(-90 30 {y:.1f})"')
    overhang = 0.0 if upright else text_width(tops[-1], _SIZE) * 0.72 - side / 2
    wide = max(left + width + max(24.0, overhang + 10), left + 210.0, 48 + text_width(title, 16))
    _scale(canvas, left, top + height + 22, largest, signed)
    return canvas.picture(wide, top + height + 44)


def _stride(side: float, room: float) -> int:
    """Return which names are written: all, or every 2nd, 5th, 10th, 20th ... so that each has room."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power * side >= room:
                return digit * power
        power *= 10


def _cut(name: str) -> str:
    name = name.replace("\n", "↵").replace("\t", "⇥").replace(" ", "␣") if name.isspace() else name
    while text_width(name, _SIZE) > _LONGEST:
        name = name[: max(1, len(name) - 2)].rstrip("…") + "…"
    return name


def _scale(canvas: Canvas, x: float, y: float, largest: float, signed: bool) -> None:
    low = f"−{largest:.3g}" if signed else "0"
    start = x + text_width(low, 11.5) + 8
    canvas.text(x, y + 4, low, "small soft", "start")
    for k in range(24):
        share = k / 23
        colour = diverging(2 * share - 1) if signed else sequential(share)
        canvas.rectangle(start + 5 * k, y - 6, 5, 12, "cell", 0, f' style="fill:{colour}"')
    canvas.text(start + 128, y + 4, f"{largest:.3g}", "small soft", "start")
