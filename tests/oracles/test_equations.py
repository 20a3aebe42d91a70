"""The cells beside their equations, written out once more in NumPy, and beside torch's and onnxruntime's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from recurra import Recurrent, cells, scan
from recurra.core import Cell

Array = Any
T, B, I, H = 4, 3, 5, 6  # noqa: E741


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def elman(w: dict[str, Array], x: Array, s: Any) -> Any:
    h = np.tanh(w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ s[0] + w["bias_hh"])
    return h, (h,)


def elman_relu(w: dict[str, Array], x: Array, s: Any) -> Any:
    h = np.maximum(0, w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ s[0] + w["bias_hh"])
    return h, (h,)


def jordan(w: dict[str, Array], x: Array, s: Any) -> Any:
    h = np.tanh(w["U"] @ x + w["Z"] @ s[0] + w["b"])
    y = w["V"] @ h + w["c"]
    return y, (y,)


def lstm(w: dict[str, Array], x: Array, s: Any) -> Any:
    i, f, g, o = np.split(w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ s[0] + w["bias_hh"], 4)
    c = sigmoid(f) * s[1] + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, (h, c)


def projected_lstm(w: dict[str, Array], x: Array, s: Any) -> Any:
    h, (_, c) = lstm(w, x, s)
    h = w["weight_hr"] @ h
    return h, (h, c)


def gru(w: dict[str, Array], x: Array, s: Any) -> Any:
    xr, xz, xn = np.split(w["weight_ih"] @ x + w["bias_ih"], 3)
    hr, hz, hn = np.split(w["weight_hh"] @ s[0] + w["bias_hh"], 3)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    h = z * s[0] + (1 - z) * np.tanh(xn + r * hn)
    return h, (h,)


def gru_reset_before(w: dict[str, Array], x: Array, s: Any) -> Any:
    xr, xz, xn = np.split(w["weight_ih"] @ x + w["bias"], 3)
    wr, wz, wn = np.split(w["weight_hh"], 3)
    r, z = sigmoid(xr + wr @ s[0]), sigmoid(xz + wz @ s[0])
    h = z * s[0] + (1 - z) * np.tanh(xn + wn @ (r * s[0]))
    return h, (h,)


EQUATIONS: list[tuple[str, Callable[..., Any], dict[str, Any]]] = [
    ("elman", elman, {}),
    ("elman", elman_relu, {"nonlinearity": "relu"}),
    ("jordan", jordan, {}),
    ("jordan", jordan, {"output_size": 2}),
    ("lstm", lstm, {}),
    ("projected_lstm", projected_lstm, {}),
    ("projected_lstm", projected_lstm, {"proj_size": 1}),
    ("gru", gru, {}),
    ("gru_reset_before", gru_reset_before, {}),
]


@pytest.mark.parametrize(("name", "equation", "options"), EQUATIONS)
def test_cell_equals_its_equation(name: str, equation: Any, options: dict[str, Any]) -> None:
    cell = cells.get(name)(I, H, **options).double()
    x = torch.randn(T, B, I, dtype=torch.float64)
    initial = tuple(torch.randn(B, *shape, dtype=torch.float64) for shape in cell.state_shapes())
    result = scan(cell, x, initial)
    weights = {k: v.numpy() for k, v in cell.state_dict().items()}
    for b in range(B):
        state = tuple(s[b].numpy() for s in initial)
        for t in range(T):
            y, state = equation(weights, x[t, b].numpy(), state)
            np.testing.assert_allclose(result.y[t, b].detach().numpy(), y, rtol=1e-12, atol=1e-14)
        for got, expected in zip(result.state, state, strict=True):
            np.testing.assert_allclose(got[b].detach().numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["elman", "lstm", "projected_lstm", "gru", "gru_reset_before"])
def test_biases_can_be_left_out(name: str) -> None:
    without = cells.get(name)(I, H, bias=False)
    with_zeros = cells.get(name)(I, H)
    assert not [k for k in without.state_dict() if "bias" in k]
    biases = {k: torch.zeros_like(v) for k, v in with_zeros.state_dict().items() if "bias" in k}
    with_zeros.load_state_dict({**without.state_dict(), **biases})
    x = torch.randn(T, B, I)
    torch.testing.assert_close(scan(without, x).y, scan(with_zeros, x).y)


@pytest.mark.parametrize(("name", "theirs"), [("elman", nn.RNNCell), ("lstm", nn.LSTMCell), ("gru", nn.GRUCell)])
def test_one_step_equals_torchs_cell(name: str, theirs: type[nn.Module]) -> None:
    torch_cell = theirs(I, H).double()
    cell = cells.get(name)(I, H).double()
    cell.load_state_dict(torch_cell.state_dict())
    x = torch.randn(B, I, dtype=torch.float64)
    state = tuple(torch.randn(B, H, dtype=torch.float64) for _ in cell.state_shapes())
    expected = torch_cell(x, state if len(state) > 1 else state[0])
    expected = expected if isinstance(expected, tuple) else (expected,)
    y, new = cell(x, state)
    torch.testing.assert_close(new, expected)
    torch.testing.assert_close(y, expected[0])


def test_gru_reset_before_equals_onnxruntime() -> None:
    """ONNX has both forms of the GRU; `linear_before_reset = 0` is the paper's. Its gates come as z, r, h."""
    cell = cells.get("gru_reset_before")(I, H)
    h0 = torch.randn(B, H)
    x = torch.randn(T, B, I)
    result = scan(cell, x, (h0,))
    y = _run_onnx_gru(cell, x.numpy(), h0.numpy(), cell.bias, torch.zeros(3 * H), linear_before_reset=0)
    np.testing.assert_allclose(result.y.detach().numpy(), y, rtol=1e-5, atol=1e-6)


def test_gru_equals_onnxruntime() -> None:
    cell = cells.get("gru")(I, H)
    h0 = torch.randn(B, H)
    x = torch.randn(T, B, I)
    result = scan(cell, x, (h0,))
    y = _run_onnx_gru(cell, x.numpy(), h0.numpy(), cell.bias_ih, cell.bias_hh, linear_before_reset=1)
    np.testing.assert_allclose(result.y.detach().numpy(), y, rtol=1e-5, atol=1e-6)


def _run_onnx_gru(cell: Cell, x: Array, h0: Array, bias: Any, hidden_bias: Any, *, linear_before_reset: int) -> Array:
    def zrh(weight: Any) -> Array:
        r, z, n = weight.detach().chunk(3, 0)
        return torch.cat([z, r, n]).numpy()

    weights = {
        "W": zrh(cell.weight_ih)[None],
        "R": zrh(cell.weight_hh)[None],
        "B": np.concatenate([zrh(bias), zrh(hidden_bias)])[None],
    }
    node = helper.make_node(
        "GRU", ["X", "W", "R", "B", "", "h0"], ["Y"], hidden_size=H, linear_before_reset=linear_before_reset
    )
    graph = helper.make_graph(
        [node],
        "gru",
        [
            helper.make_tensor_value_info("X", TensorProto.FLOAT, [T, B, I]),
            helper.make_tensor_value_info("h0", TensorProto.FLOAT, [1, B, H]),
        ],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [T, 1, B, H])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"X": x, "h0": h0[None]})
    return y[:, 0]


def test_jordan_feeds_back_its_output_inside_layers_of_any_width() -> None:
    rnn = Recurrent("jordan", I, H, num_layers=2, output_size=2).double()
    y, state = rnn(torch.randn(T, B, I, dtype=torch.float64))
    assert y.shape == (T, B, 2)
    assert state.shape == (2, B, 2)
    torch.testing.assert_close(state[1], y[-1])
