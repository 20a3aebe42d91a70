"""A cell's diagram: the values of one step flow from left to right through the operations of its author."""

from __future__ import annotations

from collections.abc import Sequence

from recurra.compiler.errors import Unsupported
from recurra.core import Cell, TreeCell, split_shape
from recurra.drawing.axis import text_width
from recurra.drawing.canvas import Canvas, run_width
from recurra.drawing.cell_boxes import Box, boxes_of
from recurra.drawing.formula import Run, runs
from recurra.drawing.layered import Item, place
from recurra.drawing.notation import notation_called
from recurra.drawing.picture import Picture
from recurra.drawing.reading import read_step
from recurra.drawing.stages import STAGES
from recurra.drawing.titles import title_of
from recurra.drawing.wires import wire
from recurra.drawing.wording import Wording

__all__ = ["cell_diagram"]

_LEFT, _TOP, _BOTTOM = 24.0, 64.0, 22.0
_RADIUS = 13.0
_CHIP = 14.0


def cell_diagram(cell: Cell | TreeCell, notation: str = "paper", title: str = "") -> Picture:
    """Return the diagram of a cell's step. Where the step cannot be told, it shows the interface and the reason.

    Boxes stand for a layer, f(W x + U h + b); circles for what is done entry by entry. Colours tell what can be worked
    out before the loop over time, in it, and after it. notation: see `recurra.drawing.NOTATIONS`.
    """
    form = notation_called(notation)
    title = title or title_of(cell)
    try:
        boxes = boxes_of(Wording(read_step(cell), form))
    except Unsupported as refused:
        return _interface(cell, title, refused)
    return _draw(boxes, title)


def _draw(boxes: Sequence[Box], title: str) -> Picture:
    items = {box: Item(*_size(box)) for box in boxes}
    ports = [b for b in boxes if b.kind == "port"]
    results = [b for b in boxes if b.kind == "result"]
    rails = _rails(boxes, ports, results)
    railed = [rail[0] for rail in rails]
    ports.sort(key=lambda b: railed.index(b) if b in railed else len(railed))
    ends = [rail[-1] for rail in rails]
    results.sort(key=lambda b: ends.index(b) if b in ends else len(ends))
    links = [(items[link.source], items[b]) for b in boxes for link in b.links]
    placement = place(
        list(items.values()), list(dict.fromkeys(links)), [items[b] for b in ports], [items[b] for b in results],
        [[items[b] for b in rail] for rail in rails],
    )  # fmt: skip
    box_of = {item: box for box, item in items.items()}
    shown = frozenset(link.source for b in results for link in b.links)
    circles = {item for item, box in box_of.items() if box.kind == "sign" and item.height == 2 * _RADIUS}
    wiring = wire(placement, circles, lambda i: _tag_room(box_of[i], shown) if i in box_of else 0.0)

    canvas = Canvas(f"{title}: diagram of one step")
    width = max(wiring.width, 420.0) + 2 * _LEFT
    shift = _LEFT + (width - 2 * _LEFT - wiring.width) / 2
    lowest = max(i.y + i.height / 2 for c in placement.columns for i in c)
    canvas.text(_LEFT, 34, title, "title", "start")
    left, right = wiring.inside
    canvas.rectangle(shift + left + 9, _TOP - 16, right - left - 26, lowest + 32, "frame", 14)
    at = lambda p: (p[0] + shift, p[1] + _TOP)  # noqa: E731
    for net in dict.fromkeys(piece.net for piece in wiring.wires):
        pieces = [piece for piece in wiring.wires if piece.net is net]
        canvas.lines([([at(p) for p in piece.points], piece.enters is not None) for piece in pieces])
    for x, y in wiring.dots:
        canvas.circle(x + shift, y + _TOP, 2.6, "dot")
    for box, item in items.items():
        _box(canvas, box, item.x + shift, item.y + _TOP, item)
        if _tag_room(box, shown) and box.name is not None:
            canvas.formula(item.x + shift + item.width / 2 + 5, item.y + _TOP - 6, runs(box.name), 15, anchor="start")
    for piece in wiring.wires:
        if piece.enters is not None and piece.net is not None:
            below = piece.points[-1][1] > piece.enters.y + 1
            _entry_label(canvas, box_of[piece.enters], box_of[piece.net], at(piece.points[-1]), piece.points, below)
    bottom = _legend(canvas, boxes, _LEFT, _TOP + lowest + 16 + 30, width - 2 * _LEFT)
    return canvas.picture(width, bottom + _BOTTOM)


