"""The cell in layers: `Recurrent`, stacked and bidirectional."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from recurra.core import index_rows
from recurra.layers import Recurrent
from recurra.testing.case import Case
from recurra.testing.compare import expect, expect_close, expect_equal
from recurra.testing.subject import Subject

__all__ = [
    "layers_equal_each_row_alone",
    "layers_go_on_from_a_state",
    "layers_return_all_states",
    "layers_stream",
    "names_of_weights_in_layers",
]

_LENGTHS = (3, 0, 5, 1)


def names_of_weights_in_layers(subject: Subject) -> None:
    """In Recurrent, weights are named layers.{k}.{forward|reverse}.<the cell's own names>."""
    rnn = subject.recurrent(bidirectional=True)
    own = list(subject.cell().state_dict())
    expected = sorted(
        f"layers.{k}.{way}.{name}" for k in range(rnn.num_layers) for way in ("forward", "reverse") for name in own
    )
    got = sorted(rnn.state_dict())
    expect(got == expected, "names in the state_dict", expected, got)


def layers_equal_each_row_alone(subject: Subject) -> None:
    """In a bidirectional stack with lengths, each row gives what it gives alone; the padding of y is zero."""
    rnn = subject.recurrent(bidirectional=True)
    case = subject.case(steps=5, batch=4)
    y, state = rnn(case.x, lengths=torch.tensor(_LENGTHS), context=case.given)
    for b, n in enumerate(_LENGTHS):
        row = case.row(b, n)
        alone, own = rnn(row.x, context=row.given)
        expect_close(f"y of row {b}, length {n},", y[:n, b : b + 1], alone)
        expect_equal(f"padding of y in row {b}, length {n},", y[n:, b], torch.zeros_like(y[n:, b]))
        expect_close(f"final state of row {b}, length {n},", _leaves(index_rows(state, [b])), _leaves(own))


def layers_return_all_states(subject: Subject) -> None:
    """return_all_states is aligned to the input's time, zero in the padding, and holds the final state at its end."""
    rnn = subject.recurrent(bidirectional=True)
    case = subject.case(steps=5, batch=4)
    y, state, states = rnn(case.x, lengths=_LENGTHS, context=case.given, return_all_states=True)
    plain, _ = rnn(case.x, lengths=_LENGTHS, context=case.given)
    expect_equal("y with return_all_states", y, plain)
    apart = partial(_per_cell, subject, rnn)
    for k, (final, kept) in enumerate(zip(apart(state), apart(states), strict=True)):
        backwards = k % 2 == 1
        for b, n in enumerate(_LENGTHS):
            said = f"states of layer {k // 2}, {'reverse' if backwards else 'forward'}, row {b}, length {n},"
            for all_steps, last in zip(kept, final, strict=True):
                expect_equal(f"padding of the {said}", all_steps[n:, b], torch.zeros_like(all_steps[n:, b]))
                if n:
                    expect_equal(f"end of the {said}", all_steps[0 if backwards else n - 1, b], last[b])


def layers_go_on_from_a_state(subject: Subject) -> None:
    """A stack goes on from the state that it returned; handing over the initial state changes nothing."""
    rnn = subject.recurrent(bidirectional=False)
    case = subject.case(steps=5, batch=3)
    whole, end = rnn(case.x, context=case.given)
    y = _go_on(rnn, case, rnn.initial_state(case.batch))
    expect_close("y from initial_state", y[0], whole)
    expect_close("final state from initial_state", _leaves(y[1]), _leaves(end))
    first, middle = _go_on(rnn, case.times(slice(0, 2)), None)
    second, last = _go_on(rnn, case.times(slice(2, None)), middle)
    expect_close("y in two parts", torch.cat([first, second]), whole)
    expect_close("final state in two parts", _leaves(last), _leaves(end))


def layers_stream(subject: Subject) -> None:
    """Recurrent.step, one step at a time, equals the whole; rows that are not active stand still."""
    rnn = subject.recurrent(bidirectional=False)
    case = subject.case(steps=5, batch=4)
    whole, end = rnn(case.x, lengths=_LENGTHS, context=case.given)
    state: Any = rnn.initial_state(case.batch)
    for t in range(case.steps):
        now = case.times(slice(t, t + 1))
        active = torch.tensor([t < n for n in _LENGTHS])
        y, state = rnn.step(now.x[0], state, context=now.given, active=active)
        expect_close(f"y of step {t}", y, whole[t])
    expect_close("final state of the steps", _leaves(state), _leaves(end))


def _go_on(rnn: Recurrent, case: Case, state: Any) -> tuple[Tensor, Any]:
    return rnn(case.x, state, context=case.given)


def _leaves(state: Any) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else [leaf for entry in state for leaf in _leaves(entry)]


def _per_cell(subject: Subject, rnn: Recurrent, state: Any) -> list[list[Tensor]]:
    """Take a stack's state apart: for each layer and direction the list of its tensors."""
    entries = (state,) if len(subject.cell().state_shapes()) == 1 else state
    return [[entry[k] for entry in entries] for k in range(2 * rnn.num_layers)]
