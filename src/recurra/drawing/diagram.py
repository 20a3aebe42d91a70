"""Drawing networks: circles and squares for vectors, an arrow for one transformation f(W x + b).

The interface by which a network gives its own picture: vectors are put on a grid (columns are time steps from left to
right, rows go upwards from the inputs to the outputs) and joined by arrows; arrows of the same weights have one colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recurra.drawing.axis import text_width
from recurra.drawing.canvas import Canvas, run_width
from recurra.drawing.colours import diverging, readable_on
from recurra.drawing.formula import Run, runs
from recurra.drawing.picture import Picture
from recurra.drawing.symbols import Symbol

__all__ = ["Diagram", "Vector"]

_ROW = 98.0
_RADIUS = 24.0
_UNIT = 7.0
_MOST_UNITS = 8
_FAMILIES = 8


@dataclass(eq=False)
class Vector:
    """A vector on the grid, as `Diagram.vector` put it there."""

    column: float
    row: float
    text: tuple[Run, ...]
    kind: str
    square: bool
    units: int
    values: tuple[float, ...]
    caption: str


@dataclass(frozen=True)
class _Arrow:
    start: Vector
    end: Vector
    weights: str
    label: str
    strength: float
    bend: float
    dashed: bool


class Diagram:
    """A network's picture in the making.

        d = Diagram("N to N")
        x, h, y = (d.vector(1, row, name) for row, name in enumerate(("x_1", "h_1", "y_1")))
        d.arrow(x, h, "U")
        d.arrow(h, y, "V")
        d.picture()

    open_units: draw each vector's units one by one where their number is known; spread: how far apart columns are, at
    least, as a share of the usual.
    """

    def __init__(self, title: str, open_units: bool = False, spread: float = 1.0) -> None:
        self.title = title
        self.open_units = open_units
        self._spread = spread
        self.vectors: list[Vector] = []
        self._arrows: list[_Arrow] = []
        self._labels: list[tuple[float, float, str, str]] = []
        self._row_labels: list[tuple[float, str]] = []
        self._groups: list[tuple[list[Vector], str]] = []
        self._families: list[str] = []

    def vector(
        self,
        column: float,
        row: float,
        name: str = "",
        kind: str = "state",
        *,
        units: int = 0,
        values: Sequence[float] = (),
        caption: str = "",
    ) -> Vector:
        """Put a vector on the grid and return it.

        name: `h_3`, `x_t`, `h'_0`, or any text, Chinese too. kind: "input" and "output" are circles, "state",
        "reverse" and "context" squares, "join" is
        one vector made of others, "hidden" is drawn faintly. units: how many numbers it has; values: the numbers,
        which colour it; caption: a word below it, such as a token.
        """
        square = kind in ("state", "reverse", "context", "join")
        made = Vector(column, row, _name(name), kind, square, units or len(values), tuple(map(float, values)), caption)
        self.vectors.append(made)
        return made

    def arrow(
        self,
        start: Vector,
        end: Vector,
        weights: str = "",
        *,
        label: str = "",
        strength: float = 1.0,
        bend: float = 0.0,
        dashed: bool = False,
    ) -> None:
        """Draw an arrow. weights: the name of what is shared: all arrows of one name have one colour, and the first is
        labelled with it. strength: 0 to 1, the width of the line (an attention weight). bend: how far it swings to its
        left, as a share of its length; an arrow from a vector to itself is a loop. dashed: values are handed on as they
        are."""
        if weights and weights not in self._families:
            self._families.append(weights)
            label = label or weights
        self._arrows.append(_Arrow(start, end, weights, label, strength, bend, dashed))

    def label(self, column: float, row: float, text: str, anchor: str = "middle") -> None:
        """Write a text on the grid."""
        self._labels.append((column, row, text, anchor))

    def row_label(self, row: float, text: str) -> None:
        """Write a text to the left of a row."""
        self._row_labels.append((row, text))

    def group(self, members: Sequence[Vector], text: str) -> None:
        """Draw a frame around vectors, with a text on it."""
        self._groups.append((list(members), text))

    def picture(self, note: str = "") -> Picture:
        """Return the picture, with a legend that says what circles, arrows and colours are."""
        column = self._column()
        left, right = self._extent(column)
        rows = [v.row for v in self.vectors] + [row for _, row, _, _ in self._labels]
        high, low = max(rows, default=0.0), min(rows, default=0.0)
        valued = any(v.values for v in self.vectors)
        legend = _legend_lines(self._families, note)
        width = max(right - left + 56, text_width(self.title, 16) + 48, *(48 + text_width(w, 11) for w in legend))
        shift = (width - (right - left)) / 2 - left
        lift = 26.0 if any(v.row == high for members, _ in self._groups for v in members) else 0.0
        at = lambda c, row: (c * column + shift, 70 + lift + _RADIUS + (high - row) * _ROW)  # noqa: E731
        canvas = Canvas(self.title)
        canvas.text(24, 34, self.title, "title", "start")
        for members, text in self._groups:
            self._frame(canvas, [at(v.column, v.row) for v in members], members, text)
        for arrow in self._arrows:
            self._draw_arrow(
                canvas, arrow, at(arrow.start.column, arrow.start.row), at(arrow.end.column, arrow.end.row)
            )
        largest = max((abs(n) for v in self.vectors for n in self._shown_values(v)), default=0.0)
        for v in self.vectors:
            self._draw_vector(canvas, v, *at(v.column, v.row), largest)
        for c, row, text, anchor in self._labels:
            x, y = at(c, row)
            canvas.text(x, y + 4.5, text, "label soft", anchor)
        for row, text in self._row_labels:
            canvas.text(min(at(v.column, 0)[0] - self._reach(v) for v in self.vectors) - 18, at(0, row)[1] + 4.5, text,
                        "label soft", "end")  # fmt: skip
        captioned = any(v.caption and v.row == low for v in self.vectors)
        y = at(0, low)[1] + _RADIUS + (52 if captioned else 36)
        for line in legend:
            canvas.text(24, y, line, "small soft", "start")
            y += 18
        if valued:
            words = "each unit's value" if self.open_units else "the mean of each vector's values"
            y = _scale(canvas, 24, y + 2, largest, words)
        return canvas.picture(width, y + 4)

    def _column(self) -> float:
        """Return how far apart columns are."""
        usual = 112.0 * self._spread
        if not self.open_units or not self.vectors:
            return usual
        return max(usual, self._spread * (max(self._width(v) + self._left_name(v) for v in self.vectors) + 34))

    def _extent(self, column: float) -> tuple[float, float]:
        spans = [(v.column * column - self._reach(v), v.column * column + self._width(v) / 2) for v in self.vectors]
        for c, _, text, anchor in self._labels:
            x, wide = c * column, text_width(text, 12.5)
            spans.append((x - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor],
                          x + {"start": wide, "middle": wide / 2, "end": 0.0}[anchor]))  # fmt: skip
        for v in self.vectors:
            half = text_width(v.caption, 12.5) / 2
            spans.append((v.column * column - half, v.column * column + half))
        for members, text in self._groups:
            start = min(v.column * column - self._reach(v) for v in members) - 14
            spans.append((start, start + text_width(text, 11.5) + 16))
            spans.append((start, max(v.column * column + self._width(v) / 2 for v in members) + 14))
        for a in self._arrows:
            if a.start is a.end:
                x = a.start.column * column + self._width(a.start) / 2
                spans.append((x, x + 38 + run_width(_name(a.label), 15)))
        left, right = min((s for s, _ in spans), default=0.0), max((s for _, s in spans), default=0.0)
        return left - max((text_width(t, 12.5) + 18 for _, t in self._row_labels), default=0.0), right

    def _width(self, v: Vector) -> float:
        shown = self._shown_units(v)
        if shown:
            return 2 * _UNIT * min(shown, _MOST_UNITS) + (16 if shown > _MOST_UNITS else 0) + 14
        return max(2 * _RADIUS, run_width(v.text, 17) + 14)

    def _left_name(self, v: Vector) -> float:
        return run_width(v.text, 15) + 5 if self._shown_units(v) else 0.0

    def _reach(self, v: Vector) -> float:
        """Return how far a vector, and its name if that is beside it, reaches to the left."""
        return self._width(v) / 2 + self._left_name(v)

    def _shown_values(self, v: Vector) -> tuple[float, ...]:
        if self._shown_units(v) or not v.values:
            return v.values
        return (sum(v.values) / len(v.values),)

    def _shown_units(self, v: Vector) -> int:
        return v.units if self.open_units else 0

    def _draw_vector(self, canvas: Canvas, v: Vector, x: float, y: float, largest: float) -> None:
        w, h = self._width(v), 2 * _RADIUS
        style = f"box vector-{v.kind}"
        shown = self._shown_units(v)
        if shown:
            canvas.rectangle(x - w / 2, y - 13, w, 26, style, 13)
            many = min(shown, _MOST_UNITS)
            start = x - w / 2 + 7 + _UNIT
            for k in range(many):
                fill = _fill(v.values[k] / largest) if k < len(v.values) and largest else ""
                canvas.circle(start + 2 * _UNIT * k, y, _UNIT - 1.5, "unit", fill)
            if shown > _MOST_UNITS:
                canvas.text(x + w / 2 - 13, y + 4, "…", "label")
            canvas.formula(x - w / 2 - 4, y + 5, v.text, 15, anchor="end")
        else:
            mean = self._shown_values(v)[0] / largest if v.values and largest else None
            fill = _fill(mean) if mean is not None else ""
            canvas.rectangle(x - w / 2, y - h / 2, w, h, style, 9 if v.square else h / 2, fill)
            if v.kind == "hidden":
                return
            canvas.formula(x, y + 5.5, v.text, 17, colour=readable_on(diverging(mean)) if mean is not None else "")
        if v.caption:
            canvas.text(x, y + _RADIUS + 18, v.caption, "label")

    def _draw_arrow(self, canvas: Canvas, a: _Arrow, start: tuple[float, float], end: tuple[float, float]) -> None:
        style = f"wire family-{self._families.index(a.weights) % _FAMILIES}" if a.weights else "wire"
        thick = "" if a.strength == 1.0 else (
            f' style="stroke-width:{0.6 + 6 * max(0.0, a.strength):.2f};opacity:{0.25 + 0.75 * a.strength:.2f}"'
        )  # fmt: skip
        style += " dashed" if a.dashed else ""
        if a.start is a.end:
            self._loop(canvas, a, start, style)
            return
        (x1, y1), (x2, y2) = start, end
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5 or 1.0
        ux, uy = (x2 - x1) / length, (y2 - y1) / length
        over = ((x1 + x2) / 2 + uy * a.bend * length * 2, (y1 + y2) / 2 - ux * a.bend * length * 2)
        first = self._edge(a.start, start, over if a.bend else end)
        last = self._edge(a.end, end, over if a.bend else start, 2)
        if a.bend:
            canvas.curve(first, last, over, style, extra=thick)
        else:
            canvas.line([first, last], style, head=True, extra=thick)
        if a.label:
            leaning = abs(a.start.row - a.end.row) > 1.5 or (abs(ux) > 0.35 and abs(uy) > 0.35)
            share = 0.3 if leaning and not a.bend else 0.5
            mx, my = first[0] + (last[0] - first[0]) * share, first[1] + (last[1] - first[1]) * share
            if a.bend:
                mx, my = (first[0] + last[0] + 2 * over[0]) / 4, (first[1] + last[1] + 2 * over[1]) / 4
            # Beside a line that goes up or down, on the side to which it leans; else above it.
            nx, ny = (-uy, ux) if uy < -0.35 or (abs(uy) <= 0.35 and ux < 0) else (uy, -ux)
            if uy < -0.35 and (ux < -0.1) != (abs(ux) > 0.1 and self._converges(a)):
                nx, ny = -nx, -ny
            if a.bend:
                nx, ny = (uy, -ux) if a.bend > 0 else (-uy, ux)
            away = 8 + abs(nx) * 2
            anchor = "start" if nx > 0.35 else "end" if nx < -0.35 else "middle"
            canvas.formula(
                mx + nx * away,
                my + ny * away + (5 if abs(nx) > 0.35 else 11 if ny > 0 else -1),
                _name(a.label),
                15,
                anchor,
            )

    def _converges(self, a: _Arrow) -> bool:
        """Tell whether an arrow comes together with others, rather than leaving others."""
        together = sum(o.end is a.end for o in self._arrows)
        return together > sum(o.start is a.start for o in self._arrows)

    def _loop(self, canvas: Canvas, a: _Arrow, at: tuple[float, float], style: str) -> None:
        x, y = at[0] + self._width(a.start) / 2, at[1]
        tall = 7 if self._shown_units(a.start) else 13
        canvas.line([(x, y - tall), (x + 30, y - tall), (x + 30, y + tall), (x + 2, y + tall)], style, 12, head=True)
        canvas.formula(x + 37, y + 5, _name(a.label), 15, anchor="start")

    def _edge(
        self, v: Vector, at: tuple[float, float], towards: tuple[float, float], gap: float = 0
    ) -> tuple[float, float]:
        """Return where a line towards a point leaves a vector."""
        dx, dy = towards[0] - at[0], towards[1] - at[1]
        length = (dx * dx + dy * dy) ** 0.5 or 1.0
        dx, dy = dx / length, dy / length
        w, h = self._reach(v) if dx < -0.5 else self._width(v) / 2, 13.0 if self._shown_units(v) else _RADIUS
        if not v.square and w == h:
            reach = w
        else:
            reach = min(w / abs(dx) if dx else 1e9, h / abs(dy) if dy else 1e9)
        return at[0] + dx * (reach + gap), at[1] + dy * (reach + gap)

    def _frame(
        self, canvas: Canvas, places: Sequence[tuple[float, float]], members: Sequence[Vector], text: str
    ) -> None:
        left = min(x - self._reach(v) for (x, _), v in zip(places, members, strict=True)) - 14
        right = max(x + self._width(v) / 2 for (x, _), v in zip(places, members, strict=True)) + 14
        top, bottom = min(y for _, y in places) - _RADIUS - 26, max(y for _, y in places) + _RADIUS + 12
        canvas.rectangle(left, top, right - left, bottom - top, "frame", 12)
        canvas.text(left + 8, top + 16, text, "small soft", "start")


def _name(text: str) -> tuple[Run, ...]:
    """Read `h_3`, `h'_0`, `h_t-1` or `W_hx` as a symbol, `[h_1; g_1]` as two; whatever else as it is."""
    if text.startswith("[") and "; " in text:
        one, two = text[1:-1].split("; ", 1)
        return (Run("["), *_name(one), Run("; "), *_name(two), Run("]"))
    base, _, below = text.partition("_")
    primes = len(base) - len(base.rstrip("'"))
    base = base.rstrip("'")
    if len(base) > 1 or not base.isascii() or not base.isalpha():
        return (Run(text),) if text else ()
    return tuple(runs(Symbol(base, below, primes=primes)))


def _fill(value: float) -> str:
    return f' style="fill:{diverging(value)}"'


def _legend_lines(families: Sequence[str], note: str) -> list[str]:
    lines = ["A circle or square is a vector; an arrow is one transformation f(W x + b)."]
    if families:
        lines.append("Arrows of one colour share their weights.")
    if note:
        lines.append(note)
    return lines


def _scale(canvas: Canvas, x: float, y: float, largest: float, words: str) -> float:
    for k in range(21):
        canvas.rectangle(x + 44 + 6 * k, y - 10, 6, 11, "swatch", 0, _fill(k / 10 - 1))
    canvas.text(x, y, f"−{largest:.2g}", "small soft", "start")
    canvas.text(x + 44 + 132, y, f"{largest:.2g}: {words}", "small soft", "start")
    return y + 18
