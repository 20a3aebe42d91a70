"""A step is a pure function: of its arguments and the weights, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from recurra.core import Cell
from recurra.testing.case import Case
from recurra.testing.compare import expect, expect_equal
from recurra.testing.subject import Subject

__all__ = [
    "a_call_leaves_the_cell_unchanged",
    "inputs_are_left_as_they_were",
    "the_step_draws_no_random_number",
    "two_calls_are_bit_equal",
]


def two_calls_are_bit_equal(subject: Subject) -> None:
    """Two calls with the same arguments give the same bits."""
    case = subject.case(steps=3, batch=2)
    first, second = case.run(), case.run()
    expect_equal("y of a second call", second.y, first.y)
    expect_equal("final state of a second call", second.state, first.state)


def inputs_are_left_as_they_were(subject: Subject) -> None:
    """A call changes neither the input nor the state nor the context that it was given."""
    case = subject.case(steps=3, batch=2)
    arguments = [case.x, *case.state, *(v for v in case.given if isinstance(v, Tensor))]
    before = [v.clone() for v in arguments]
    case.run()
    expect_equal("argument (x, states, context) after a call", arguments, before)


def a_call_leaves_the_cell_unchanged(subject: Subject) -> None:
    """A call changes no weight, buffer or attribute of the cell, while training or not."""
    for training in (False, True):
        case = subject.case(steps=3, batch=2)
        case.cell.train(training)
        before, attributes = {n: v.clone() for n, v in case.cell.state_dict().items()}, _attributes(case.cell)
        case.run()
        for name, value in case.cell.state_dict().items():
            expect_equal(f"{name} after a call", value, before[name])
        now = _attributes(case.cell)
        changed = sorted(k for k in attributes.keys() | now.keys() if attributes.get(k) is not now.get(k))
        expect(not changed, "attributes that a call changed", "none", ", ".join(changed))


def the_step_draws_no_random_number(subject: Subject) -> None:
    """The step draws no random number, and in eval mode neither does make_context: noise belongs into the context."""
    case = subject.case(steps=3, batch=2)
    _expect_no_draw("a call in eval mode", case.run)
    case.cell.train()
    _expect_no_draw("a step in training mode", lambda: _steps(case))


def _steps(case: Case) -> None:
    """Take the steps by hand, and let make_context alone be free to draw."""
    given = case.cell.make_context(case.given, case.steps, case.batch, case.x.device, case.x.dtype)
    torch.manual_seed(4)
    context = tuple(c if isinstance(c, Tensor) else c.tensor for c in given[0])
    case.cell(case.x[0], case.state, (*context, *(v[0] for v in given[1])))


def _expect_no_draw(what: str, call: Callable[[], Any]) -> None:
    torch.manual_seed(4)
    before = torch.get_rng_state()
    call()
    expect(torch.equal(torch.get_rng_state(), before), what, "no random number drawn", "another random state")


def _attributes(cell: Cell) -> dict[str, Any]:
    """Return every attribute of the cell and of the modules in it; torch's own tables by what is in them."""
    found: dict[str, Any] = {}
    for path, module in cell.named_modules():
        for name, value in vars(module).items():
            inner = value if isinstance(value, dict) else {}
            found[f"{path}.{name}".lstrip(".")] = value
            found |= {f"{path}.{name}.{key}".lstrip("."): v for key, v in inner.items()}
    return found
