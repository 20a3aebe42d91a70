"""Placing boxes in columns from left to right, in the order in which values flow, so that wires have room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["Item", "Placement", "place"]

_GAP = 20.0
_SWEEPS = 24
_STEPS = 60


@dataclass(eq=False)
class Item:
    """What is placed. x and y are those of its middle; rail: which state's rail it lies on, if any: rails are straight,
    at the top."""

    width: float
    height: float
    column: int = 0
    x: float = 0.0
    y: float = 0.0
    rail: int | None = None
    net: Item | None = None
    """For a wire: the item whose value it carries."""

    @property
    def is_wire(self) -> bool:
        """Tell whether this is a wire that passes."""
        return self.net is not None


@dataclass
class Placement:
    """columns: the items of each, from top to bottom; hops: `(from, to)` between neighbouring columns, wires included;
    `to` is the end of a link where it is no wire."""

    columns: list[list[Item]]
    hops: list[tuple[Item, Item]] = field(default_factory=list[tuple[Item, Item]])


def place(
    items: Sequence[Item],
    links: Sequence[tuple[Item, Item]],
    first: Sequence[Item],
    last: Sequence[Item],
    rails: Sequence[Sequence[Item]],
) -> Placement:
    """Give every item its column and its y.

    links: `(from, to)` without a cycle; first and last: what stands in the first and the last column, from top to
    bottom; rails: sequences of items, each to lie in one straight line, the first at the top.
    """
    _columns(items, links, first, last)
    placement = _with_wires(items, links, rails)
    _order(placement, first)
    _heights(placement, first)
    return placement


def _columns(
    items: Sequence[Item], links: Sequence[tuple[Item, Item]], first: Sequence[Item], last: Sequence[Item]
) -> None:
    takers: dict[Item, list[Item]] = {i: [] for i in items}
    givers: dict[Item, list[Item]] = {i: [] for i in items}
    for a, b in links:
        takers[a].append(b)
        givers[b].append(a)
    done: set[Item] = set()

    def depth(i: Item) -> int:
        if i not in done:
            i.column = 0 if i in first else 1 + max((depth(g) for g in givers[i]), default=0)
            done.add(i)
        return i.column

    order = sorted(items, key=depth)
    end = max((i.column for i in items if i not in last), default=0) + 1
    for i in last:
        i.column = end
    # As late as possible, next to whoever takes it.
    for i in reversed(order):
        if i not in first and i not in last:
            i.column = min((t.column for t in takers[i]), default=end) - 1


def _with_wires(
    items: Sequence[Item], links: Sequence[tuple[Item, Item]], rails: Sequence[Sequence[Item]]
) -> Placement:
    columns: list[list[Item]] = [[] for _ in range(max((i.column for i in items), default=0) + 1)]
    for i in items:
        columns[i.column].append(i)
    for k, rail in enumerate(rails):
        for i in rail:
            i.rail = k if i.rail is None else i.rail
    wires: dict[tuple[Item, int], Item] = {}
    placement = Placement(columns)
    hops: set[tuple[Item, Item]] = set()
    for a, b in links:
        before = a
        on_rail = any(p is a and q is b for rail in rails for p, q in pairwise(rail))
        for column in range(a.column + 1, b.column):
            wire = wires.get((a, column))
            if wire is None:
                wire = wires[a, column] = Item(0.0, 0.0, column, net=a)
                columns[column].append(wire)
            if on_rail and a.rail is not None:
                wire.rail = a.rail
            hops.add((before, wire))
            before = wire
        hops.add((before, b))
    position = {i: k for column in columns for k, i in enumerate(column)}
    placement.hops = sorted(hops, key=lambda h: (h[0].column, position[h[0]], position[h[1]]))
    return placement


def _order(placement: Placement, first: Sequence[Item]) -> None:
    """Order each column so that few wires cross: every item to the mean of its neighbours, this way and that."""
    columns, before, after = placement.columns, *_neighbours(placement)
    columns[0].sort(key=lambda i: list(first).index(i) if i in first else len(first))
    for column in columns[1:]:
        column.sort(key=lambda i: (i.rail is None, i.rail or 0, _bus(i, first)))
    best, fewest = [list(c) for c in columns], _crossings(placement)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        for column in columns[1:] if forward else reversed(columns[1:-1]):
            near = before if forward else after
            rank = {i: k for c in columns for k, i in enumerate(c)}
            old = {i: k for k, i in enumerate(column)}
            mean = {i: sum(rank[n] for n in near[i]) / len(near[i]) if near[i] else old[i] for i in column}
            column.sort(key=lambda i: (i.rail is None, i.rail or 0, _bus(i, first), mean[i], old[i]))
        crossed = _crossings(placement)
        if crossed < fewest:
            best, fewest = [list(c) for c in columns], crossed
    placement.columns[:] = best
    _exchange(placement, first)


def _bus(i: Item, first: Sequence[Item]) -> int:
    """Return which argument's bus this is, counted from 1 from the top; 0 if it is none."""
    return 1 + list(first).index(i.net) if _is_bus(i, first) and i.net is not None else 0


def _is_bus(i: Item, first: Sequence[Item]) -> bool:
    """Tell whether this is the wire of an argument: they pass below all boxes, as figures of cells have it."""
    return i.rail is None and i.net is not None and i.net in first


def _exchange(placement: Placement, first: Sequence[Item]) -> None:
    """Exchange neighbours as long as that takes crossings away."""
    fewest = _crossings(placement)
    better = True
    while better and fewest:
        better = False
        for column in placement.columns[1:]:
            for k in range(len(column) - 1):
                if column[k].rail is not None or _bus(column[k + 1], first):
                    continue
                column[k], column[k + 1] = column[k + 1], column[k]
                crossed = _crossings(placement)
                if crossed < fewest:
                    fewest, better = crossed, True
                else:
                    column[k], column[k + 1] = column[k + 1], column[k]


