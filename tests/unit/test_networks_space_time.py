"""Forecasting frames, attention over places and over times: beside plain loops, over grids and over sensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from topology_laws import KINDS, gradients_are_right, rows_stand_alone, streamed, streams
from torch import Tensor

import recurra as rc
from recurra import cells
from recurra.core import Cell
from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks import Chain, Forecaster, SpatialAttention, TemporalAttention, TwoWay

GRID = (2, 3)
FRAMES = torch.randn(2, 5, 2, *GRID, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SENSORS = torch.randn(3, 5, 2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def over_grid(name: str) -> Any:
    def made(inputs: int, hidden: int) -> Cell:
        kind: Any = cells.get(name)
        return kind(inputs, hidden, grid=GRID)

    return made


def forecaster(cell: Any = None, fed_back: bool = False, sizes: tuple[int, ...] = (3, 3)) -> Forecaster:
    cell = cell or over_grid("conv_lstm")
    return Forecaster(cell, 2, sizes, 3, fed_back=fed_back, backend="reference").double()


def sensors(cell: Any = "gru", size: int = 6) -> SpatialAttention:
    return SpatialAttention(cell, 2, (4,), size, 3, backend="reference").double()


def places(name: str = "conv_lstm") -> SpatialAttention:
    return SpatialAttention(over_grid(name), 2, GRID, 3, backend="reference").double()


@pytest.mark.parametrize("fed_back", [False, True])
@pytest.mark.parametrize("name", ["conv_lstm", "conv_gru", *KINDS])
def test_frames_are_forecast_as_in_a_plain_loop(name: str, fed_back: bool) -> None:
    vectors = name in KINDS
    given = FRAMES[..., 0, 0] if vectors else FRAMES
    network = forecaster([name, "lstm"] if vectors else [over_grid(name), over_grid("conv_lstm")], fed_back)
    encoder: Any = [layer.get_submodule("layers.0.forward") for layer in network.encoder]
    after: Any = [layer.get_submodule("layers.0.forward") for layer in network.forecaster]
    states: list[Any] = [None, None]
    for t in range(5):
        u = given[:, t]
        for k in range(2):
            u, states[k] = encoder[k](u, states[k])
    frames: list[Tensor] = []
    for _ in range(3):
        v = (frames or [given[:, 4]])[-1] if fed_back else torch.zeros_like(given[:, 0])
        seen: list[Tensor] = []
        for k in range(2):
            v, states[k] = after[k](v, states[k])
            seen.append(v)
        w, b = network.readout.weight, network.readout.get_parameter("bias")
        made = torch.einsum("oc,bc...->bo...", w, torch.cat(seen, 1))
        frames.append(made + b.view(-1, *[1] * (made.dim() - 2)))
    torch.testing.assert_close(network(given)[0], torch.stack(frames, 1))
    torch.testing.assert_close(network(given, horizon=2)[0], network(given)[0][:, :2])


@pytest.mark.parametrize("fed_back", [False, True])
@pytest.mark.parametrize("cell", [*KINDS, None])
def test_forecasts_from_every_frame_on_stream(cell: Any, fed_back: bool) -> None:
    sizes = (3, 3) if cell is None else (6, 6)
    network = forecaster(cell, fed_back, sizes)
    x = FRAMES if cell is None else FRAMES[:, :, :, 0, 0]
    steps, state = streamed(network, x)
    for t in range(5):
        torch.testing.assert_close(steps[:, t], network(x[:, : t + 1])[0])
    torch.testing.assert_close(state, network(x)[1])
    torch.testing.assert_close(network(x[:, 3:], network(x[:, :3])[1])[0], steps[:, 4])
    torn = x.clone()
    torn[1, 2:] = torch.nan
    torch.testing.assert_close(network(torn, lengths=[5, 2])[0][1], steps[1, 1])


@pytest.mark.parametrize("fed_back", [False, True])
def test_gradients_of_forecasts(fed_back: bool) -> None:
    gradients_are_right(forecaster(fed_back=fed_back, sizes=(2,)), FRAMES[:, :2], lengths=[2, 1])


@pytest.mark.parametrize("cell", KINDS)
def test_sensors_are_weighed_as_in_a_plain_loop(cell: str) -> None:
    network = sensors(cell)
    inner: Any = network.get_submodule("recurrent.layers.0.forward")
    weights = network.weights(SENSORS)
    state, y = None, torch.zeros(3, 6, dtype=torch.float64)
    for t in range(5):
        e = torch.stack(
            [
                torch.tanh(SENSORS[:, t, :, p] @ inner.weight_x.T + y @ inner.weight_y.T + inner.bias[:, p])
                @ inner.score
                for p in range(4)
            ],
            1,
        )
        a = torch.softmax(e, 1)
        torch.testing.assert_close(weights[:, t], a)
        y, state = inner.cell((SENSORS[:, t] * a[:, None]).flatten(1), state)
        torch.testing.assert_close(network(SENSORS)[0][:, t], y)
    streams(network, SENSORS)
    rows_stand_alone(network, SENSORS, [3, 0, 5])


@pytest.mark.parametrize("name", ["conv_lstm", "conv_gru"])
def test_the_cells_of_a_grid_are_weighed(name: str) -> None:
    network = places(name)
    weights = network.weights(FRAMES, lengths=[5, 2])
    assert weights.shape == (2, 5, *GRID)
    torch.testing.assert_close(weights[0].sum((1, 2)), torch.ones(5, dtype=torch.float64))
    assert not weights[1, 2:].count_nonzero()
    inner: Any = network.get_submodule("recurrent.layers.0.forward")
    y, _ = network(FRAMES)
    e = torch.tanh(
        torch.einsum("af,bfhw->bahw", inner.weight_x, FRAMES[:, 1])
        + torch.einsum("af,bfhw->bahw", inner.weight_y, y[:, 0])
        + inner.bias.reshape(-1, *GRID)
    )
    a = torch.softmax(torch.einsum("a,bahw->bhw", inner.score, e).flatten(1), 1)
    torch.testing.assert_close(network.weights(FRAMES)[:, 1].flatten(1), a)
    streams(network, FRAMES)
    rows_stand_alone(network, FRAMES, [5, 2])


def test_gradients_over_places() -> None:
    gradients_are_right(sensors("elman", 3), SENSORS[:2, :3], lengths=[3, 2])
    gradients_are_right(places(), FRAMES[:, :2], lengths=[2, 1])


@pytest.mark.parametrize("cell", KINDS)
def test_times_are_weighed_as_in_a_plain_loop(cell: str) -> None:
    network = TemporalAttention(sensors(cell), 7, 5).double()
    lengths = [5, 2, 0]
    torn = SENSORS.clone()
    torn[1, 2:] = torch.nan
    torn[2] = torch.nan
    o, _ = network(torn, lengths=lengths)
    weights = network.weights(torn, lengths=lengths)
    for b, n in enumerate(lengths[:2]):
        h = network.layer(SENSORS[b : b + 1, :n])[0][0]
        e = torch.stack([torch.tanh(network.weight_query @ h[-1] + network.weight_key @ v) @ network.score for v in h])
        share = torch.softmax(e, 0)
        torch.testing.assert_close(weights[b, :n], share)
        assert not weights[b, n:].count_nonzero()
        c = (share[:, None] * h).sum(0)
        expected = network.readout.weight @ torch.cat([h[-1], c]) + network.readout.get_parameter("bias")
        torch.testing.assert_close(o[b], expected)
    torch.testing.assert_close(o[2], network.readout.get_parameter("bias"))
    steps, state = streamed(network, SENSORS)
    for t in range(5):
        torch.testing.assert_close(steps[:, t], network(SENSORS[:, : t + 1])[0])
    torch.testing.assert_close(state, network(SENSORS)[1])
    _, early = network(SENSORS, lengths=[1, 3, 2])
    later, _ = network(SENSORS[:, :2], early, lengths=[2, 0, 1])
    torch.testing.assert_close(later[1], network(SENSORS[1:2, :3])[0][0])
    torch.testing.assert_close(later[0], network(torch.cat([SENSORS[:1, :1], SENSORS[:1, :2]], 1))[0][0])


def test_times_are_weighed_over_grids_and_gradients_are_right() -> None:
    network = TemporalAttention(places(), 4).double()
    o, _ = network(FRAMES)
    assert o.shape == (2, 4, *GRID)
    steps, _ = streamed(network, FRAMES)
    torch.testing.assert_close(steps[:, 4], o)
    torch.testing.assert_close(steps[:, 1], network(FRAMES, lengths=[2, 2])[0])
    gradients_are_right(network, FRAMES[:, :2], lengths=[2, 1])
    gradients_are_right(TemporalAttention(sensors("elman", 3), 2).double(), SENSORS[:2, :3], lengths=[3, 2])


def test_places_and_then_times_in_one_compiled_network() -> None:
    x = SENSORS.float()
    fast = TemporalAttention(SpatialAttention("lstm", 2, (4,), 8), 3)
    plain = TemporalAttention(SpatialAttention("lstm", 2, (4,), 8, backend="reference"), 3)
    plain.load_state_dict(fast.state_dict())
    torch.testing.assert_close(fast(x)[0], plain(x)[0])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"Forecaster: expected an input of shape \(B, T, 2\), got \(2, 5, 1, 2, 3\)"):
        forecaster()(FRAMES[:, :, :1])
    with pytest.raises(ArgumentError, match="horizon must be at least 1 frame, got 0"):
        Forecaster("gru", 2, [3], 0)
    with pytest.raises(ShapeError, match="Forecaster: expected a state of 2 parts, one for each layer, got 1 parts"):
        forecaster()(FRAMES, (None,))
    with pytest.raises(
        ArgumentError, match=r"takes inputs of shape \(2, 2, 3\), which are neither \(2, 4\) nor vectors"
    ):
        SpatialAttention(over_grid("conv_lstm"), 2, (4,), 3)
    with pytest.raises(ArgumentError, match=r"expected the number of sensors, or the sizes of a grid, got \[\]"):
        SpatialAttention("gru", 2, (), 3)
    with pytest.raises(ShapeError, match=r"expected an input of shape \(T, B, 2, 4\), got \(5, 3, 2, 3\)"):
        sensors()(SENSORS[:, :, :, :3])
    with pytest.raises(ArgumentError, match=r"expected a layer .* got str"):
        TemporalAttention("gru", 3)  # pyright: ignore[reportArgumentType]
    ahead = TemporalAttention(Chain(TwoWay("gru", 3, 4)), 2)
    assert ahead(torch.zeros(2, 4, 3))[0].shape == (2, 2)
    with pytest.raises(ArgumentError, match="reads from the right too"):
        ahead.step(torch.zeros(2, 3))
    assert rc.index_rows(ahead(torch.zeros(2, 4, 3))[1][1], [1])[0].shape == (1, 4, 8)
