"""ConvLSTM and ConvGRU beside a convolution written out by shifting the grid, and beside their vector cousins."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from recurra import Recurrent, cells, compile_report, scan
from recurra.core.errors import ArgumentError
from recurra.scan import cpp_compiler

Array = Any
T, B, I, H = 3, 2, 2, 3  # noqa: E741
GRIDS = [(5,), (4, 3), (3, 2, 4)]


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def convolve(w: Array, x: Array) -> Array:
    """Return sum over the kernel's places of w[place] x[shifted there], for one picture x (channels, *grid)."""
    dims = x.ndim - 1
    reach = w.shape[2] // 2
    padded = np.pad(x, [(0, 0)] + [(reach, reach)] * dims)
    total = np.zeros((w.shape[0], *x.shape[1:]))
    for place in itertools.product(range(w.shape[2]), repeat=dims):
        window = tuple(slice(p, p + n) for p, n in zip(place, x.shape[1:], strict=True))
        total += np.tensordot(w[(slice(None), slice(None), *place)], padded[(slice(None), *window)], 1)
    return total


def over_channels(b: Array, dims: int) -> Array:
    return b.reshape(-1, *[1] * dims)


def conv_lstm(w: dict[str, Array], x: Array, s: Any) -> Any:
    h, c = s
    a = convolve(w["weight_ih"], x) + over_channels(w["bias"], x.ndim - 1) + convolve(w["weight_hh"], h)
    i, f, g, o = np.split(a, 4)
    p_i, p_f, p_o = w["peephole"]
    i, f = sigmoid(i + p_i * c), sigmoid(f + p_f * c)
    c = f * c + i * np.tanh(g)
    h = sigmoid(o + p_o * c) * np.tanh(c)
    return h, (h, c)


def conv_gru(w: dict[str, Array], x: Array, s: Any) -> Any:
    (h,) = s
    x_r, x_z, x_n = np.split(convolve(w["weight_ih"], x) + over_channels(w["bias"], x.ndim - 1), 3)
    w_r, w_z, w_n = np.split(w["weight_hh"], 3)
    r, z = sigmoid(x_r + convolve(w_r, h)), sigmoid(x_z + convolve(w_z, h))
    h = z * h + (1 - z) * np.tanh(x_n + convolve(w_n, r * h))
    return h, (h,)


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{len(g)}-D")
@pytest.mark.parametrize(("name", "equation"), [("conv_lstm", conv_lstm), ("conv_gru", conv_gru)])
def test_equals_the_papers_equation(name: str, equation: Any, grid: Sequence[int], kernel_size: int) -> None:
    cell = cells.get(name)(I, H, grid=grid, kernel_size=kernel_size).double()
    x = torch.randn(T, B, I, *grid, dtype=torch.float64)
    start = tuple(torch.randn(B, *shape, dtype=torch.float64) for shape in cell.state_shapes())
    result = scan(cell, x, start)
    weights = {k: v.numpy() for k, v in cell.state_dict().items()}
    for b in range(B):
        state = tuple(s[b].numpy() for s in start)
        for t in range(T):
            y, state = equation(weights, x[t, b].numpy(), state)
            np.testing.assert_allclose(result.y[t, b].detach().numpy(), y, rtol=1e-10, atol=1e-12)
        for got, expected in zip(result.state, state, strict=True):
            np.testing.assert_allclose(got[b].detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_on_a_grid_of_one_place_it_is_the_lstm() -> None:
    vector = cells.get("lstm")(I, H).double()
    picture = cells.get("conv_lstm")(I, H, grid=(1,), kernel_size=1).double()
    w = vector.state_dict()
    picture.load_state_dict(
        {
            "weight_ih": w["weight_ih"].unsqueeze(-1),
            "weight_hh": w["weight_hh"].unsqueeze(-1),
            "bias": w["bias_ih"] + w["bias_hh"],
            "peephole": torch.zeros(3, H, 1, dtype=torch.float64),
        }
    )
    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(scan(picture, x.unsqueeze(-1)).y.squeeze(-1), scan(vector, x).y)


def test_layers_of_pictures_two_ways() -> None:
    rnn = Recurrent("conv_gru", I, H, num_layers=2, bidirectional=True, grid=(4, 5))
    y, state = rnn(torch.randn(T, B, I, 4, 5), lengths=[3, 1])
    assert y.shape == (T, B, 2 * H, 4, 5)
    assert state.shape == (4, B, H, 4, 5)


@pytest.mark.parametrize("name", ["conv_lstm", "conv_gru"])
def test_grids_and_kernels_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match=r"grid must be 1, 2 or 3 sizes of at least 1, got \(2, 2, 2, 2\)"):
        cells.get(name)(I, H, grid=(2, 2, 2, 2))
    with pytest.raises(ArgumentError, match="kernel_size must be odd, so that the grid keeps its size, got 2"):
        cells.get(name)(I, H, kernel_size=2)


@pytest.mark.parametrize("name", ["conv_lstm", "conv_gru"])
def test_the_inputs_convolution_can_be_hoisted_over_all_of_time(name: str) -> None:
    """Under `backend="hoisted"` there is one convolution fewer at every step, and one over all T * B pictures."""
    cell = cells.get(name)(I, H).double()
    x = torch.randn(T, B, *cell.input_shape, dtype=torch.float64, requires_grad=True)
    counts, made = [], []
    for backend in ("reference", "hoisted"):
        scan(cell, x, backend=backend)
        with torch.profiler.profile() as profile:
            y = scan(cell, x, backend=backend, lengths=[T, 1]).y
        counts.append(sum(e.count for e in profile.key_averages() if e.key == "aten::convolution"))
        made.append([y, *torch.autograd.grad(y.square().sum(), [x, *cell.parameters()])])
    per_step = counts[0] // T
    assert counts == [per_step * T, (per_step - 1) * T + 1]
    torch.testing.assert_close(made[1], made[0], rtol=1e-10, atol=1e-12)


@pytest.mark.skipif(cpp_compiler() is None, reason="no C++ compiler on this machine")
@pytest.mark.parametrize("name", ["conv_lstm", "conv_gru"])
def test_the_report_says_in_one_line_why_it_runs_by_the_loop(name: str) -> None:
    told = str(compile_report(Recurrent(name, I, H))).splitlines()
    assert told[0].endswith("runs by the loop")
    assert re.search(rf"because +aten.convolution.default: the compiler has no rule for it \({name}.py:\d+", told[1])
    assert len(told) == 2
