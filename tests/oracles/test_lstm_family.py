"""The LSTM's relatives beside their equations, onnxruntime, Keras's documented numbers, and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from written_out import Array, Equation, assert_equals, sigmoid

from recurra import cells, scan
from recurra.core import Cell
from recurra.core.initialisers import forget_bias_

T, B, I, H = 5, 3, 4, 6  # noqa: E741
State = tuple[Array, ...]
Weights = dict[str, Array]


def no_forget_gate_lstm(w: Weights, x: Array, s: State) -> Any:
    i, g, o = np.split(w["weight_ih"] @ x + w["weight_hh"] @ s[0] + w["bias"], 3)
    c = s[1] + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, (h, c)


def peephole_lstm(w: Weights, x: Array, s: State) -> Any:
    i, f, g, o = np.split(w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ s[0] + w["bias_hh"], 4)
    to_i, to_f, to_o = np.split(w["peepholes"], 3)
    c = sigmoid(f + to_f * s[1]) * s[1] + sigmoid(i + to_i * s[1]) * np.tanh(g)
    h = sigmoid(o + to_o * c) * np.tanh(c)
    return h, (h, c)


def cifg_lstm(w: Weights, x: Array, s: State) -> Any:
    i, g, o = np.split(w["weight_ih"] @ x + w["weight_hh"] @ s[0] + w["bias"], 3)
    c = (1 - sigmoid(i)) * s[1] + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, (h, c)


def norm(z: Array, gain: Array, shift: Array | float = 0.0) -> Array:
    return gain * (z - z.mean()) / np.sqrt(((z - z.mean()) ** 2).mean() + 1e-5) + shift


def layer_norm_lstm(w: Weights, x: Array, s: State) -> Any:
    gates = norm(w["weight_ih"] @ x, w["gain_ih"]) + norm(w["weight_hh"] @ s[0], w["gain_hh"]) + w["bias"]
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f) * s[1] + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(norm(c, w["gain_c"], w["bias_c"]))
    return h, (h, c)


def layer_norm_gru(w: Weights, x: Array, s: State) -> Any:
    def halves(product: Array, gain: Array, bias: Array) -> tuple[Array, Array]:
        n = 2 * len(product) // 3
        return norm(product[:n], gain[:n], bias[:n]), norm(product[n:], gain[n:], bias[n:])

    x_rz, x_n = halves(w["weight_ih"] @ x, w["gain_ih"], w["bias_ih"])
    h_rz, h_n = halves(w["weight_hh"] @ s[0], w["gain_hh"], w["bias_hh"])
    r, z = np.split(sigmoid(x_rz + h_rz), 2)
    h = z * s[0] + (1 - z) * np.tanh(x_n + r * h_n)
    return h, (h,)


EQUATIONS: list[tuple[str, Equation, dict[str, Any]]] = [
    ("no_forget_gate_lstm", no_forget_gate_lstm, {}),
    ("peephole_lstm", peephole_lstm, {}),
    ("cifg_lstm", cifg_lstm, {}),
    ("layer_norm_lstm", layer_norm_lstm, {}),
    ("layer_norm_gru", layer_norm_gru, {}),
]


@pytest.mark.parametrize(("name", "equation", "options"), EQUATIONS)
def test_cell_equals_its_equation(name: str, equation: Equation, options: dict[str, Any]) -> None:
    assert_equals(name, equation, options)


def _iofc(weight: Any) -> Array:
    """Put gate blocks i, f, g, o in ONNX's order i, o, f, c."""
    i, f, g, o = weight.detach().chunk(4, 0)
    return torch.cat([i, o, f, g]).numpy()


def _data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(T, B, I), torch.randn(B, H), torch.randn(B, H)


