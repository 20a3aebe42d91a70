"""Spectra: the eigenvalues of a recurrent matrix in the complex plane, with the unit circle."""

from __future__ import annotations

from collections.abc import Iterable

from recurra.core.errors import ArgumentError
from recurra.drawing.axis import format_ticks, nice_ticks
from recurra.drawing.canvas import Canvas
from recurra.drawing.picture import Picture

__all__ = ["spectrum"]

_SIDE = 380.0
_LEFT, _TOP = 62.0, 58.0


def spectrum(eigenvalues: Iterable[complex], *, title: str = "") -> Picture:
    """Return the picture of eigenvalues: inside the unit circle memories fade, outside they grow.

    eigenvalues: complex numbers, such as `torch.linalg.eigvals(W).tolist()`. Raises ArgumentError where there is none,
    or one is not finite.
    """
    points = [complex(v) for v in eigenvalues]
    if not points or any(abs(p) == float("inf") or p != p for p in points):
        raise ArgumentError(f"expected finite eigenvalues, at least one, got {len(points)}: {points[:3]}")
    radius = max(abs(p) for p in points)
    reach = 1.15 * max(1.0, radius)
    scale = _SIDE / 2 / reach
    middle = (_LEFT + _SIDE / 2, _TOP + _SIDE / 2)
    at = lambda p: (middle[0] + p.real * scale, middle[1] - p.imag * scale)  # noqa: E731
    canvas = Canvas(title or "eigenvalues and the unit circle")
    canvas.text(24, 34, title, "title", "start")
    canvas.rectangle(_LEFT, _TOP, _SIDE, _SIDE, "outline", 0)
    ticks = nice_ticks(-reach, reach, 5)
    for tick, text in zip(ticks, format_ticks(ticks), strict=True):
        x, y = at(complex(tick, tick))
        canvas.line([(x, _TOP), (x, _TOP + _SIDE)], "grid")
        canvas.line([(_LEFT, y), (_LEFT + _SIDE, y)], "grid")
        canvas.text(x, _TOP + _SIDE + 18, text, "small soft")
        canvas.text(_LEFT - 8, y + 4, text, "small soft", "end")
    canvas.circle(*middle, scale, "wire unit-circle")
    for p in sorted(points, key=lambda p: (p.real, p.imag)):
        canvas.circle(*at(p), 3.6, "point inside" if abs(p) <= 1 else "point outside")
    canvas.text(middle[0], _TOP + _SIDE + 40, "real part", "label soft")
    canvas.text(20, middle[1], "imaginary part", "label soft", extra=f' transform="rotate(-90 20 {middle[1]:.1f})"')
    outside = sum(abs(p) > 1 for p in points)
    words = f"spectral radius {radius:.3g}; {outside} of {len(points)} outside the unit circle"
    canvas.text(_LEFT, _TOP + _SIDE + 64, words, "small soft", "start")
    return canvas.picture(_LEFT + _SIDE + 24, _TOP + _SIDE + 82)
