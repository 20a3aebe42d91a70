"""What both GRUs become where their gates are fully open or shut, and the side of the update gate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recurra
from recurra import Recurrent, cells, scan
from recurra.cells.gru import flip_update_gate
from recurra.core import Cell
from recurra.core.errors import ShapeError

T, B, I, H = 4, 3, 5, 6  # noqa: E741
OPEN, SHUT = 1e3, -1e3
both_forms = pytest.mark.parametrize("name", ["gru", "gru_reset_before"])


def gru(name: str, *, reset: float | None = None, update: float | None = None) -> Cell:
    """Return a GRU whose gates are held by their biases; sigmoid(+-1000) is 1 or 0 exactly."""
    cell = cells.get(name)(I, H).double()
    bias = cell.bias_ih if name == "gru" else cell.bias
    with torch.no_grad():
        for gate, value in enumerate((reset, update)):
            if value is not None:
                bias[gate * H : (gate + 1) * H] = value
    return cell


def data() -> tuple[Tensor, Tensor]:
    return torch.randn(T, B, I, dtype=torch.float64), torch.randn(B, H, dtype=torch.float64)


@both_forms
def test_update_gate_1_copies_the_state(name: str) -> None:
    x, h = data()
    result = scan(gru(name, update=OPEN), x, (h,))
    assert torch.equal(result.y, h.expand(T, B, H))


@both_forms
def test_update_gate_0_and_reset_gate_1_is_elman_with_tanh(name: str) -> None:
    cell = gru(name, update=SHUT, reset=OPEN)
    elman = cells.get("elman")(I, H).double()
    new = slice(2 * H, 3 * H)
    weights = {k.replace("bias", "bias_ih") if k == "bias" else k: v[new] for k, v in cell.state_dict().items()}
    elman.load_state_dict({"bias_hh": torch.zeros(H, dtype=torch.float64), **weights})
    x, h = data()
    torch.testing.assert_close(scan(cell, x, (h,)).y, scan(elman, x, (h,)).y)


@both_forms
def test_update_gate_0_and_reset_gate_0_looks_at_the_input_alone(name: str) -> None:
    cell = gru(name, update=SHUT, reset=SHUT)
    x, h = data()
    y = scan(cell, x, (h,)).y
    assert torch.equal(y, scan(cell, x, (-h,)).y)
    assert torch.equal(y[2], scan(cell, x[2:3], (h,)).y[0])
    assert not torch.equal(y, scan(cell, 2 * x, (h,)).y)


def chung(weights: dict[str, Tensor], x: Tensor, h: Tensor, name: str) -> Tensor:
    """Run Chung et al. (2014): z measures the new information, h_t = (1 - z) h_{t-1} + z g."""
    outputs: list[Tensor] = []
    after = name == "gru"
    bias_x = weights["bias_ih"] if after else weights["bias"]
    bias_h = weights["bias_hh"] if after else torch.zeros_like(bias_x)
    w_r, w_z, w_n = weights["weight_hh"].chunk(3)
    b_r, b_z, b_n = bias_h.chunk(3)
    for x_t in x:
        x_r, x_z, x_n = F.linear(x_t, weights["weight_ih"], bias_x).chunk(3, -1)
        r = torch.sigmoid(x_r + h @ w_r.T + b_r)
        z = torch.sigmoid(x_z + h @ w_z.T + b_z)
        g = torch.tanh(x_n + (r * (h @ w_n.T + b_n) if after else (r * h) @ w_n.T))
        h = (1 - z) * h + z * g
        outputs.append(h)
    return torch.stack(outputs)


@both_forms
def test_flipping_turns_chungs_form_into_ours(name: str) -> None:
    theirs = gru(name).state_dict()
    x, h = data()
    ours = cells.get(name)(I, H).double()
    ours.load_state_dict(flip_update_gate(theirs))
    torch.testing.assert_close(scan(ours, x, (h,)).y, chung(theirs, x, h, name))
    assert not torch.allclose(scan(gru(name), x, (h,)).y, chung(theirs, x, h, name))


MODULES: dict[str, Any] = {
    "bare": lambda: cells.get("gru")(I, H),
    "bare, reset before": lambda: cells.get("gru_reset_before")(I, H),
    "Recurrent": lambda: Recurrent("gru", I, H, num_layers=2, bidirectional=True),
    "Recurrent, reset before": lambda: Recurrent("gru_reset_before", I, H, num_layers=2, bidirectional=True),
    "torch": lambda: nn.GRU(I, H, num_layers=2, bidirectional=True),
    "drop-in": lambda: recurra.GRU(I, H, num_layers=2, bidirectional=True),
}


@pytest.mark.parametrize("module", MODULES)
def test_flipping_negates_the_update_rows_of_every_weight_and_is_its_own_inverse(module: str) -> None:
    weights = MODULES[module]().state_dict()
    flipped = flip_update_gate(weights)
    assert list(flipped) == list(weights)
    for name, v in weights.items():
        r, z, n = v.chunk(3, 0)
        assert torch.equal(flipped[name], torch.cat([r, -z, n])), name
        assert torch.equal(flip_update_gate(flipped)[name], v)


def test_flipping_leaves_other_weights_alone() -> None:
    weights = {"embedding.weight": torch.randn(3, 2), "rnn.layers.0.forward.weight_ih": torch.randn(6, 2)}
    flipped = flip_update_gate(weights)
    assert torch.equal(flipped["embedding.weight"], weights["embedding.weight"])
    assert not torch.equal(flipped["rnn.layers.0.forward.weight_ih"], weights["rnn.layers.0.forward.weight_ih"])


def test_flipping_what_has_not_three_gates_is_refused() -> None:
    with pytest.raises(ShapeError, match="weight_hh: expected rows of three gates r, z, n, got 4 rows"):
        flip_update_gate({"weight_hh": torch.zeros(4, 2)})
