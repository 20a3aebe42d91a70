"""One step at a time."""

from __future__ import annotations

import math

import torch

from recurra.scan import step
from recurra.testing.compare import expect_close, expect_equal
from recurra.testing.subject import Subject

__all__ = ["inactive_rows_stand_still", "streaming_equals_the_whole"]


def streaming_equals_the_whole(subject: Subject) -> None:
    """Step by step, a sequence gives what it gives in one call."""
    case = subject.case(steps=4, batch=3)
    whole = case.run(keep_states=True)
    state = case.state
    for t in range(case.steps):
        now = case.times(slice(t, t + 1))
        y, state = step(case.cell, now.x[0], state, context=now.given)
        expect_close(f"y of step {t}", y, whole.y[t])
        expect_close(f"state after step {t}", state, [s[t] for s in whole.states or ()])


def inactive_rows_stand_still(subject: Subject) -> None:
    """Rows that are not active keep their state bit for bit and give zeros; the others do not notice them."""
    case = subject.case(steps=1, batch=4)
    y_all, state_all = step(case.cell, case.x[0], case.state, context=case.given)
    for mask in ((True, False, True, False), (False,) * 4, (True,) * 4):
        active = torch.tensor(mask)
        x = case.x[0].clone()
        x[~active] = math.nan
        y, state = step(case.cell, x, case.state, context=case.given, active=active)
        expect_close("y of the active rows", y[active], y_all[active])
        expect_close("state of the active rows", [s[active] for s in state], [s[active] for s in state_all])
        expect_equal("y of the inactive rows", y[~active], torch.zeros_like(y[~active]))
        expect_equal("state of the inactive rows", [s[~active] for s in state], [s[~active] for s in case.state])
