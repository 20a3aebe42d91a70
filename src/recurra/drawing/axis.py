"""Round numbers for an axis, and how to write them."""

from __future__ import annotations

import math

__all__ = ["format_ticks", "nice_ticks", "text_width"]

_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def nice_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return about `count` round numbers (1, 2 or 5 times a power of ten) within [low, high], at equal distances."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(math.log(s / raw)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # Through a decimal text, so that 3 * 0.1 is 0.3 and not 0.30000000000000004.
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def format_ticks(ticks: list[float]) -> list[str]:
    """Write the ticks of an axis alike: 1.5, 2.0; large ones as 20k or 1.5M, tiny ones as 1e−05."""
    largest = max((abs(tick) for tick in ticks), default=0.0)
    if 0 < largest < 1e-3:
        return [f"{tick:.6g}".replace("-", "−") for tick in ticks]
    size, letter = next(((s, name) for s, name in _UNITS if largest >= 10 * s), (1.0, ""))
    texts = [f"{tick / size:.10g}" for tick in ticks]
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [f"{tick / size:.{decimals}f}{letter if tick else ''}".replace("-", "−") for tick in ticks]


def text_width(text: str, size: float) -> float:
    """Return about how wide a text is in a sans-serif font of this size, in the same unit; Chinese is full-width."""
    return sum(size if ord(letter) > 0x2E7F else 0.6 * size for letter in text)
