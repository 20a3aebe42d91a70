"""Batches without rows, sequences without steps."""

from __future__ import annotations

from recurra.testing.compare import expect, expect_equal
from recurra.testing.subject import Subject

__all__ = ["no_rows_and_no_steps_work"]


def no_rows_and_no_steps_work(subject: Subject) -> None:
    """A batch of no rows and a sequence of no steps give results of the right shapes, and finite gradients."""
    for steps, batch in ((3, 0), (0, 2), (0, 0)):
        case = subject.case(steps, batch)
        for options in ({}, {"lengths": (0,) * batch}, {"reverse": True}):
            result, grads = case.gradients(keep_states=True, **options)
            said = f"for T = {steps}, B = {batch}"
            shape = (steps, batch, *case.cell.output_shape)
            expect(tuple(result.y.shape) == shape, f"y {said}", shape, tuple(result.y.shape))
            expect_equal(f"final state {said}", result.state, case.state)
            for k, (kept, s) in enumerate(zip(result.states or (), case.state, strict=True)):
                shape = (steps, *s.shape)
                expect(tuple(kept.shape) == shape, f"states {k} {said}", shape, tuple(kept.shape))
            for name, g in grads.items():
                expect(bool(g.isfinite().all()), f"gradient of {name} {said}", "finite numbers", g)
    case = subject.case(steps=3, batch=2)
    result, grads = case.gradients(lengths=(0, 0))
    expect_equal("final state of rows of length 0", result.state, case.state)
    for name, g in grads.items():
        expect(bool(g.isfinite().all()), f"gradient of {name} for rows of length 0", "finite numbers", g)
