"""Wires between placed boxes: straight where they can be, else with one bend up or down in the gap between columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recurra.drawing.layered import Item, Placement

__all__ = ["Wire", "Wiring", "wire"]

_TRACK = 11.0
_MARGIN = 20.0
_ENTRY = 13.0


@dataclass(frozen=True)
class Wire:
    """One piece of a wire: the corners of its line, and the item that it enters at its last point, if it does."""

    points: tuple[tuple[float, float], ...]
    enters: Item | None = None
    net: Item | None = None


@dataclass
class Wiring:
    """The wires, the dots where they branch, and where each column's middle is."""

    wires: list[Wire]
    dots: list[tuple[float, float]]
    width: float
    inside: tuple[float, float]
    """From where to where the columns between the first and the last reach, with their gaps."""


def wire(placement: Placement, round_items: set[Item], room: Callable[[Item], float]) -> Wiring:
    """Give the columns their x, and lead the wires through the gaps.

    round_items: circles, which a wire may enter from above and below; room: how much space an item needs on its right
    for what is written there.
    """
    entries = _entries(placement, round_items)
    gaps: list[dict[Item, float]] = []
    x = 0.0
    made: list[Wire] = []
    dots: list[tuple[float, float]] = []
    for number, column in enumerate(placement.columns):
        width = max((i.width for i in column), default=0.0)
        for i in column:
            i.x = x + width / 2
        x += width
        tracks = _tracks(placement, number, entries)
        count = max(tracks.values(), default=-1) + 1
        space = max((room(i) for i in column), default=0.0)
        gaps.append({i: x + _MARGIN + space + track * _TRACK for i, track in tracks.items()})
        if number + 1 < len(placement.columns):
            x += 2 * _MARGIN + space + max(0, count - 1) * _TRACK
    for a, b in placement.hops:
        made.append(_path(a, b, entries[a, b], gaps[a.column].get(a)))
    for column_gaps in gaps:
        for a, track in column_gaps.items():
            dots += _branches(a, track, [(b, entries[s, b]) for s, b in placement.hops if s is a])
    ends = [c[0].x for c in (placement.columns[0], placement.columns[-1]) if c]
    widths = [max(i.width for i in c) / 2 for c in (placement.columns[0], placement.columns[-1]) if c]
    return Wiring(made, dots, x, (ends[0] + widths[0], ends[-1] - widths[-1]))


@dataclass(frozen=True)
class _Entry:
    """Where a hop ends: at the side, at height y; or, where `above` is 1 or -1, at the top or the bottom, after coming
    at height y."""

    y: float
    above: int = 0


def _entries(placement: Placement, round_items: set[Item]) -> dict[tuple[Item, Item], _Entry]:
    found: dict[tuple[Item, Item], _Entry] = {}
    arriving: dict[Item, list[Item]] = {}
    for a, b in placement.hops:
        arriving.setdefault(b, []).append(a)
    for b, sources in arriving.items():
        sources = sorted(sources, key=lambda a: a.y)
        if b.is_wire or (b in round_items and len(sources) == 1):
            found.update({(a, b): _Entry(b.y) for a in sources})
        elif b in round_items:
            found.update(_around(placement, b, sources))
        else:
            found.update({(a, b): _Entry(y) for a, y in zip(sources, _down_a_side(b, sources), strict=True)})
    return found


def _down_a_side(b: Item, sources: list[Item]) -> list[float]:
    """Return where wires enter a box, from top to bottom, so that one of them, if it is near, comes straight."""
    step = min(_ENTRY, (b.height - 12) / max(1, len(sources) - 1))
    heights = [b.y + (k - (len(sources) - 1) / 2) * step for k in range(len(sources))]
    moved = min((a.y - y for a, y in zip(sources, heights, strict=True)), key=abs)
    room = b.height / 2 - 7 - (len(sources) - 1) / 2 * step
    return [y + moved for y in heights] if abs(moved) <= room else heights