def _size(box: Box) -> tuple[float, float]:
    match box.kind:
        case "sign":
            wide = run_width(box.text, 15) + 12
            if len(box.links) > 3:  # More than a circle has sides.
                return max(wide, 2 * _RADIUS), 14.0 + 14.0 * len(box.links)
            return (2 * _RADIUS, 2 * _RADIUS) if wide <= 2 * _RADIUS + 2 else (wide, 2 * _RADIUS)
        case "layer":
            return max(64.0, _chips_width(box) + 20, run_width(box.text, 18) + 18), 58.0 if box.text else 36.0
        case "constant":
            return run_width(box.text, 14) + 18, 28.0
        case "function":
            taken = len(box.links)
            inside = max((text_width(link.label, 11.5) for link in box.links if box.inside), default=0.0)
            return run_width(box.text, 14) + 22 + inside, max(30.0, 14.0 + 14.0 * taken)
        case _:
            return max(60.0, run_width(box.text, 17) + 24), 34.0


def _chips_width(box: Box) -> float:
    plus = run_width([Run("+")], _CHIP) + 8
    return sum(run_width(c.text, _CHIP) + (12 if c.stage else 0) for c in box.chips) + plus * (len(box.chips) - 1)


def _tag_room(box: Box, shown: frozenset[Box]) -> float:
    """Return how much room a value's name takes beside its box, where it is not in the port that follows."""
    if box.name is None or box.kind in ("port", "result") or box in shown:
        return 0.0
    return run_width(runs(box.name), 15) + 2


def _box(canvas: Canvas, box: Box, x: float, y: float, item: Item) -> None:
    w, h = item.width, item.height
    mark = f' data-operations="{" ".join(map(str, sorted(box.events)))}"'
    if box.kind == "sign" and w == h:
        canvas.circle(x, y, w / 2, f"box {box.stage}", mark)
        canvas.formula(x, y + 5.5, box.text, 18)
    elif box.kind in ("sign", "port", "result"):
        style = "port" if box.kind != "sign" else box.stage
        canvas.rectangle(x - w / 2, y - h / 2, w, h, f"box {style}", min(w, h) / 2, mark)
        canvas.formula(x, y + 5.5, box.text, 17 if box.kind != "sign" else 15)
    else:
        canvas.rectangle(x - w / 2, y - h / 2, w, h, f"box {box.stage}", 6, mark)
        if box.kind == "layer":
            if box.text:
                canvas.formula(x, y - 9, box.text, 18)
            _chips(canvas, box, x, y + (15 if box.text else 0))
        elif box.inside:
            canvas.formula(x + w / 2 - 9, y + 5, box.text, 14, anchor="end")
        else:
            canvas.formula(x, y + 5, box.text, 14)


def _chips(canvas: Canvas, box: Box, x: float, y: float) -> None:
    left = x - _chips_width(box) / 2
    plus = run_width([Run("+")], _CHIP) + 8
    for k, chip in enumerate(box.chips):
        if k:
            canvas.formula(left + plus / 2, y + 4.5, [Run("+")], _CHIP)
            left += plus
        wide = run_width(chip.text, _CHIP)
        if chip.stage:
            canvas.rectangle(left, y - 10, wide + 12, 20, f"chip-{chip.stage} {chip.stage}", 4)
        room = wide + (12 if chip.stage else 0)
        canvas.formula(left + room / 2, y + 4.5, chip.text, _CHIP)
        left += room


