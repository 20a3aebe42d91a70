"""Pictures as plain SVG text: made from data, with nothing but the standard library."""

from recurra.drawing.curves import Band, curves_svg

__all__ = ["Band", "curves_svg"]
