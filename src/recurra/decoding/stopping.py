"""Ending a text where another text appears in it, though it comes in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["until"]


def until(pieces: Iterable[str], stop: str) -> Iterator[str]:
    """Pass text on up to `stop` (not empty), wherever the borders of the pieces fall; nothing of `stop` is passed on.

    What might be its beginning is held back until the next pieces decide.
    """
    held = ""
    for piece in pieces:
        held += piece
        if stop in held:
            yield held[: held.index(stop)]
            return
        keep = next((n for n in range(min(len(stop) - 1, len(held)), 0, -1) if stop.startswith(held[-n:])), 0)
        if len(held) > keep:
            yield held[: len(held) - keep]
            held = held[len(held) - keep :]
    if held:
        yield held
