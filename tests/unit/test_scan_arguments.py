"""What `scan` and `step` refuse, and how they say it; the choice of a backend."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch

from recurra import Recurrent, scan
from recurra.cells import get
from recurra.core.errors import ArgumentError, BackendError, ShapeError, UnknownNameError
from recurra.scan import BACKENDS, choose, step


@pytest.mark.parametrize(
    ("x", "got"), [((5, 3), r"\(5, 3\)"), ((5, 3, 4), r"\(5, 3, 4\)"), ((5, 3, 2, 1), r"\(5, 3, 2, 1\)")]
)
def test_inputs_of_another_shape(x: tuple[int, ...], got: str) -> None:
    with pytest.raises(ShapeError, match=rf"ElmanCell: expected an input of shape \(T, B, 2\), got {got}"):
        scan(get("elman")(2, 3), torch.zeros(x))


def test_a_step_has_no_time() -> None:
    with pytest.raises(ShapeError, match=r"expected an input of shape \(B, 2\), got \(5, 3, 2\)"):
        step(get("elman")(2, 3), torch.zeros(5, 3, 2))


def test_states_of_another_shape() -> None:
    cell = get("lstm")(2, 3)
    h = torch.zeros(4, 3)
    with pytest.raises(ShapeError, match=r"state 1 of LSTMCell: expected shape \(4, 3\), got \(4, 2\)"):
        scan(cell, torch.zeros(5, 4, 2), (h, torch.zeros(4, 2)))
    with pytest.raises(ShapeError, match=r"LSTMCell has a state of 2 tensor\(s\), got 1"):
        step(cell, torch.zeros(4, 2), (h,))


@pytest.mark.parametrize("active", [torch.ones(4), torch.ones(3, dtype=torch.bool), torch.ones(4, 1, dtype=torch.bool)])
def test_active_must_be_one_bool_a_row(active: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"active must be a bool tensor of shape \(4,\), got "):
        step(get("elman")(2, 3), torch.zeros(4, 2), active=active)


def test_gradients_flow_through_all_states() -> None:
    cell = get("lstm")(2, 3)
    result = scan(cell, torch.randn(5, 4, 2), lengths=[2, 5, 0, 4], keep_states=True)
    assert result.states is not None
    weights = list(cell.parameters())
    expected = torch.autograd.grad(result.y.sum(), weights, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(result.states[0].sum(), weights), expected)


def test_backends() -> None:
    assert {"auto", "reference"} <= set(BACKENDS)
    with pytest.raises(UnknownNameError, match="no backend is called 'refrence': did you mean 'reference'"):
        choose("refrence")
    with pytest.raises(UnknownNameError, match="no backend is called"):
        Recurrent("elman", 2, 3, backend="fastest")
    for name in BACKENDS:
        with contextlib.suppress(BackendError):
            assert callable(choose(name))


def test_a_backend_that_is_not_there_says_so() -> None:
    with pytest.raises(BackendError, match=r"backend 'triton' is not part of this version .* use backend='auto'"):
        Recurrent("elman", 2, 3, backend="triton")


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3"])
def test_sizes_must_be_positive_integers(size: Any) -> None:
    with pytest.raises(ArgumentError, match="input_size must be an integer of at least 1, got "):
        get("elman")(size, 3)
    with pytest.raises(ArgumentError, match="hidden_size must be an integer of at least 1, got "):
        get("elman")(3, size)
