"""Colours for numbers: from blue over white to red, and from white to dark blue; told apart by the colour-blind."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["contrast", "diverging", "readable_on", "sequential"]

_NEGATIVE, _ZERO, _POSITIVE = (33, 102, 172), (247, 247, 247), (178, 70, 24)
_RAMP = ((247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))


def diverging(value: float) -> str:
    """Return the colour for a number from -1 (blue) over 0 (white) to 1 (red)."""
    value = max(-1.0, min(1.0, value))
    return _mix(_ZERO, _POSITIVE if value > 0 else _NEGATIVE, abs(value))


def sequential(value: float) -> str:
    """Return the colour for a number from 0 (nearly white) to 1 (dark blue)."""
    place = max(0.0, min(1.0, value)) * (len(_RAMP) - 1)
    low = min(int(place), len(_RAMP) - 2)
    return _mix(_RAMP[low], _RAMP[low + 1], place - low)


def readable_on(colour: str) -> str:
    """Return black or white, whichever is read more easily on a colour `#rrggbb`."""
    dark, light = "#000000", "#ffffff"
    return dark if contrast(colour, dark) >= contrast(colour, light) else light


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21, as the Web Content Accessibility Guidelines 2 define it."""
    a, b = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (a + 0.05) / (b + 0.05)


def _mix(a: Sequence[int], b: Sequence[int], share: float) -> str:
    return "#" + "".join(f"{round(p + (q - p) * share):02x}" for p, q in zip(a, b, strict=True))


def _luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
