"""What a call needed for its backward is freed with its outputs: no output holds the call that made it."""

from __future__ import annotations

import gc

import pytest
import torch

import recurra


def live_tensors() -> list[torch.Tensor]:
    gc.collect()
    return [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]


@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("cell", ["lstm", "sru", "neural_turing_machine"])  # y is a state, and is none
def test_compiled_calls_leave_nothing_behind(cell: str, backward: bool) -> None:
    rnn = recurra.Recurrent(cell, 6, 6, backend="cpp")

    def call() -> None:
        y, _ = rnn(torch.randn(5, 4, 6, requires_grad=True))
        if backward:
            y.sum().backward()

    for _ in range(2):  # what is made once: kernels, their trial, gradients
        call()
    before = live_tensors()  # held, so that none of an earlier test's goes meanwhile and hides one that stays
    for _ in range(3):
        call()
    known = set(map(id, before))
    assert not [t.shape for t in live_tensors() if id(t) not in known]
