"""Pictures and equations, made from the real objects, with nothing but the standard library.

`draw` takes a cell, a layer, a network or a topology's name; `equations` writes a cell's step as LaTeX; the others draw
data: `curves_svg`, `heat_map`, `spectrum`, `draw_attention`. `Diagram` is what a network draws itself with.
"""

from recurra.drawing.cell_diagram import cell_diagram
from recurra.drawing.curves import Band, curves_svg
from recurra.drawing.diagram import Diagram, Vector
from recurra.drawing.draw import draw
from recurra.drawing.equations import Equations, equations
from recurra.drawing.heat_map import heat_map
from recurra.drawing.matplotlib_plots import plot_curves, plot_heat_map, plot_spectrum
from recurra.drawing.notation import NOTATIONS
from recurra.drawing.picture import Picture
from recurra.drawing.sharing import draw_sharing
from recurra.drawing.spectrum import spectrum
from recurra.drawing.topologies import TOPOLOGIES, draw_attention, draw_graph, draw_topology, draw_tree
from recurra.drawing.unrolled import draw_folded, draw_unrolled

__all__ = [
    "NOTATIONS",
    "TOPOLOGIES",
    "Band",
    "Diagram",
    "Equations",
    "Picture",
    "Vector",
    "cell_diagram",
    "curves_svg",
    "draw",
    "draw_attention",
    "draw_folded",
    "draw_graph",
    "draw_sharing",
    "draw_topology",
    "draw_tree",
    "draw_unrolled",
    "equations",
    "heat_map",
    "plot_curves",
    "plot_heat_map",
    "plot_spectrum",
    "spectrum",
]
