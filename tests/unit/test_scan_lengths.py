"""Lengths: every form that is taken, every form that is refused, and turning only the valid part around."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recurra import Recurrent, scan
from recurra.cells import get
from recurra.core.errors import ArgumentError, CellError, ShapeError
from recurra.scan.lengths import Rows, check_lengths, reverse_valid
from recurra.scan.scan import check_context

raggeds = st.lists(st.integers(0, 5), min_size=1, max_size=5)


@pytest.mark.parametrize(
    "lengths",
    [
        [2, 0, 5],
        (2, 0, 5),
        torch.tensor([2, 0, 5]),
        torch.tensor([2, 0, 5], dtype=torch.int32),
        torch.tensor([2, 0, 5], dtype=torch.uint8),
        torch.tensor([[5, 0, 2]])[0].flip(0),
    ],
)
def test_every_form_of_lengths(lengths: Any) -> None:
    assert check_lengths(lengths, 5, 3) == (2, 0, 5)


def test_full_lengths_and_none_are_no_lengths() -> None:
    assert check_lengths(None, 5, 3) is None
    assert check_lengths([5, 5, 5], 5, 3) is None
    assert check_lengths([], 5, 0) is None


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([2, 6, 1], r"lengths\[1\] is 6, but must be between 0 and the number of steps, 5"),
        ([2, 1, -1], r"lengths\[2\] is -1, but must be between 0"),
        ([2, 1], r"shape \(3,\), one for each row of the batch, got \(2,\)"),
        ([[2, 1, 1]], r"shape \(3,\), one for each row of the batch, got \(1, 3\)"),
        (torch.tensor(3), r"shape \(3,\), one for each row of the batch, got \(\)"),
        ([2.0, 1.0, 3.0], "lengths must be integers, got torch.float32"),
        (torch.tensor([True, False, True]), "lengths must be integers, got torch.bool"),
    ],
)
def test_bad_lengths_are_refused_everywhere(lengths: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        scan(get("elman")(2, 3), torch.zeros(5, 3, 2), lengths=lengths)
    with pytest.raises(ShapeError, match=message):
        Recurrent("elman", 2, 3)(torch.zeros(5, 3, 2), lengths=lengths)


@given(raggeds)
def test_reversing_turns_the_valid_part_and_is_its_own_inverse(lengths: list[int]) -> None:
    v = torch.arange(5 * len(lengths) * 2).view(5, len(lengths), 2)
    turned = reverse_valid(v, lengths)
    for b, n in enumerate(lengths):
        assert torch.equal(turned[:n, b], v[:n, b].flip(0))
        assert torch.equal(turned[n:, b], v[n:, b])
    assert torch.equal(reverse_valid(turned, lengths), v)
    assert torch.equal(reverse_valid(v, None), v.flip(0))


@given(raggeds)
def test_rows_run_in_order_of_falling_length(lengths: list[int]) -> None:
    rows = Rows(lengths, 5, len(lengths), torch.device("cpu"))
    ordered = rows.sort(torch.tensor(lengths), 0)
    assert ordered.tolist() == sorted(lengths, reverse=True)
    assert rows.unsort(ordered, 0).tolist() == lengths
    for t, n in enumerate(rows.running):
        assert n == sum(length > t for length in lengths)
    assert len(rows.running) == max(*lengths, 1)


@given(raggeds)
def test_order_of_rows_does_not_matter(lengths: list[int]) -> None:
    cell = get("gru")(2, 3).double()
    x = torch.randn(5, len(lengths), 2, dtype=torch.float64)
    shuffled = torch.randperm(len(lengths))
    y, (h,), _ = scan(cell, x, lengths=lengths)
    y_other, (h_other,), _ = scan(cell, x[:, shuffled], lengths=torch.tensor(lengths)[shuffled])
    torch.testing.assert_close(y_other, y[:, shuffled])
    torch.testing.assert_close(h_other, h[shuffled])


def test_context_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(CellError, match=r"per_step context 0 must have shape \(5, 3, ...\), got \(4, 3\)"):
        check_context(((), (torch.zeros(4, 3),)), 5, 3)
    with pytest.raises(ArgumentError, match=r"ElmanCell.step\(x, state\) takes no context, but got 1"):
        scan(get("elman")(2, 3), torch.zeros(5, 3, 2), context=(torch.zeros(3, 1),))
