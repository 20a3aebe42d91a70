"""A picture: the text of an SVG file, which notebooks show, and which is saved as SVG or PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurra.core.errors import ArgumentError, MissingExtraError

__all__ = ["Picture"]


@dataclass(frozen=True)
class Picture:
    """A picture of `width` times `height` pixels. svg: the whole file; title: what it shows, for who cannot see it.

    Equal arguments gave equal bytes. It is readable on light and dark pages.
    """

    svg: str
    width: float
    height: float
    title: str = ""

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Picture {self.title!r}, {self.width:.0f} x {self.height:.0f}: .save('picture.svg')>"

    def save(self, path: str | Path) -> Path:
        """Write the picture to a file whose name ends in .svg, or in .png (the extra `png`); return its path.

        Raises ArgumentError for another ending, MissingExtraError where PNG's program is not installed.
        """
        path = Path(path)
        match path.suffix.lower():
            case ".svg":
                path.write_text(self.svg, encoding="utf-8")
            case ".png":
                path.write_bytes(self.png())
            case other:
                raise ArgumentError(
                    f"expected a file name that ends in .svg or .png, got {path.name!r} ({other or 'none'})"
                )
        return path

    def png(self, scale: float = 2.0) -> bytes:
        """Return the picture as PNG, `scale` times as large, in the colours for light pages."""
        try:
            import resvg_py  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtraError(
                "PNG needs the extra 'png': pip install 'recurra[png]'; SVG needs nothing"
            ) from error
        made: Any = resvg_py.svg_to_bytes(svg_string=self.svg, zoom=scale)
        return bytes(made)
