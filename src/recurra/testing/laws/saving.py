"""Weights that are saved and loaded, and cells that are copied."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from safetensors.torch import load, save

from recurra.testing.case import Case
from recurra.testing.compare import expect_equal
from recurra.testing.subject import Subject

__all__ = ["a_copy_is_bit_equal", "saved_and_loaded_is_bit_equal"]


def saved_and_loaded_is_bit_equal(subject: Subject) -> None:
    """A cell made anew, with the saved state_dict loaded, gives the same bits: every weight and buffer is in it."""
    case = subject.case(steps=3, batch=2)
    saved = save({name: v.contiguous().clone() for name, v in case.cell.state_dict().items()})
    fresh = subject.another()
    fresh.load_state_dict(load(saved))
    _expect_same("a cell with the weights loaded", case, replace(case, cell=fresh))


def a_copy_is_bit_equal(subject: Subject) -> None:
    """A deep copy gives the same bits."""
    case = subject.case(steps=3, batch=2)
    _expect_same("a deep copy", case, replace(case, cell=deepcopy(case.cell)))


def _expect_same(what: str, one: Case, other: Case) -> None:
    expected, got = one.run(), other.run()
    expect_equal(f"y of {what}", got.y, expected.y)
    expect_equal(f"final state of {what}", got.state, expected.state)
