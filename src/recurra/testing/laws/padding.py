"""Sequences of different lengths in one batch."""

from __future__ import annotations

import math

import torch

from recurra.testing.compare import expect_close, expect_equal
from recurra.testing.subject import Subject

__all__ = ["padded_equals_ragged", "padding_reaches_nothing"]

_LENGTHS = (3, 0, 5, 1)


def padded_equals_ragged(subject: Subject) -> None:
    """A padded batch gives what its sequences give alone: outputs, states, gradients; the padding of y is zero."""
    case = subject.case(steps=5, batch=4)
    result, grads = case.gradients(lengths=_LENGTHS, keep_states=True)
    total = {name: torch.zeros_like(g) for name, g in grads.items() if name.startswith("cell.")}
    for b, n in enumerate(_LENGTHS):
        alone, row_grads = case.row(b, n).gradients(keep_states=True)
        expect_close(f"y of row {b}, length {n},", result.y[:n, b : b + 1], alone.y)
        expect_equal(f"padding of y in row {b}, length {n},", result.y[n:, b], torch.zeros_like(result.y[n:, b]))
        expect_close(f"final state of row {b}, length {n},", [s[b : b + 1] for s in result.state], alone.state)
        for kept, own in zip(result.states or (), alone.states or (), strict=True):
            expect_close(f"states of row {b}, length {n},", kept[:n, b : b + 1], own)
            expect_equal(f"padding of the states in row {b}, length {n},", kept[n:, b], torch.zeros_like(kept[n:, b]))
        expect_close(f"gradient of x in row {b}, length {n},", grads["x"][:n, b : b + 1], row_grads["x"])
        for name in total:
            total[name] += row_grads[name]
        for name in grads:
            if name.startswith("state."):
                expect_close(f"gradient of {name} in row {b}, length {n},", grads[name][b : b + 1], row_grads[name])
    for name, summed in total.items():
        expect_close(f"gradient of {name}", grads[name], summed)
    ended = _LENGTHS.index(0)
    expect_equal("state of an empty row", [s[ended] for s in result.state], [s[ended] for s in case.state])


def padding_reaches_nothing(subject: Subject) -> None:
    """What lies in the padding, NaN included, changes no bit of outputs, states and gradients, in either direction."""
    case = subject.case(steps=5, batch=4)
    for reverse in (False, True):
        clean, clean_grads = case.padded(_LENGTHS, 0.0).gradients(lengths=_LENGTHS, reverse=reverse)
        result, grads = case.padded(_LENGTHS, math.nan).gradients(lengths=_LENGTHS, reverse=reverse)
        expect_equal("y with NaN in the padding", result.y, clean.y)
        expect_equal("final state with NaN in the padding", result.state, clean.state)
        for name, g in grads.items():
            expect_equal(f"gradient of {name} with NaN in the padding", g, clean_grads[name])
        for b, n in enumerate(_LENGTHS):
            expect_equal(f"gradient of x in the padding of row {b}", grads["x"][n:, b], torch.zeros_like(case.x[n:, b]))
