"""Drawing on an SVG page: shapes and lettering in the classes of one style sheet, for light and dark pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from recurra.drawing.formula import Run
from recurra.drawing.picture import Picture

__all__ = ["Canvas", "clean", "run_width"]

_SANS = (
    'system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, "PingFang SC", "Microsoft YaHei", '
    '"Noto Sans CJK SC", sans-serif'
)
_SERIF = (
    '"STIX Two Text", "STIX Two Math", "Cambria Math", Cambria, "Times New Roman", Times, "Liberation Serif", '
    '"Noto Serif CJK SC", "Songti SC", SimSun, serif'
)
_LIGHT = {
    "paper": "#ffffff", "ink": "#1f2328", "soft": "#57606a", "line": "#57606a", "frame": "#f6f8fa", "edge": "#c5ccd3",
    "once": "#e7e9ec", "once-line": "#8b949e", "call": "#f3e5f7", "call-line": "#9a5fae",
    "before": "#dff3df", "before-line": "#3f8f4f", "loop": "#dde9fb", "loop-line": "#3b73c4",
    "after": "#fdebd3", "after-line": "#c07a1c", "port": "#fff8dc", "port-line": "#a58a2a", "chip": "#ffffff",
    "input": "#dff3df", "input-line": "#3f8f4f", "state": "#dde9fb", "state-line": "#3b73c4",
    "output": "#fdebd3", "output-line": "#c07a1c", "reverse": "#f3e5f7", "reverse-line": "#9a5fae",
    "context": "#fbe0e4", "context-line": "#b8465a",
}  # fmt: skip
_DARK = {
    "paper": "#0d1117",
    "ink": "#e6edf3",
    "soft": "#9ea7b3",
    "line": "#9ea7b3",
    "frame": "#151b23",
    "edge": "#3d444d",
    "once": "#2b3138",
    "once-line": "#7d8590",
    "call": "#3a2542",
    "call-line": "#c58fd6",
    "before": "#17331f",
    "before-line": "#57ab5a",
    "loop": "#172b4a",
    "loop-line": "#6ca4f0",
    "after": "#41290d",
    "after-line": "#e0a04a",
    "port": "#34301a",
    "port-line": "#c9ae4e",
    "chip": "#0d1117",
    "input": "#17331f",
    "input-line": "#57ab5a",
    "state": "#172b4a",
    "state-line": "#6ca4f0",
    "output": "#41290d",
    "output-line": "#e0a04a",
    "reverse": "#3a2542",
    "reverse-line": "#c58fd6",
    "context": "#471f27",
    "context-line": "#f0899b",
}
_FAMILIES = (
    ("#0072b2", "#56b4e9"), ("#d55e00", "#ff8f4d"), ("#009e73", "#3ddbb0"), ("#b0508a", "#e79cc8"),
    ("#8a6d00", "#e6c229"), ("#5b3fa8", "#a991f0"), ("#7a3b10", "#d29066"), ("#4d5761", "#b6c0ca"),
)  # fmt: skip


class Canvas:
    """A page that grows with what is drawn on it. Positions are in pixels, y downwards."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def rectangle(
        self, x: float, y: float, width: float, height: float, style: str, radius: float = 6, extra: str = ""
    ) -> None:
        """Draw a rectangle from its upper left corner."""
        self._parts.append(
            f'<rect class="{style}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" '
            f'rx="{_n(radius)}"{extra}/>'
        )

    def circle(self, x: float, y: float, radius: float, style: str, extra: str = "") -> None:
        """Draw a circle around its middle."""
        self._parts.append(f'<circle class="{style}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"{extra}/>')

    def line(
        self, points: Sequence[tuple[float, float]], style: str = "wire", bend: float = 6, head: bool = False,
        extra: str = "",
    ) -> None:  # fmt: skip
        """Draw a line through corners, which are rounded; head: with an arrow's head at its end."""
        self.lines([(points, head)], style, bend, extra)

    def lines(
        self, pieces: Sequence[tuple[Sequence[tuple[float, float]], bool]], style: str = "wire", bend: float = 6,
        extra: str = "",
    ) -> None:  # fmt: skip
        """Draw lines, each with an arrow's head or not, as one: where they lie on one another, no seam is seen."""
        path: list[str] = []
        for points, head in pieces:
            corners = _distinct(points)
            end = corners[-1]
            if head and len(corners) > 1:
                dx, dy = _direction(corners[-2], end)
                corners[-1] = (end[0] - 5 * dx, end[1] - 5 * dy)
                self._head(end, dx, dy, style)
            path.append(f"M{_n(corners[0][0])},{_n(corners[0][1])}")
            for (ax, ay), (bx, by), (cx, cy) in zip(corners, corners[1:], corners[2:], strict=False):
                one, two = _length((ax, ay), (bx, by)), _length((bx, by), (cx, cy))
                r = min(bend, one / 2, two / 2)
                path.append(f"L{_n(bx - (bx - ax) / one * r)},{_n(by - (by - ay) / one * r)}")
                path.append(f"Q{_n(bx)},{_n(by)} {_n(bx + (cx - bx) / two * r)},{_n(by + (cy - by) / two * r)}")
            path.append(f"L{_n(corners[-1][0])},{_n(corners[-1][1])}")
        self._parts.append(f'<path class="{style}" d="{" ".join(path)}"{extra}/>')

    def curve(
        self, start: tuple[float, float], end: tuple[float, float], over: tuple[float, float], style: str = "wire",
        head: bool = True, extra: str = "",
    ) -> None:  # fmt: skip
        """Draw a curve drawn towards a third point, with an arrow's head."""
        dx, dy = _direction(over, end)
        tip = (end[0] - 5 * dx, end[1] - 5 * dy) if head else end
        self._parts.append(
            f'<path class="{style}" d="M{_n(start[0])},{_n(start[1])} Q{_n(over[0])},{_n(over[1])} '
            f'{_n(tip[0])},{_n(tip[1])}"{extra}/>'
        )
        if head:
            self._head(end, dx, dy, style)

    def text(self, x: float, y: float, text: str, style: str = "", anchor: str = "middle", extra: str = "") -> None:
        """Write a plain text; y is that of its baseline."""
        if text:
            named = f' class="{style}"' if style else ""
            self._parts.append(
                f'<text{named} x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"{extra}>{clean(text)}</text>'
            )

    def formula(
        self, x: float, y: float, written: Sequence[Run], size: float = 16, anchor: str = "middle", colour: str = ""
    ) -> None:
        """Write a formula; y is that of its baseline; colour: instead of the page's ink."""
        # Not as attributes, which lose against the style sheet's rules for text.
        painted = f"font-size:{_n(size)}px" + (f";fill:{colour}" if colour else "")
        spans: list[str] = []
        level = 0
        for run in written:
            rise = (level - run.level) * 0.3 * size
            level = run.level
            slant = ' font-style="italic"' if run.italic else ""
            moved = f' dy="{_n(rise)}"' if rise else ""
            small = f' font-size="{_n(0.72 * size)}"' if run.level else ""
            spans.append(f"<tspan{slant}{moved}{small}>{clean(run.text)}</tspan>")
        self._parts.append(
            f'<text class="math" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" style="{painted}" '
            f'xml:space="preserve">{"".join(spans)}</text>'
        )

    def raw(self, part: str) -> None:
        """Add an element that is SVG already."""
        self._parts.append(part)

    def picture(self, width: float, height: float) -> Picture:
        """Return what was drawn, as a picture of this size."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" '
            f'height="{_n(height)}" role="img" aria-label="{clean(self.title)}">'
        )
        paper = f'<rect class="paper" width="{_n(width)}" height="{_n(height)}" rx="6"/>'
        body = [
            head,
            f"<title>{clean(self.title)}</title>",
            f"<style>{_style(self._parts)}</style>",
            paper,
            *self._parts,
            "</svg>",
        ]
        return Picture("\n".join(body) + "\n", width, height, self.title)

    def _head(self, end: tuple[float, float], dx: float, dy: float, style: str) -> None:
        x, y = end
        back, side = 8.0, 3.6
        corners = [
            (x, y), (x - back * dx - side * dy, y - back * dy + side * dx),
            (x - back * dx + side * dy, y - back * dy - side * dx),
        ]  # fmt: skip
        path = " ".join(f"{_n(a)},{_n(b)}" for a, b in corners)
        extra = " ".join(["head", *style.split()[1:]])
        self._parts.append(f'<polygon class="{extra}" points="{path}"/>')


_NARROW, _WIDE = frozenset("ijltfrI.,;:'|()[]′ "), frozenset("mwMW—")


def run_width(written: Sequence[Run], size: float = 16) -> float:
    """Return about how wide a formula is, rather too much than too little."""
    total = 0.0
    for run in written:
        own = size * (0.72 if run.level else 1.0)
        total += sum(own * _letter(c) for c in run.text)
    return total


def clean(text: str) -> str:
    """Escape a text, and drop what XML cannot hold."""
    return escape(
        "".join(c for c in text if c >= " " and not 0xD800 <= ord(c) <= 0xDFFF and ord(c) not in (0xFFFE, 0xFFFF))
    )


def _letter(c: str) -> float:
    if 0x300 <= ord(c) < 0x370:
        return 0.0
    if ord(c) > 0x2E7F:
        return 1.0
    if c == "\u2009":
        return 0.2
    if c in _NARROW:
        return 0.42
    if c in _WIDE:
        return 1.0
    return 0.76 if c.isupper() or c in "+−=<>≤≥≠⊙⊗" else 0.6


_RULE = re.compile(r"([^{}]+)(\{[^{}]*\})")
_CLASS = re.compile(r'class="([^"]+)"')


def _style(parts: Sequence[str]) -> str:
    """Return the style sheet, with the rules that some part of the page is in need of."""
    used = {name for part in parts for names in _CLASS.findall(part) for name in names.split()} | {"paper"}

    def needed(rules: str) -> str:
        found = [(selector.strip(), body) for selector, body in _RULE.findall(rules)]
        return "\n    ".join(s + " " + body for s, body in found if _reaches(s, used))

    plain = f"""
    text {{ font-family: {_SANS}; font-size: 13px }}
    text.math {{ font-family: {_SERIF} }}
    .title {{ font-size: 17px; font-weight: 600 }} .small {{ font-size: 11.5px }} .label {{ font-size: 12.5px }}
    .wire {{ fill: none; stroke-width: 1.5; stroke-linejoin: round }}
    .thick {{ stroke-width: 2.4 }} .dashed {{ stroke-dasharray: 5 4 }} .box {{ stroke-width: 1.4 }}
    """
    light, dark = needed(plain + _rules(_LIGHT)), needed(_rules(_DARK))
    return f"\n    {light}\n    @media (prefers-color-scheme: dark) {{\n    {dark}\n    }}\n"


def _reaches(selector: str, used: set[str]) -> bool:
    """Tell whether one of a rule's selectors names used classes alone."""
    return any(set(re.findall(r"\.([\w-]+)", one)) <= used for one in selector.split(","))


