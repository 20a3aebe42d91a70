"""The echo state reservoir beside its equation, and what must hold of its weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurra import Recurrent, cells, scan
from recurra.core.errors import ArgumentError

T, B, I, H = 7, 2, 3, 40  # noqa: E741


def test_equals_the_papers_equation() -> None:
    cell = cells.get("echo_state")(I, H, leak=0.3).double()
    x, h = np.random.default_rng(0).normal(size=(T, B, I)), np.zeros((B, H))
    y = scan(cell, torch.from_numpy(x)).y.numpy()
    w_in, w, b = (v.numpy() for v in (cell.weight_in, cell.weight_hh, cell.bias))
    for t in range(T):
        h = 0.7 * h + 0.3 * np.tanh(x[t] @ w_in.T + h @ w.T + b)
        np.testing.assert_allclose(y[t], h, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_the_largest_eigenvalue_is_the_spectral_radius(size: int) -> None:
    cell = cells.get("echo_state")(I, size, spectral_radius=1.25)
    assert np.abs(np.linalg.eigvals(cell.weight_hh.double().numpy())).max() == pytest.approx(1.25, rel=1e-5)


def test_every_unit_hears_equally_many_others() -> None:
    weight = cells.get("echo_state")(I, H, density=0.15).weight_hh
    assert ((weight != 0).sum(1) == 6).all()
    assert ((cells.get("echo_state")(I, H, density=0.001).weight_hh != 0).sum(1) == 1).all()


def test_inputs_are_scaled() -> None:
    cell = cells.get("echo_state")(I, H, input_scaling=0.1)
    largest = float(torch.cat([cell.weight_in.flatten(), cell.bias]).abs().max())
    assert 0.09 < largest <= 0.1


def test_it_is_never_trained_and_is_saved() -> None:
    rnn = Recurrent("echo_state", I, H, 2)
    assert not list(rnn.parameters())
    assert "layers.1.forward.weight_hh" in rnn.state_dict()


def test_the_echo_of_the_start_fades() -> None:
    cell = cells.get("echo_state")(I, H, spectral_radius=0.9).double()
    x = torch.randn(400, 1, I, dtype=torch.float64)
    one, other = (scan(cell, x, (torch.full((1, H), s, dtype=torch.float64),)).y[-1] for s in (1.0, -1.0))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_shares_that_cannot_be_are_refused() -> None:
    with pytest.raises(ArgumentError, match="density must be above 0 and at most 1, got 0"):
        cells.get("echo_state")(I, H, density=0)
    with pytest.raises(ArgumentError, match=r"leak must be above 0 and at most 1, got 1\.5"):
        cells.get("echo_state")(I, H, leak=1.5)
    with pytest.raises(ArgumentError, match="spectral_radius must not be negative, got -1"):
        cells.get("echo_state")(I, H, spectral_radius=-1)
