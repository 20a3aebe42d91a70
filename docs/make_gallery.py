"""Makes docs/gallery.md and its pictures: every cell, wrapper, topology and kind of picture, from the real objects.

python docs/make_gallery.py            # or: make gallery
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

import recurra as rc
from recurra import cells, wrappers
from recurra.core import Cell, TreeCell
from recurra.core.errors import ArgumentError
from recurra.drawing import (
    NOTATIONS,
    TOPOLOGIES,
    Band,
    Picture,
    cell_diagram,
    curves_svg,
    heat_map,
    spectrum,
)
from recurra.networks import Embedding, Readout, Synchronous

FOLDER = Path(__file__).parent
IMAGES = Path("images") / "gallery"


@dataclass(frozen=True)
class Figure:
    """A picture in the gallery: its file's name, its text in Markdown above it, and the picture."""

    name: str
    heading: str
    text: str
    picture: Picture


def figures() -> Iterator[tuple[str, str, Iterator[Figure]]]:
    """Yield the sections: title, text, figures."""
    yield (
        "Cells",
        "Made from what `step` does, under the names of its local variables: `recurra draw lstm`, `rc.draw(cell)`, "
        "`rc.equations(cell)`. Your own: `recurra draw FILE.py:Class`. A box is a layer f(W x + U h + b), a circle "
        "works entry by entry; colours tell what can run before the loop over time, in it, and after it.",
        _cells(),
    )
    yield (
        "Cells over trees",
        "k stands for the children, p for their parent.",
        (_cell(name, cells.get_tree(name)(3, 4)) for name in cells.tree_names()),
    )
    yield ("Wrappers", "Each around an LSTM: the picture is of both.", _wrappers())
    yield ("Notations", "`notation=`: the letters of a whole picture, never mixed.", _notations())
    yield (
        "Networks over time",
        "`rc.draw(network)`, `folded=True`, `units=True`; with `batch=` the real values colour the vectors.",
        _networks(),
    )
    yield (
        "Topologies",
        "`recurra draw n-to-n`; a network with a method `draw_on(diagram, steps)` draws itself like this.",
        (Figure(f"topology-{name}", name, "", rc.draw(name)) for name in TOPOLOGIES),
    )
    yield ("Curves, heat maps, spectra", "Small functions over data: `recurra.drawing`.", _data())


def write(folder: Path) -> list[Figure]:
    """Write gallery.md and the pictures into a folder; return the figures."""
    images = folder / IMAGES
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir(parents=True)
    lines = ["# Gallery", "", "Made by `make gallery` from the real objects; nothing here is drawn by hand.", ""]
    made: list[Figure] = []
    for title, text, found in figures():
        lines += [f"## {title}", "", text, ""]
        for figure in found:
            figure.picture.save(images / f"{figure.name}.svg")
            lines += [f"### {figure.heading}", "", f"![{figure.picture.title}]({IMAGES}/{figure.name}.svg)", ""]
            lines += [figure.text, ""] if figure.text else []
            made.append(figure)
    (folder / "gallery.md").write_text("\n".join(lines), encoding="utf-8")
    return made


def _cell(name: str, cell: Cell | TreeCell, heading: str = "") -> Figure:
    found = rc.equations(cell)
    return Figure(f"cell-{name}", heading or name, f"```math\n{found}\n```", cell_diagram(cell))


def _cells() -> Iterator[Figure]:
    for name in cells.names():
        yield _cell(name, cells.get(name)(3, 4))


def _wrappers() -> Iterator[Figure]:
    for name in wrappers.names():
        try:
            cell = wrappers.get(name).of(cells.get("lstm"), 3, 4)
        except ArgumentError:  # What is added to its input must be of its size.
            cell = wrappers.get(name).of(cells.get("lstm"), 4, 4)
        yield _cell(f"{name}-of-lstm", cell, f"{name} of lstm")


def _notations() -> Iterator[Figure]:
    for name in NOTATIONS:
        cell = cells.get("lstm" if name == "z" else "jordan")(3, 4)
        text = f"```math\n{rc.equations(cell, name)}\n```"
        yield Figure(f"notation-{name}", name, text, cell_diagram(cell, name))


def _networks() -> Iterator[Figure]:
    torch.manual_seed(0)
    simple = rc.Recurrent("elman", 3, 5, batch_first=True)
    yield Figure("network-unrolled", "Unrolled, from h0", "", rc.draw(simple, notation="uvw"))
    yield Figure("network-folded", "Folded", "", rc.draw(simple, folded=True, notation="uvw"))
    both = rc.LSTM(3, 5, num_layers=2, bidirectional=True)
    yield Figure("network-both-directions", "Two layers, both directions", "", rc.draw(both))
    yield Figure("network-both-directions-folded", "Folded", "", rc.draw(both, folded=True))
    wrapped = rc.Recurrent(lambda i, h: wrappers.get("zoneout").of(cells.get("gru"), i, h), 3, 5, num_layers=2)
    yield Figure("network-wrapped", "With a wrapper", "", rc.draw(wrapped))
    whole = Synchronous(Embedding(12, 3), rc.Recurrent("lstm", 3, 6, num_layers=2, batch_first=True), Readout(6, 12))
    tokens = torch.randint(0, 12, (1, 4))
    yield Figure("network-values", "The real values of a batch", "", rc.draw(whole, batch=tokens))
    yield Figure("network-units", "Opened into units", "", rc.draw(whole, batch=tokens, units=True))


def _data() -> Iterator[Figure]:
    steps = range(0, 2001, 50)
    runs = {
        name: Band(
            [(x, 1.2 + 2.1 * math.exp(-x / speed)) for x in steps],
            [(x, 1.14 + 2.0 * math.exp(-x / speed)) for x in steps],
            [(x, 1.28 + 2.2 * math.exp(-x / speed)) for x in steps],
        )
        for name, speed in (("elman", 700.0), ("门控循环单元", 450.0), ("lstm", 330.0))
    }
    svg = curves_svg(runs, title="Several runs, with the spread of seeds", x_label="step", y_label="loss")
    yield Figure("curves", "Learning curves", "(Invented numbers.)", Picture(svg, 760, 440, "learning curves"))
    weights = [[0.86, 0.09, 0.05], [0.10, 0.82, 0.08], [0.04, 0.11, 0.85]]
    small = heat_map(
        weights, ["I", "love", "China"], ["我", "爱", "中国"], title="Attention", row_label="out", column_label="in"
    )
    yield Figure("heat-map", "Heat map", "(Invented numbers.)", small)
    long = [[math.exp(-((i / 40 - j / 60) ** 2) * 40) * math.cos(i / 5) for j in range(60)] for i in range(40)]
    names = [f"token {i}" for i in range(40)], [f"第{j}字" for j in range(60)]
    yield Figure("heat-map-long", "Long ones stay readable", "", heat_map(long, *names, title="40 by 60, signed"))
    torch.manual_seed(0)
    values = torch.linalg.eigvals(torch.randn(64, 64) / 8).tolist()
    yield Figure("spectrum", "Eigenvalues", "", spectrum(values, title="A random recurrent matrix, 64 units"))


if __name__ == "__main__":
    print(f"wrote {len(write(FOLDER))} pictures to {FOLDER / IMAGES} and {FOLDER / 'gallery.md'}")