def _rules(c: dict[str, str]) -> str:
    rules = [
        f"text {{ fill: {c['ink']} }} .soft {{ fill: {c['soft']} }} .paper {{ fill: {c['paper']} }}",
        f".wire {{ stroke: {c['line']} }} .head, .dot {{ fill: {c['line']} }}",
        f".frame {{ fill: {c['frame']}; stroke: {c['edge']} }} .chip {{ fill: {c['chip']}; stroke: {c['edge']} }}",
        f".vector-join {{ fill: {c['chip']}; stroke: {c['soft']} }}",
        f".vector-hidden {{ fill: none; stroke: {c['edge']}; stroke-dasharray: 3 3 }}",
        f".outline {{ fill: none; stroke: {c['edge']} }} .grid {{ stroke: {c['edge']}; stroke-width: 0.8 }}",
        f".point.inside {{ fill: {c['loop-line']} }} .point.outside {{ fill: {c['context-line']} }}",
        f".unit {{ fill: {c['chip']}; stroke: {c['line']}; stroke-width: 1 }} .swatch {{ stroke: none }}",
    ]
    kinds = {name: name for name in ("once", "call", "before", "loop", "after", "port")}
    kinds |= {f"vector-{name}": name for name in ("input", "state", "output", "reverse", "context")}
    rules += [f".{style} {{ fill: {c[name]}; stroke: {c[name + '-line']} }}" for style, name in kinds.items()]
    for k, colours in enumerate(_FAMILIES):
        colour = colours[c is _DARK]
        rules.append(f".wire.family-{k} {{ stroke: {colour} }} .head.family-{k} {{ fill: {colour} }}")
    return "\n    ".join(rules)


def _n(value: float) -> str:
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _distinct(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    kept: list[tuple[float, float]] = []
    for p in points:
        if not kept or _length(kept[-1], p) > 0.05:
            kept.append(p)
    # A corner that is none.
    return [
        p for k, p in enumerate(kept)
        if k in (0, len(kept) - 1) or _direction(kept[k - 1], p) != _direction(p, kept[k + 1])
    ]  # fmt: skip


def _length(a: tuple[float, float], b: tuple[float, float]) -> float:
    return ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5


def _direction(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    length = _length(a, b) or 1.0
    return (round((b[0] - a[0]) / length, 6), round((b[1] - a[1]) / length, 6))