def _around(placement: Placement, b: Item, sources: list[Item]) -> dict[tuple[Item, Item], _Entry]:
    """Lead one wire to a circle's left side and others to its top and bottom, where nothing is in the way."""
    straight = min(sources, key=lambda a: abs(a.y - b.y))
    found: dict[tuple[Item, Item], _Entry] = {(straight, b): _Entry(b.y)}
    sides = set[int]()
    crowded: list[Item] = []
    for a in sources:
        if a is straight:
            continue
        above = 1 if a.y < b.y else -1
        if abs(a.y - b.y) > b.height / 2 + 8 and above not in sides and _free(placement.columns[b.column], b, a.y):
            sides.add(above)
            found[a, b] = _Entry(a.y, above)
        else:
            crowded.append(a)
    for k, a in enumerate(crowded, 1):
        up = a.y < b.y
        away = min(7.0 * k, b.height / 2 - 3.0)
        found[a, b] = _Entry(b.y + (-away if up else away))
    return found


def _free(column: list[Item], b: Item, y: float) -> bool:
    """Tell whether nothing is between a circle and height y, where a wire would turn towards it; it may cross wires."""
    low, high = min(b.y, y), max(b.y, y)
    return not any(
        abs(i.y - y) < 7 if i.is_wire else low - i.height / 2 - 7 < i.y < high + i.height / 2 + 7
        for i in column if i is not b
    )  # fmt: skip


def _tracks(placement: Placement, number: int, entries: Mapping[tuple[Item, Item], _Entry]) -> dict[Item, int]:
    """Order the vertical pieces of a gap so that few wires cross and none lie on one another."""
    nets: dict[Item, list[float]] = {}
    for a, b in placement.hops:
        if a.column == number:
            nets.setdefault(a, []).append(entries[a, b].y)
    bent = [a for a, ends in nets.items() if any(abs(y - a.y) > 0.05 for y in ends)]
    bent.sort(key=lambda a: a.y)

    def cost(order: list[Item]) -> float:
        total = 0.0
        for k, a in enumerate(order):
            low, high = min(a.y, *nets[a]), max(a.y, *nets[a])
            for later in order[k + 1 :]:
                # The later one's first piece crosses this one's vertical; this one's last pieces cross the later one's.
                total += low < later.y < high
                bottom, top = min(later.y, *nets[later]), max(later.y, *nets[later])
                total += sum(bottom < y < top for y in nets[a])
                total += 50 * sum(abs(later.y - y) < 4 for y in nets[a])
        return total

    order, least = list(bent), cost(bent)
    better = True
    while better and least:
        better = False
        for k in range(len(order)):
            for j in range(k + 1, len(order)):
                tried = list(order)
                tried[k], tried[j] = tried[j], tried[k]
                now = cost(tried)
                if now < least:
                    order, least, better = tried, now, True
    return {a: k for k, a in enumerate(order)}


def _path(a: Item, b: Item, entry: _Entry, track: float | None) -> Wire:
    start = (a.x + a.width / 2, a.y)
    points = [start]
    if track is not None and abs(entry.y - a.y) > 0.05:
        points += [(track, a.y), (track, entry.y)]
    if entry.above:
        points += [(b.x, entry.y), (b.x, b.y - entry.above * b.height / 2)]
    else:
        inset = 0.0
        if not b.is_wire and b.width == b.height:  # where the side of a circle is, at this height
            radius = b.height / 2
            inset = radius - max(0.0, radius**2 - (entry.y - b.y) ** 2) ** 0.5
        points.append((b.x - b.width / 2 + inset, entry.y))
    return Wire(tuple(points), None if b.is_wire else b, a.net or a)


def _branches(a: Item, track: float, ends: list[tuple[Item, _Entry]]) -> list[tuple[float, float]]:
    """Return the points of a vertical piece at which three wires or more meet."""
    heights = {a.y, *(e.y for _, e in ends)}
    low, high = min(heights), max(heights)
    found: list[tuple[float, float]] = []
    for y in sorted(heights):
        right = any(abs(e.y - y) < 0.05 for _, e in ends)
        meeting = (abs(y - a.y) < 0.05) + right + (y > low + 0.05) + (y < high - 0.05)
        if meeting >= 3:
            found.append((track, y))
    return found