def _assert_equals_onnx(cell: Cell, stored: dict[str, Any], peepholes: Any = None, **attributes: Any) -> None:
    """Compare over five steps from a random state: with one step from zero, peepholes would see next to nothing."""
    x, h, c = _data()
    biases = [_iofc(stored[name]) for name in ("bias_ih", "bias_hh")]
    weights = {"W": _iofc(stored["weight_ih"])[None], "R": _iofc(stored["weight_hh"])[None]}
    weights["B"] = np.concatenate(biases)[None]
    if peepholes is not None:
        weights["P"] = peepholes.numpy()[None]
    names = ["X", "W", "R", "B", "", "h0", "c0", "P" if "P" in weights else ""]
    given = {"X": x.numpy(), "h0": h[None].numpy(), "c0": c[None].numpy()}
    shapes = {"Y": [T, 1, B, H], "Yh": [1, B, H], "Yc": [1, B, H]}
    real = TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("LSTM", names, list(shapes), hidden_size=H, **attributes)],
        "lstm",
        [helper.make_tensor_value_info(name, real, list(value.shape)) for name, value in given.items()],
        [helper.make_tensor_value_info(name, real, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, _, last = session.run(None, given)
    result = scan(cell, x, (h, c))
    np.testing.assert_allclose(result.y.detach().numpy(), y[:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(result.state[1].detach().numpy(), last[0], rtol=1e-5, atol=1e-6)


def test_peepholes_equal_onnxruntime() -> None:
    cell = cells.get("peephole_lstm")(I, H)
    p_i, p_f, p_o = cell.peepholes.detach().chunk(3)
    _assert_equals_onnx(cell, cell.state_dict(), torch.cat([p_i, p_o, p_f]))


def test_coupled_gates_equal_onnxruntime() -> None:
    """ONNX couples by `input_forget`; it wants rows for the forget gate all the same, and does not look at them."""
    cell = cells.get("cifg_lstm")(I, H)
    grown = {k.replace("bias", "bias_ih"): v.chunk(3, 0) for k, v in cell.state_dict().items()}
    stored = {k: torch.cat([i, torch.full_like(i, torch.pi), g, o]) for k, (i, g, o) in grown.items()}
    _assert_equals_onnx(cell, {**stored, "bias_hh": torch.zeros(4 * H)}, input_forget=1)


def test_a_forget_gate_held_open_is_none() -> None:
    old = cells.get("no_forget_gate_lstm")(I, H).double()
    new = cells.get("lstm")(I, H).double()
    with torch.no_grad():
        for name, source in (("weight_ih", "weight_ih"), ("weight_hh", "weight_hh"), ("bias_ih", "bias")):
            i, g, o = getattr(old, source).chunk(3, 0)
            getattr(new, name).copy_(torch.cat([i, torch.zeros_like(i), g, o]))
        new.bias_hh.zero_()
        new.bias_ih[H : 2 * H] = 1e3
    x, h, c = (v.double() for v in _data())
    torch.testing.assert_close(scan(old, x, (h, c)), scan(new, x, (h, c)))


def test_no_peepholes_are_the_lstm() -> None:
    cell = cells.get("peephole_lstm")(I, H)
    with torch.no_grad():
        cell.peepholes.zero_()
    lstm = cells.get("lstm")(I, H)
    lstm.load_state_dict({k: v for k, v in cell.state_dict().items() if k != "peepholes"})
    x, h, c = _data()
    torch.testing.assert_close(scan(cell, x, (h, c)), scan(lstm, x, (h, c)))


@pytest.mark.parametrize("name", ["layer_norm_lstm", "layer_norm_gru"])
def test_normalised_products_do_not_know_the_weights_scale(name: str) -> None:
    cell = cells.get(name)(I, H, eps=0.0).double()
    x = torch.randn(T, B, I, dtype=torch.float64)
    state = tuple(torch.randn(B, *shape, dtype=torch.float64) for shape in cell.state_shapes())
    before = scan(cell, x, state).y
    with torch.no_grad():
        cell.weight_ih.mul_(7.0)
        cell.weight_hh.mul_(0.1)
    torch.testing.assert_close(scan(cell, x, state).y, before)


def _keras(cell: Cell, *, bias: float = 0.03) -> Cell:
    """Fill a cell as Keras's documented cases do: kernel 0.01, recurrent kernel 0.02, bias 0.03."""
    values = {"weight_ih": 0.01, "weight_hh": 0.02, "bias": bias, "bias_ih": bias}
    with torch.no_grad():
        for name, p in cell.named_parameters():
            p.fill_(values.get(name, 0.0))
    return cell


KERAS_INPUT = torch.arange(72, dtype=torch.float32).view(3, 6, 4).transpose(0, 1)


@pytest.mark.parametrize(
    ("forget", "bias", "expected"),
    [
        (1.0, 0.03, [0.6288687, 0.86899155, 0.9460773]),
        (None, 0.03, [0.57019705, 0.8661914, 0.9459622]),
        (None, 0.0, [0.54986924, 0.86226785, 0.9443936]),
    ],
)
def test_lstm_equals_kerass_documented_cases(forget: float | None, bias: float, expected: list[float]) -> None:
    """Keras's forget bias of 1 stands in place of the other biases' value; it is not added to it."""
    cell = _keras(cells.get("lstm")(4, 3), bias=bias)
    if forget is not None:
        forget_bias_(cell, forget)
    y = scan(cell, KERAS_INPUT).y[-1]
    torch.testing.assert_close(y, torch.tensor(expected).unsqueeze(1).expand(3, 3), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gru", [0.5217289, 0.6371659, 0.39384964]),
        ("gru_reset_before", [0.51447755, 0.6426879, 0.40208298]),
    ],
)
def test_gru_equals_kerass_documented_cases(name: str, expected: list[float]) -> None:
    """Reset after the product, where Keras has two bias vectors of 0.03, and before it, where it has one."""
    cell = _keras(cells.get(name)(4, 3))
    if name == "gru":
        with torch.no_grad():
            cell.bias_hh.fill_(0.03)
    y = scan(cell, KERAS_INPUT).y[-1]
    torch.testing.assert_close(y, torch.tensor(expected).unsqueeze(1).expand(3, 3), atol=1e-5, rtol=1e-5)
