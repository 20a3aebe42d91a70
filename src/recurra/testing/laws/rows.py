"""The rows of a batch know nothing of one another."""

from __future__ import annotations

from recurra.scan import scan
from recurra.testing.compare import expect_close
from recurra.testing.subject import Subject

__all__ = ["a_row_of_a_batch_equals_that_row_alone"]


def a_row_of_a_batch_equals_that_row_alone(subject: Subject) -> None:
    """Each row of a batch is treated alone: it gives what it gives in a batch of one, from any state."""
    case = subject.case(steps=4, batch=3)
    started = case.run()
    fresh = scan(case.cell, case.x, context=case.given)
    for b in range(case.batch):
        alone = case.rows([b])
        result = alone.run()
        expect_close(f"y of row {b}", started.y[:, b : b + 1], result.y)
        expect_close(f"final state of row {b}", [s[b : b + 1] for s in started.state], result.state)
        result = scan(alone.cell, alone.x, context=alone.given)
        expect_close(f"y of row {b} from the initial state", fresh.y[:, b : b + 1], result.y)
