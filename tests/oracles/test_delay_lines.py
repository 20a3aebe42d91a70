"""Models whose memory is their taps: beside convolutions, least squares and loops written by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra import Recurrent, cells, scan
from recurra.core import Cell
from recurra.core.errors import ArgumentError, ShapeError
from recurra.scan import step
from recurra.wrappers import get

T, B, I, H = 9, 2, 3, 4  # noqa: E741
Windowed = get("windowed")


def data(*shape: int) -> Tensor:
    return torch.randn(*(shape or (T, B, I)), dtype=torch.float64)


@pytest.mark.parametrize("delays", [(0, 1, 2), (1, 2, 3), (0, 4), (2,)])
def test_tdnn_is_a_causal_convolution(delays: tuple[int, ...]) -> None:
    cell = cells.get("tdnn")(I, H, delays=delays).double()
    kernel = torch.zeros(H, I, max(delays) + 1, dtype=torch.float64)
    for k, d in enumerate(delays):
        kernel[..., max(delays) - d] = cell.weight.detach()[:, k * I : (k + 1) * I]
    x = data()
    padded = F.pad(x.permute(1, 2, 0), (max(delays), 0))
    expected = torch.tanh(F.conv1d(padded, kernel, cell.bias)).permute(2, 0, 1)
    torch.testing.assert_close(scan(cell, x).y, expected)


def test_stacked_tdnns_remember_the_sum_of_their_taps_and_no_more() -> None:
    rnn = Recurrent("tdnn", I, H, num_layers=3, delays=(0, 2)).double()
    x = data().requires_grad_()
    y, _ = rnn(x)
    (g,) = torch.autograd.grad(y[8].sum(), x)
    heard = (g != 0).any(-1).any(-1).tolist()
    assert heard == [t in (8, 6, 4, 2) for t in range(T)]


def test_ar_is_a_linear_tdnn_on_its_own_past() -> None:
    order = 4
    ar = cells.get("ar")(I, order).double()
    tdnn = cells.get("tdnn")(I, I, delays=range(order), nonlinearity="identity").double()
    tdnn.load_state_dict(ar.state_dict())
    series = data()
    assert torch.equal(scan(ar, series).y, scan(tdnn, series).y)


def test_ar_is_the_textbooks_sum() -> None:
    ar = cells.get("ar")(1, 2).double()
    with torch.no_grad():
        ar.weight.copy_(torch.tensor([[0.5, -0.25]]))
        ar.bias.fill_(3.0)
    series = torch.tensor([1.0, 2.0, 4.0]).double().view(3, 1, 1)
    # w_0 + w_1 x_t + w_2 x_{t-1}, nothing before the first
    assert scan(ar, series).y.flatten().tolist() == [3.5, 3.75, 4.5]


def test_ar_fitted_by_bptt_agrees_with_least_squares() -> None:
    order, length = 3, 200
    torch.manual_seed(3)
    noise = torch.randn(length, dtype=torch.float64)
    values = [0.0] * order
    for e in noise.tolist():
        values.append(0.4 + 0.6 * values[-1] - 0.3 * values[-2] + 0.2 * values[-3] + e)
    series = torch.tensor(values, dtype=torch.float64)
    past = torch.stack([series[order - k : -k] for k in range(1, order + 1)] + [torch.ones(length).double()], 1)
    solution = torch.linalg.lstsq(past, series[order:]).solution

    ar = cells.get("ar")(1, order).double()
    optimizer = torch.optim.LBFGS(
        ar.parameters(), max_iter=100, tolerance_grad=1e-12, tolerance_change=1e-18, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        predicted = scan(ar, series[:-1].view(-1, 1, 1)).y.flatten()
        loss = F.mse_loss(predicted[order - 1 :], series[order:])
        loss.backward()
        return loss

    optimizer.step(closure)
    found = torch.cat([ar.weight.detach().flatten(), ar.bias.detach()])
    torch.testing.assert_close(found, solution, rtol=1e-6, atol=1e-7)


def narx_by_hand(cell: Any, x: Tensor, remembered: Tensor | None) -> Tensor:
    """Run the NARX over lists of what came before; `remembered` are the true outputs of an open loop."""
    (outputs,) = cell.output_shape
    zeros = torch.zeros(x.shape[1], x.shape[2], dtype=x.dtype), torch.zeros(x.shape[1], outputs, dtype=x.dtype)
    ys: list[Tensor] = []
    for t in range(x.shape[0]):
        fed_back = ys if remembered is None else list(remembered)
        z = cell.b
        if cell.W is not None:
            taps = [x[t - d] if t >= d else zeros[0] for d in cell.input_delays]
            z = z + torch.cat(taps, -1) @ cell.W.T
        z = z + torch.cat([fed_back[t - d] if t >= d else zeros[1] for d in cell.output_delays], -1) @ cell.U.T
        ys.append(torch.tanh(z) @ cell.V.T + cell.c)
    return torch.stack(ys)


NARX: list[dict[str, Any]] = [
    {},
    {"output_size": 1, "input_delays": (0,), "output_delays": (1,)},
    {"output_size": 2, "input_delays": (1, 3), "output_delays": (2, 4, 1)},
    {"output_size": 2, "input_delays": ()},
]


@pytest.mark.parametrize("options", NARX, ids=str)
def test_narx_closed_and_open_loop(options: dict[str, Any]) -> None:
    cell = cells.get("narx")(I, H, **options).double()
    x, targets = data(), data(T, B, *cell.output_shape)
    torch.testing.assert_close(scan(cell, x).y, narx_by_hand(cell, x, None))
    opened = scan(cell, x, context=(targets,))
    torch.testing.assert_close(opened.y, narx_by_hand(cell, x, targets))
    # Its own outputs as targets: the open loop is the closed one.
    own = scan(cell, x).y.detach()
    torch.testing.assert_close(scan(cell, x, context=(own,)).y, own)


def test_narx_forced_step_by_step() -> None:
    cell = cells.get("narx")(I, H, output_size=2).double()
    x, targets, forced = data(), data(T, B, 2), torch.rand(T, B) < 0.5
    state = cell.initial_state(B, dtype=torch.float64)
    ys: list[Tensor] = []
    for t in range(T):
        y, state = step(cell, x[t], state)
        remembered = torch.where(forced[t, :, None], targets[t], y)
        state = (*state[:-1], torch.cat([remembered.unsqueeze(1), state[-1][:, 1:]], 1))
        ys.append(y)
    torch.testing.assert_close(scan(cell, x, context=(targets, forced)).y, torch.stack(ys))


def test_a_narx_without_inputs_hears_none() -> None:
    cell = cells.get("narx")(I, H, input_delays=())
    assert cell.W is None
    x = torch.randn(T, B, I)
    assert torch.equal(scan(cell, x).y, scan(cell, -x).y)


def test_a_narx_trained_in_open_loop_runs_freely() -> None:
    """A sine obeys y_t = 2 cos(w) y_{t-1} - y_{t-2}: two taps of its own suffice."""
    torch.manual_seed(5)
    series = 0.5 * torch.sin(0.3 * torch.arange(120)).double().view(-1, 1, 1)
    cell = cells.get("narx")(1, 8, output_size=1, input_delays=(), output_delays=(1, 2)).double()
    optimizer = torch.optim.LBFGS(cell.parameters(), max_iter=300, line_search_fn="strong_wolfe")
    clock = torch.zeros_like(series)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(scan(cell, clock, context=(series,)).y[2:], series[2:])
        loss.backward()
        return loss

    optimizer.step(closure)
    start = scan(cell, clock[:20], context=(series[:20],)).state
    free = scan(cell, clock[20:60], start).y.detach()
    assert float((free - series[20:60]).abs().max()) < 0.05


def test_arguments_that_cannot_be() -> None:
    for delays in ((), (0,), (1, 1), (-1, 2), (1.5,)):
        with pytest.raises(ArgumentError, match="delays must be different integers of at least 0"):
            cells.get("tdnn")(I, H, delays=delays)
    with pytest.raises(ArgumentError, match="delays must be different integers of at least 1"):
        cells.get("narx")(I, H, output_delays=(0, 1))
    with pytest.raises(ArgumentError, match="output_size must be at least 1, got 0"):
        cells.get("narx")(I, H, output_size=0)
    cell = cells.get("narx")(I, H).double()
    with pytest.raises(ShapeError, match=r"expects targets of shape \(9, 2, 4\), got \(9, 2, 3\)"):
        scan(cell, data(), context=(data(),))
    with pytest.raises(ArgumentError, match="NARXCell takes"):
        scan(cell, data(), context=(data(T, B, H), torch.ones(T, B, dtype=torch.bool), data()))
    with pytest.raises(ArgumentError, match="k must be at least 1 input, got 0"):
        Windowed(cell, 0)


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_windowed_runs_the_cell_anew_over_the_last_inputs(name: str, k: int) -> None:
    inner: Cell = cells.get(name)(I, H).double()
    cell = Windowed(inner, k)
    x = data().requires_grad_()
    result = scan(cell, x)
    for t in range(T):
        window = x[max(0, t - k + 1) : t + 1]
        torch.testing.assert_close(result.y[t], scan(inner, window).y[-1])
    (g,) = torch.autograd.grad(result.y[-1].sum(), x)
    assert (g != 0).any(-1).any(-1).tolist() == [t >= T - k for t in range(T)]
    torch.testing.assert_close(tuple(s[:, -1] for s in result.state), scan(inner, x[T - k :]).state)


def test_windowed_counts_its_clock_anew_in_every_window() -> None:
    class Counting(Cell):
        def state_shapes(self) -> Any:
            return (((), torch.int64),)

        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__(input_size, hidden_size)
            self.scale = nn.Parameter(torch.ones(hidden_size))

        def step(self, x: Tensor, state: Any) -> Any:
            (n,) = state
            return (n + 1).unsqueeze(-1) * self.scale, (n + 1,)

    y = scan(Windowed(Counting(I, H), 3), torch.zeros(5, 1, I)).y
    assert y[:, 0, 0].tolist() == [1, 2, 3, 3, 3]


def test_a_windowed_stack_sees_a_window_a_layer() -> None:
    rnn = Recurrent(lambda i, h: Windowed(cells.get("gru")(i, h), 3), I, H, num_layers=2).double()
    x = data().requires_grad_()
    y, _ = rnn(x)
    (g,) = torch.autograd.grad(y[-1].sum(), x)
    assert (g != 0).any(-1).any(-1).tolist() == [t >= T - 5 for t in range(T)]
    assert not math.isnan(float(g.sum()))