def _crossings(placement: Placement) -> int:
    rank = {i: k for c in placement.columns for k, i in enumerate(c)}
    count = 0
    by_column: dict[int, list[tuple[int, int]]] = {}
    for a, b in placement.hops:
        by_column.setdefault(a.column, []).append((rank[a], rank[b]))
    for ends in by_column.values():
        for k, (a, b) in enumerate(ends):
            count += sum((a - c) * (b - d) < 0 for c, d in ends[k + 1 :])
    return count


def _neighbours(placement: Placement) -> tuple[dict[Item, list[Item]], dict[Item, list[Item]]]:
    before: dict[Item, list[Item]] = {i: [] for c in placement.columns for i in c}
    after: dict[Item, list[Item]] = {i: [] for c in placement.columns for i in c}
    for a, b in placement.hops:
        after[a].append(b)
        before[b].append(a)
    return before, after


def _heights(placement: Placement, first: Sequence[Item]) -> None:
    """Bring every item near the mean of its neighbours, without touching the others of its column."""
    before, after = _neighbours(placement)
    rails = sorted({i.rail for c in placement.columns for i in c if i.rail is not None})
    top = 0.0
    lines: dict[int, float] = {}
    for rail in rails:
        tall = max(i.height for c in placement.columns for i in c if i.rail == rail)
        lines[rail] = top + tall / 2
        top += tall + _GAP
    for column in placement.columns:
        y = 0.0
        for k, i in enumerate(column):
            y += _between(column[k - 1], i) if k else i.height / 2
            i.y = lines[i.rail] if i.rail is not None else max(y, top + i.height / 2)
            y = i.y
    for step in range(_STEPS):
        for column in placement.columns if step % 2 == 0 else reversed(placement.columns):
            wanted: list[tuple[float, float]] = []
            for i in column:
                near = [(n, 8.0 if n.is_wire and i.is_wire else 1.0) for n in (*before[i], *after[i])]
                weight = sum(w for _, w in near) or 0.1
                target = sum(n.y * w for n, w in near) / weight if near else i.y
                wanted.append((lines[i.rail], 1e9) if i.rail is not None else (target, weight))
            _settle(column, wanted, top if rails else None)
    _straighten(placement)
    _lay_buses(placement, first)
    lowest = min(i.y - i.height / 2 for c in placement.columns for i in c)
    for column in placement.columns:
        for i in column:
            i.y = round(i.y - lowest, 1)


def _lay_buses(placement: Placement, first: Sequence[Item]) -> None:
    """Give the wires of each argument that pass below all boxes one height."""
    floor = max((i.y + i.height / 2 for c in placement.columns[1:-1] for i in c if not _is_bus(i, first)), default=0.0)
    spans: dict[Item, tuple[int, int]] = {}
    for k, column in enumerate(placement.columns):
        for i in column:
            if i.net is not None and _is_bus(i, first):
                spans[i.net] = (min(k, spans.get(i.net, (k, k))[0]), k)
    under: list[float] = []
    for net in (n for n in first if n in spans):
        start, end = spans[net]
        # Only as deep as the boxes that it passes demand.
        passed = [i.y + i.height / 2 for c in placement.columns[start : end + 1] for i in c if not _is_bus(i, first)]
        y = max([max(passed, default=floor) + 14, *(u + 12 for u in under)])
        under.append(y)
        for column in placement.columns:
            for i in column:
                if i.net is net and _is_bus(i, first):
                    i.y = y


def _settle(column: list[Item], wanted: list[tuple[float, float]], top: float | None) -> None:
    """Put the items of a column as near as possible to where they want to be, in order and apart: least squares, by
    pooling those that would collide."""
    offsets = [0.0]
    for k in range(1, len(column)):
        offsets.append(offsets[-1] + _between(column[k - 1], column[k]))
    pools: list[list[float]] = []  # sum of weights, weighted sum, how many
    for (target, weight), offset, i in zip(wanted, offsets, column, strict=True):
        if top is not None and i.rail is None:
            target = max(target, top + i.height / 2)
        pools.append([weight, weight * (target - offset), 1])
        while len(pools) > 1 and pools[-2][1] / pools[-2][0] >= pools[-1][1] / pools[-1][0]:
            w, s, n = pools.pop()
            pools[-1] = [pools[-1][0] + w, pools[-1][1] + s, pools[-1][2] + n]
    k = 0
    for w, s, n in pools:
        for _ in range(int(n)):
            column[k].y = s / w + offsets[k]
            k += 1


def _straighten(placement: Placement) -> None:
    """Draw small steps flat: a wire or a single taker goes to its giver's height, where there is room."""
    before, _ = _neighbours(placement)
    for column in placement.columns[1:]:
        for k, i in enumerate(column):
            if i.rail is not None or not before[i]:
                continue
            giver = min(before[i], key=lambda g: abs(g.y - i.y))
            low = column[k - 1].y + _between(column[k - 1], i) if k else float("-inf")
            high = column[k + 1].y - _between(i, column[k + 1]) if k + 1 < len(column) else float("inf")
            if abs(giver.y - i.y) < 26 and low <= giver.y <= high:
                i.y = giver.y


def _between(a: Item, b: Item) -> float:
    """Return how far apart the middles of two neighbours in a column must be."""
    gap = 16.0 if a.is_wire or b.is_wire else _GAP
    return a.height / 2 + b.height / 2 + gap
