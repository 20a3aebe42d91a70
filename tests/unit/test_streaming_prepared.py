"""Streaming after so many steps that the call is prepared: equal to the plain loop, and blind to no change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra.compiler import calls
from recurra.layers import streaming
from recurra.scan import cpp_compiler

pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="no C++ compiler is installed")

MANY = 1200
"""Steps after which even the smallest of these layers has done so much that it is compiled."""

LAYERS = {
    "LSTM": lambda: recurra.LSTM(5, 17),
    "GRU, two layers": lambda: recurra.GRU(17, 17, 2),
    "clock": lambda: recurra.Recurrent("clockwork", 3, 16, periods=[1, 2]),
    "an output of its own": lambda: recurra.Recurrent("jordan", 4, 20),
}


@pytest.fixture(autouse=True, params=["built-in functions", "Python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How kernels are called: where Python's headers are missing, by Python in both cases."""
    monkeypatch.setattr(calls._state, "begun", True)
    monkeypatch.setattr(calls._state, "library", calls._library() if request.param != "Python" else None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_prepared_steps_equal_the_loop(name: str, dtype: torch.dtype) -> None:
    layer, x = _prepared(LAYERS[name](), dtype)
    plain = recurra.scan  # the loop over each layer's cell, one step at a time
    state, kept, copies = None, list[Tensor](), list[Tensor]()
    states = [None] * layer.num_layers
    cells = layer.bound_cells() if hasattr(layer, "bound_cells") else [d.forward for d in layer.layers]
    with torch.no_grad():
        for _ in range(12):
            x = torch.randn_like(x)
            y, state = layer.step(x, state)
            kept += [y, *_tensors(state)]
            copies += [t.clone() for t in (y, *_tensors(state))]
            wanted = x
            for k, cell in enumerate(cells):
                out, states[k], _ = plain(cell, wanted.unsqueeze(0), states[k], backend="reference")
                wanted = out[0]
            torch.testing.assert_close(y, wanted, atol=1e-5 if dtype == torch.float32 else 1e-12, rtol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True)), "what was returned was written again"


def test_writes_to_weights_are_seen() -> None:
    layer, x = _prepared(recurra.LSTM(5, 17), torch.float32)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(0.5)
        layer.bias_ih_l0.add_(1.0)
        _same(layer, x)
        layer.weight_ih_l0 = nn.Parameter(torch.randn_like(layer.weight_ih_l0))
        _same(layer, x)
        layer.load_state_dict(recurra.LSTM(5, 17).state_dict())
        _same(layer, x)
        layer.weight_hh_l0.data.fill_(0.1)  # torch itself cannot see this
        layer.flatten_parameters()
        _same(layer, x)


def test_what_the_call_was_not_prepared_for_goes_another_way() -> None:
    layer, x = _prepared(recurra.LSTM(5, 17), torch.float32)
    y, _ = layer.step(x.requires_grad_())
    assert y.requires_grad
    with torch.no_grad():
        _same(layer, torch.randn(7, 5))
        _same(layer, torch.randn(5, 3).t())
        wide = torch.randn(1, 3, 2 * 17)
        state = (wide[..., ::2], wide[..., 1::2])
        torch.testing.assert_close(layer.step(x, state)[0], layer.step(x, (state[0].clone(), state[1].clone()))[0])
        with pytest.raises(recurra.RecurraError):
            layer.step(torch.randn(3, 6))
        assert layer.double().step(x.double())[0].dtype == torch.float64


def test_a_step_that_a_class_is_given_later_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = _prepared(recurra.Recurrent("jordan", 4, 20), torch.float32)
    kind = type(layer.layers[0].forward)
    plain = kind.step
    monkeypatch.setattr(kind, "step", lambda self, x, state, context=(): (plain(self, x, state)[0] * 2, state))
    with torch.no_grad():
        y, _ = layer.step(x)
        fresh = recurra.Recurrent("jordan", 4, 20, backend="reference")
        fresh.load_state_dict(layer.state_dict())
        torch.testing.assert_close(y, fresh.step(x)[0], atol=1e-6, rtol=1e-5)


def _prepared(layer: Any, dtype: torch.dtype) -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    layer = layer.to(dtype)
    x, state = torch.randn(3, layer.input_size, dtype=dtype), None
    with torch.no_grad():
        for _ in range(MANY):
            _, state = layer.step(x, state)
    assert layer in streaming._streams, "the call was not prepared"
    return layer, x


def _same(layer: Any, x: Tensor) -> None:
    """Compare a step with that of a copy, which has nothing prepared."""
    fresh = type(layer)(layer.input_size, layer.hidden_size)
    fresh.load_state_dict(layer.state_dict())
    fresh.backend = "reference"
    for _ in range(2):
        torch.testing.assert_close(layer.step(x)[0], fresh.step(x)[0], atol=1e-6, rtol=1e-5)


def _tensors(state: Any) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else list(state)
