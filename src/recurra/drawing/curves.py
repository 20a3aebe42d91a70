"""Line charts: learning curves of one run or of several, with a band where there are seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from recurra.core.errors import ArgumentError
from recurra.drawing.axis import format_ticks, nice_ticks, text_width
from recurra.drawing.canvas import clean

__all__ = ["Band", "Points", "curves_svg"]

Points: TypeAlias = Sequence[tuple[float, float]]
"""A curve: `(x, y)` in order; a y that is not finite leaves a gap."""


@dataclass(frozen=True)
class Band:
    """A curve with the space between two others: the mean over seeds, and their smallest and largest values."""

    middle: Points
    low: Points
    high: Points


# Okabe and Ito's colours: told apart by the colour-blind, and readable on white and on black.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a6761d", "#56b4e9", "#7570b3", "#888888")
_DASHES = ("", "7 4", "2 3")
_SIZE = 13.0
_LEGEND_GAP = 4.0
_STYLE = """
    text { font-family: system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, "PingFang SC",
           "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; font-size: 13px; fill: #24292f }
    .title { font-size: 16px; font-weight: 600 }
    .paper { fill: #ffffff }
    .grid { stroke: #d0d7de; stroke-width: 1 }
    .axis { stroke: #57606a; stroke-width: 1.2 }
    .tick { fill: #57606a }
    .curve { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round }
    .band { fill-opacity: 0.16; stroke: none }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .paper { fill: #0d1117 } .grid { stroke: #30363d } .axis { stroke: #8b949e }
      .tick { fill: #9ea7b3 } .band { fill-opacity: 0.28 }
    }
"""


def curves_svg(
    series: Mapping[str, Points | Band],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    width: int = 760,
    height: int = 440,
) -> str:
    """Return a line chart as the text of an SVG file: equal arguments, equal bytes.

    series: name to curve, drawn in this order; each is labelled at its right end. Width and height are in pixels.
    The picture is readable on light and dark pages. Raises ArgumentError if there is no finite point.
    """
    curves = {name: _finite(curve) for name, curve in series.items()}
    points = [p for curve in curves.values() for part in (curve.middle, curve.low, curve.high) for p in part]
    points = [(x, y) for x, y in points if math.isfinite(y)]
    if not points:
        raise ArgumentError("expected at least one curve with a finite point to draw")
    frame = _Frame.around(points, list(curves), title, width, height)
    styles = [(_COLOURS[i % len(_COLOURS)], _DASHES[i // len(_COLOURS) % len(_DASHES)]) for i in range(len(curves))]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{clean(title or y_label or "chart")}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}" rx="6"/>',
        *_axes(frame, title, x_label, y_label),
    ]
    for (colour, dash), curve in zip(styles, curves.values(), strict=True):
        parts += _band(frame, curve, colour) + _line(frame, curve.middle, colour, dash)
    parts += _labels(frame, curves, styles)
    return "\n".join([*parts, "</svg>"]) + "\n"


@dataclass(frozen=True)
class _Frame:
    """The plot's rectangle on the page, and what it shows."""

    left: float
    top: float
    right: float
    bottom: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @classmethod
    def around(cls, points: Points, names: list[str], title: str, width: int, height: int) -> _Frame:
        x_low, x_high = _widen(min(x for x, _ in points), max(x for x, _ in points), 0.0)
        if 0 < x_low < 0.2 * x_high:
            x_low = 0.0  # Training begins at step 0, though the first line is written later.
        y_low, y_high = _widen(min(y for _, y in points), max(y for _, y in points), 0.05)
        digits = max(text_width(tick, _SIZE) for tick in format_ticks(nice_ticks(y_low, y_high)))
        labels = min(0.35 * width, max(text_width(name, _SIZE) for name in names))
        return cls(36 + digits, 52.0 if title else 22.0, width - 24 - labels, height - 54, x_low, x_high, y_low, y_high)

    def x(self, value: float) -> float:
        return self.left + (value - self.x_low) / (self.x_high - self.x_low) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.y_low) / (self.y_high - self.y_low) * (self.bottom - self.top)


def _axes(frame: _Frame, title: str, x_label: str, y_label: str) -> list[str]:
    parts: list[str] = []
    ticks = nice_ticks(frame.y_low, frame.y_high)
    for tick, text in zip(ticks, format_ticks(ticks), strict=True):
        y = frame.y(tick)
        parts.append(f'<line class="grid" x1="{frame.left:.1f}" y1="{y:.1f}" x2="{frame.right:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(frame.left - 8, y + 4.5, text, "end", "tick"))
    parts.append(_axis(frame.left, frame.bottom, frame.right, frame.bottom))
    ticks = nice_ticks(frame.x_low, frame.x_high)
    for tick, text in zip(ticks, format_ticks(ticks), strict=True):
        x = frame.x(tick)
        parts.append(_axis(x, frame.bottom, x, frame.bottom + 5))
        parts.append(_text(x, frame.bottom + 20, text, "middle", "tick"))
    middle = (frame.left + frame.right) / 2
    parts.append(_text(middle, frame.bottom + 42, x_label, "middle"))
    across = (frame.top + frame.bottom) / 2
    parts.append(_text(18, across, y_label, "middle", turn=True))
    parts.append(_text(frame.left, 30, title, "start", "title"))
    return [part for part in parts if part]


def _line(frame: _Frame, points: Points, colour: str, dash: str) -> list[str]:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    parts: list[str] = []
    for run in _runs(points):
        if len(run) == 1:
            (x, y) = run[0]
            parts.append(f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3.2" fill="{colour}"/>')
        else:
            path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in run)
            parts.append(f'<polyline class="curve" stroke="{colour}"{dashes} points="{path}"/>')
    return parts


def _band(frame: _Frame, curve: Band, colour: str) -> list[str]:
    low = [p for p in curve.low if math.isfinite(p[1])]
    high = [p for p in curve.high if math.isfinite(p[1])]
    if len(low) < 2 or len(high) < 2:
        return []
    path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in [*low, *reversed(high)])
    return [f'<polygon class="band" fill="{colour}" points="{path}"/>']


def _labels(frame: _Frame, curves: Mapping[str, Band], styles: list[tuple[str, str]]) -> list[str]:
    """Name every curve at the height where it ends; names that would touch are moved apart."""
    ends = [
        (frame.y(last[-1][1]) if (last := [p for p in curve.middle if math.isfinite(p[1])]) else frame.bottom)
        for curve in curves.values()
    ]
    heights = _apart(ends, _SIZE + _LEGEND_GAP, frame.top, frame.bottom)
    room = 0.35 * (frame.right + 24) / 0.65
    parts: list[str] = []
    for name, end, height, (colour, _) in zip(curves, ends, heights, styles, strict=True):
        if abs(end - height) > 1:
            parts.append(
                f'<line x1="{frame.right + 2:.1f}" y1="{end:.1f}" x2="{frame.right + 9:.1f}" y2="{height:.1f}" '
                f'stroke="{colour}" stroke-width="1"/>'
            )
        parts.append(_text(frame.right + 12, height + 4.5, _shorten(name, room), "start", colour=colour))
    return parts


def _apart(wanted: list[float], gap: float, top: float, bottom: float) -> list[float]:
    """Move heights as little as needed for neighbours to be `gap` apart, within [top, bottom] where there is room."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [min(max(wanted[i], top), bottom) for i in order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    limit = bottom
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - gap
    heights = [0.0] * len(wanted)
    for position, i in enumerate(order):
        heights[i] = placed[position]
    return heights


def _finite(curve: Points | Band) -> Band:
    whole = curve if isinstance(curve, Band) else Band(curve, (), ())
    keep = [
        [(float(x), float(y)) for x, y in part if math.isfinite(x)] for part in (whole.middle, whole.low, whole.high)
    ]
    return Band(*keep)


def _runs(points: Points) -> list[list[tuple[float, float]]]:
    """Cut a curve where it has no finite value."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _widen(low: float, high: float, share: float) -> tuple[float, float]:
    if low == high:
        return low - 0.5, high + 0.5
    return low - share * (high - low), high + share * (high - low)


def _shorten(name: str, room: float) -> str:
    if text_width(name, _SIZE) <= room:
        return name
    while name and text_width(name + "…", _SIZE) > room:
        name = name[:-1]
    return name + "…"


def _axis(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="axis" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, style: str = "", *, colour: str = "", turn: bool = False) -> str:
    if not text:
        return ""
    extra = f' class="{style}"' if style else ""
    # A presentation attribute would lose against the style sheet's rule for text.
    extra += f' style="fill:{colour};font-weight:600"' if colour else ""
    extra += f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turn else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{clean(text)}</text>'
