"""A sequence may be cut anywhere."""

from __future__ import annotations

import torch

from recurra.testing.compare import expect_close
from recurra.testing.subject import Subject

__all__ = ["two_parts_equal_the_whole"]


def two_parts_equal_the_whole(subject: Subject) -> None:
    """scan(a + b) equals scan(b) from where scan(a) ended: all memory is in the state, and no step knows T."""
    case = subject.case(steps=5, batch=3)
    whole = case.run()
    for cut in (1, 3):
        first = case.times(slice(0, cut)).run()
        second = case.times(slice(cut, None)).after(first.state).run()
        expect_close(f"y of the parts, cut at {cut},", torch.cat([first.y, second.y]), whole.y)
        expect_close(f"final state of the parts, cut at {cut},", second.state, whole.state)
