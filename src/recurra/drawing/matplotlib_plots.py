"""The same curves, heat maps and spectra on matplotlib's axes, for papers: the extra `plot`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recurra.core.errors import MissingExtraError
from recurra.drawing.curves import Band, Points

__all__ = ["plot_curves", "plot_heat_map", "plot_spectrum"]


def plot_curves(
    series: Mapping[str, Points | Band], *, axes: Any = None, title: str = "", x_label: str = "", y_label: str = ""
) -> Any:
    """Draw what `curves_svg` draws on matplotlib's axes (new ones, if none are given), and return them.

    Raises MissingExtraError where matplotlib is not installed.
    """
    axes = _axes(axes)
    for name, curve in series.items():
        band = curve if isinstance(curve, Band) else Band(curve, (), ())
        (line,) = axes.plot([x for x, _ in band.middle], [y for _, y in band.middle], label=name)
        if band.low and band.high:
            low, high = dict(band.low), dict(band.high)
            at = [x for x in low if x in high]
            axes.fill_between(at, [low[x] for x in at], [high[x] for x in at], color=line.get_color(), alpha=0.16)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.legend()
    return axes


def plot_heat_map(
    values: Sequence[Sequence[float]], rows: Sequence[str], columns: Sequence[str], *, axes: Any = None, title: str = ""
) -> Any:
    """Draw what `heat_map` draws on matplotlib's axes, and return them."""
    axes = _axes(axes)
    largest = max(abs(float(v)) for row in values for v in row)
    signed = any(v < 0 for row in values for v in row)
    axes.imshow(values, cmap="RdBu_r" if signed else "Blues", vmin=-largest if signed else 0.0, vmax=largest)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_title(title)
    return axes


def plot_spectrum(eigenvalues: Iterable[complex], *, axes: Any = None, title: str = "") -> Any:
    """Draw what `spectrum` draws on matplotlib's axes, and return them."""
    axes = _axes(axes)
    points = [complex(v) for v in eigenvalues]
    axes.scatter([p.real for p in points], [p.imag for p in points], s=12)
    from matplotlib.patches import Circle  # pyright: ignore[reportMissingImports]

    axes.add_patch(Circle((0, 0), 1.0, fill=False))
    axes.set(title=title, xlabel="real part", ylabel="imaginary part", aspect="equal")
    return axes


def _axes(axes: Any) -> Any:
    try:
        from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError(
            "matplotlib plots need the extra 'plot': pip install 'recurra[plot]'; curves_svg, heat_map and spectrum "
            "need nothing"
        ) from error
    # A figure of its own, not pyplot's: no window, no state that is kept.
    return axes if axes is not None else Figure().subplots()
