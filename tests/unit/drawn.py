"""Cells to draw, and reading a drawn picture back: its boxes, wires and texts."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

import recurra as rc
from recurra import cells, wrappers
from recurra.core import Cell, TreeCell
from recurra.core.errors import ArgumentError
from recurra.drawing import Picture
from recurra.drawing.axis import text_width

_SIZES = {"title": 17.0, "small": 11.5, "label": 12.5}
SVG = "{http://www.w3.org/2000/svg}"


class Leaky(rc.Cell):
    """A user's own."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)
        self.leak = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, state):
        (h,) = state
        a = torch.sigmoid(self.leak)
        h = (1 - a) * h + a * torch.tanh(self.inputs(x) + self.recurrent(h))
        return h, (h,)


class FastWeights(rc.Cell):
    """Much at once: a matrix state, a clock, outer products, softmax, normalisation, choice, work after the loop."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.query = nn.Linear(input_size, hidden_size)
        self.key = nn.Linear(input_size, hidden_size)
        self.value = nn.Linear(input_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.register_buffer("periods", torch.arange(1, hidden_size + 1))

    def state_shapes(self):
        return (self.hidden_size, self.hidden_size), ((), torch.int64)

    def step(self, x, state):
        S, clock = state
        k, q = torch.softmax(self.key(x), -1), torch.softmax(self.query(x), -1)
        beta = torch.sigmoid(k.sum(-1, keepdim=True))
        S = S + beta.unsqueeze(-1) * (self.value(x).unsqueeze(-1) * k.unsqueeze(-2))
        active = clock.unsqueeze(-1) % self.periods == 0
        y = torch.where(active, torch.einsum("bij,bj->bi", S, q), x.new_zeros(()))
        return self.out(self.norm(y)), (S, clock + 1)


class Undrawable(rc.Cell):
    """Its step looks at values."""

    def step(self, x, state):
        (h,) = state
        return (h, (h + 1,)) if h.sum() > 0 else (h, (h,))


def _wrapped(name: str, input_size: int, hidden_size: int) -> Cell:
    try:
        return wrappers.get(name).of(cells.get("lstm"), input_size, hidden_size)
    except ArgumentError:  # What is added to its input must be of its size.
        return wrappers.get(name).of(cells.get("lstm"), hidden_size, hidden_size)


FACTORIES: dict[str, Callable[[int, int], Cell | TreeCell]] = {
    **{name: cells.get(name) for name in cells.names()},
    **{name: cells.get_tree(name) for name in cells.tree_names()},
    **{f"{name} of lstm": partial(_wrapped, name) for name in wrappers.names()},
    "Leaky": Leaky,
    "FastWeights": FastWeights,
}


@dataclass(frozen=True)
class Box:
    """A rectangle on the page, and what is known of it."""

    left: float
    top: float
    right: float
    bottom: float
    operations: frozenset[int]

    def overlaps(self, other: Box, slack: float = 0.5) -> bool:
        return (
            self.left + slack < other.right and other.left + slack < self.right
            and self.top + slack < other.bottom and other.top + slack < self.bottom
        )  # fmt: skip


def parse(picture: Picture) -> ET.Element:
    return ET.fromstring(picture.svg)


def boxes(root: ET.Element) -> list[Box]:
    """Return what is drawn in the class "box"."""
    found: list[Box] = []
    for e in root.iter():
        if "box" not in e.attrib.get("class", "").split() or "data-operations" not in e.attrib:
            continue
        at = {k: float(v) for k, v in e.attrib.items() if k in ("x", "y", "width", "height", "cx", "cy", "r")}
        operations = frozenset(map(int, e.attrib["data-operations"].split()))
        if e.tag == f"{SVG}circle":
            x, y, r = at["cx"], at["cy"], at["r"]
            found.append(Box(x - r, y - r, x + r, y + r, operations))
        else:
            found.append(Box(at["x"], at["y"], at["x"] + at["width"], at["y"] + at["height"], operations))
    return found


def texts(root: ET.Element) -> list[tuple[str, Box]]:
    """Return all texts with the space that they take: sub- and superscripts are smaller."""
    found: list[tuple[str, Box]] = []
    for e in root.iter(f"{SVG}text"):
        own = re.search(r"font-size:([\d.]+)", e.attrib.get("style", ""))
        style = e.attrib.get("class", "").split()
        size = float(own[1]) if own else next((s for k, s in _SIZES.items() if k in style), 13.0)
        parts = [(e.text or "", size), *((s.text or "", float(s.attrib.get("font-size", size))) for s in e)]
        # Formulas are in a serif font, whose letters are about half as wide as high.
        wide = sum(text_width(text, own) * (0.8 if e.attrib.get("class") == "math" else 0.95) for text, own in parts)
        x, y = float(e.attrib["x"]), float(e.attrib["y"])
        left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[e.attrib.get("text-anchor", "start")]
        if "transform" not in e.attrib:
            text = "".join(t for t, _ in parts)
            found.append((text, Box(left, y - 0.7 * size, left + wide, y + 0.15 * size, frozenset())))
    return found


def wires(root: ET.Element) -> list[list[tuple[float, float]]]:
    """Return the corners of every wire."""
    found: list[list[tuple[float, float]]] = []
    for e in root.iter(f"{SVG}path"):
        if "wire" in e.attrib.get("class", "").split():
            for piece in e.attrib["d"].split("M")[1:]:
                numbers = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", piece)]
                found.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return found