def _entry_label(
    canvas: Canvas, box: Box, source: Box, end: tuple[float, float], points: Sequence[tuple[float, float]], below: bool
) -> None:
    """Write what a value does where it enters; below: under the line, as other lines are above it."""
    labels = [link.label for link in box.links if link.source is source and link.label]
    if not labels:
        return
    words = ", ".join(labels)
    if box.inside:
        canvas.text(end[0] + 7, end[1] + 4, words, "small soft", "start")
    elif abs(points[-1][1] - points[-2][1]) < 0.05:
        canvas.text(end[0] - 11, end[1] + (11 if below else -4), words, "small soft", "end")
    else:
        canvas.text(end[0] + 8, end[1] + (14 if points[-2][1] > points[-1][1] else -6), words, "small soft", "start")


def _rails(boxes: Sequence[Box], ports: Sequence[Box], results: Sequence[Box]) -> list[list[Box]]:
    """Find, for each state, the longest way from its old to its new value through operations entry by entry."""
    found: list[list[Box]] = []
    taken: set[Box] = set()
    for result in results:
        for name in result.names:
            port = next((p for p in ports if p.name is not None and p.name.base == name.base and p.name.sub == name.sub
                         and p.name.time != name.time), None)  # fmt: skip
            way = _way(result, port, taken) if port is not None else []
            if way:
                found.append(way)
                taken.update(way)
                break
    return found


def _way(end: Box, start: Box, taken: set[Box]) -> list[Box]:
    best: dict[Box, list[Box]] = {}

    def back(box: Box) -> list[Box]:
        if box is start:
            return [start]
        if box not in best:
            best[box] = []
            if (box.elementwise or box is end) and box not in taken:
                ways = [w for link in box.links if (w := back(link.source))]
                best[box] = [*max(ways, key=len), box] if ways else []
        return best[box]

    return back(end)


def _legend(canvas: Canvas, boxes: Sequence[Box], x: float, y: float, width: float) -> float:
    """Say what the colours mean; return where it ends."""
    present = {b.stage for b in boxes} | {c.stage for b in boxes for c in b.chips}
    left = x
    for stage, words in STAGES.items():
        if stage not in present:
            continue
        room = 20 + 6.0 * len(words) + 16
        if left > x and left + room > x + width:
            left, y = x, y + 20
        canvas.rectangle(left, y - 10, 14, 12, f"box {stage}", 3)
        canvas.text(left + 20, y, words, "small soft", "start")
        left += room
    return y


def _interface(cell: Cell | TreeCell, title: str, refused: Unsupported) -> Picture:
    """Draw what goes in and out of a cell, and why its inside cannot be shown."""
    canvas = Canvas(f"{title}: its interface")
    canvas.text(_LEFT, 34, title, "title", "start")
    shapes = [(" × ".join(map(str, split_shape(s)[0])) or "1") for s in cell.state_shapes()]
    size = " × ".join(map(str, cell.input_shape)), " × ".join(map(str, cell.output_shape))
    rows = [(f"s{k}", s) for k, s in enumerate(shapes)] if len(shapes) > 1 else [("s", s) for s in shapes]
    height = 50.0 * (len(rows) + 1)
    lines = _wrap(refused.reason + (f" ({refused.where})" if refused.where else ""), 80)
    left, right = 120.0, 520.0
    canvas.rectangle(left, 60, right - left, height, "frame", 14)
    canvas.text((left + right) / 2, 60 + height / 2 + 5, "step(x, state) → (y, state)", "label")
    for k, (name, shape) in enumerate([*rows, ("x", size[0])]):
        y = 60 + 50 * k + 25
        out = ("y", size[1]) if name == "x" else (name, shape)
        before = [Run(name, True), Run("t" if name == "x" else "t−1", True, -1)]
        for x, label, what in ((70.0, before, shape), (570.0, [Run(out[0], True), Run("t", True, -1)], out[1])):
            canvas.rectangle(x - 34, y - 17, 68, 34, "box port", 17)
            canvas.formula(x, y + 5.5, label, 17)
            canvas.text(x, y + 30, what, "small soft")
        canvas.line([(104, y), (left, y)], head=True)
        canvas.line([(right, y), (536, y)], head=True)
    y = 60 + height + 40
    canvas.text(_LEFT, y, "The step's inside cannot be shown:", "label", "start")
    for line in lines:
        y += 18
        canvas.text(_LEFT, y, line, "small soft", "start")
    return canvas.picture(640, y + _BOTTOM)


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word[: width - 1]
    return lines
