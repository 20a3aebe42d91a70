"""Working memory is lent again when nobody holds it any more, and never before."""

from __future__ import annotations

import gc
import mmap

import pytest
import torch

import recurra as rc
from recurra.scan.spare_memory import SpareMemory, working_memory

pytestmark = pytest.mark.skipif(not hasattr(mmap, "MADV_FREE"), reason="the system cannot be told of spare memory")

LARGE = 20 << 20


def test_what_is_given_back_is_lent_again() -> None:
    spare = SpareMemory()
    first = spare.take(LARGE)
    assert first.nbytes == LARGE
    first.fill_(1)
    at = first.data_ptr()
    del first
    assert spare.take(LARGE).data_ptr() == at


def test_a_view_keeps_a_block() -> None:
    spare = SpareMemory()
    whole = spare.take(LARGE)
    part = whole[LARGE // 2 :].view(torch.float32)
    part.fill_(3.0)
    at = whole.data_ptr()
    del whole
    other = spare.take(LARGE)
    assert other.data_ptr() != at
    other.fill_(0)
    assert bool((part == 3.0).all())
    del part
    assert spare.take(LARGE).data_ptr() == at


def test_a_block_serves_what_is_at_least_half_as_large() -> None:
    spare = SpareMemory()
    first = spare.take(2 * LARGE)
    at = first.data_ptr()
    del first
    kept = [spare.take(size) for size in (2 * LARGE + (2 << 20), LARGE // 2, LARGE)]
    assert [t.data_ptr() == at for t in kept] == [False, False, True]


def test_the_longest_unused_block_goes_first() -> None:
    spare = SpareMemory(most=2)
    lent = [spare.take(LARGE * 4**k) for k in range(3)]
    places = [t.data_ptr() for t in lent]
    for k in range(3):
        lent[k] = torch.empty(0)
    kept = [len(block) for block in spare._blocks]
    assert len(kept) == 2
    assert spare.take(LARGE * 4).data_ptr() == places[1]
    assert spare.take(LARGE * 16).data_ptr() == places[2]


def test_zeros_are_zeros_again() -> None:
    memory = working_memory(LARGE, zeros=True)
    memory.fill_(7)
    del memory
    assert not bool(working_memory(LARGE, zeros=True).any())


@pytest.mark.parametrize("ragged", [False, True])
def test_gradients_of_one_step_survive_the_next(ragged: bool) -> None:
    layer = rc.LSTM(8, 64)
    x = torch.randn(400, 40, 8)
    lengths = torch.arange(361, 401) if ragged else None

    def gradients(scale: float) -> list[torch.Tensor]:
        given = (x * scale).requires_grad_()
        packed = (
            given if lengths is None else torch.nn.utils.rnn.pack_padded_sequence(given, lengths, enforce_sorted=False)
        )
        y = layer(packed)[0]
        out = y if lengths is None else torch.nn.utils.rnn.pad_packed_sequence(y)[0]
        return list(torch.autograd.grad(out.square().sum(), [given, *layer.parameters()]))

    first = gradients(1.0)
    copies = [g.clone() for g in first]
    for k in range(3):
        gradients(2.0 + k)
    gc.collect()
    assert all(torch.equal(a, b) for a, b in zip(first, copies, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(gradients(1.0), copies, strict=True))
