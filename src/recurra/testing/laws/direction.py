"""Backwards through a sequence."""

from __future__ import annotations

from recurra.testing.compare import expect_close
from recurra.testing.subject import Subject

__all__ = ["reversed_equals_flipped"]


def reversed_equals_flipped(subject: Subject) -> None:
    """A reversed call equals a forward call on the flipped sequence; with lengths, only the valid part is flipped."""
    case = subject.case(steps=5, batch=4)
    backwards = case.times(list(range(case.steps))[::-1])
    result, flipped = case.run(reverse=True, keep_states=True), backwards.run(keep_states=True)
    expect_close("y", result.y, flipped.y.flip(0))
    expect_close("final state", result.state, flipped.state)
    expect_close("states", result.states or (), [s.flip(0) for s in flipped.states or ()])

    lengths = (2, 5, 0, 4)
    result = case.run(reverse=True, lengths=lengths, keep_states=True)
    for b, n in enumerate(lengths):
        alone = case.row(b, n).times(list(range(n))[::-1]).run(keep_states=True)
        expect_close(f"y of row {b}, length {n},", result.y[:n, b : b + 1], alone.y.flip(0))
        expect_close(f"final state of row {b}, length {n},", [s[b : b + 1] for s in result.state], alone.state)
        kept = [s[:n, b : b + 1] for s in result.states or ()]
        expect_close(f"states of row {b}, length {n},", kept, [s.flip(0) for s in alone.states or ()])
