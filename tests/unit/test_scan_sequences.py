"""Whole sequences whose call is prepared: equal to the plain loop, blind to no change, and no reason to stay alive."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra.compiler import calls
from recurra.layers.sequences import run_again
from recurra.scan import cpp_compiler

pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="no C++ compiler is installed")

LAYERS: dict[str, Callable[[], Any]] = {
    "LSTM": lambda: recurra.LSTM(5, 17),
    "GRU, two layers": lambda: recurra.GRU(17, 17, 2),
    "batch first": lambda: recurra.RNN(6, 20, batch_first=True),
    "both directions": lambda: recurra.LSTM(5, 17, 2, bidirectional=True),
    "any cell, both directions": lambda: recurra.Recurrent("jordan", 4, 20, bidirectional=True, batch_first=True),
    "clock": lambda: recurra.Recurrent("clockwork", 3, 16, periods=[1, 2]),
    "an output of its own": lambda: recurra.Recurrent("jordan", 4, 20, 2),
}
STEPS, ROWS = 40, 5


@pytest.fixture(autouse=True, params=["built-in functions", "Python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How kernels are called: where Python's headers are missing, by Python in both cases."""
    monkeypatch.setattr(calls._state, "begun", True)
    monkeypatch.setattr(calls._state, "library", calls._library() if request.param != "Python" else None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_prepared_calls_equal_the_loop(name: str, grad: bool, dtype: torch.dtype) -> None:
    layer, x = _prepared(LAYERS[name](), dtype, grad)
    state, kept, copies = None, list[Tensor](), list[Tensor]()
    for _ in range(3):
        x = torch.randn_like(x, requires_grad=grad)
        with torch.set_grad_enabled(grad):
            layer(x, state)  # `_compare` has changed the layer, and changed it back
            assert run_again(layer, x, state, layer.batch_first) is not None
            y, new = layer(x, state)
        kept += [y, *_tensors(new)]
        copies += [t.clone() for t in kept[len(copies) :]]
        _compare(layer, x, state, grad, y, new)
        state = torch.utils._pytree.tree_map(torch.Tensor.detach, new)
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True)), "what was returned was written again"


@pytest.mark.parametrize("grad", [False, True])
def test_every_write_to_weights_is_seen(grad: bool) -> None:
    layer, x = _prepared(recurra.LSTM(5, 17), torch.float64, grad)
    with torch.no_grad():
        layer.weight_hh_l0.mul_(0.5)
    _same(layer, x, grad)
    layer.weight_ih_l0.data.fill_(0.1)  # which torch itself cannot see
    _same(layer, x, grad)
    layer.bias_hh_l0.detach().numpy()[:] = 0.3
    _same(layer, x, grad)
    layer.weight_hh_l0.data = torch.randn(17, 68, dtype=torch.float64).t()
    _same(layer, x, grad)
    layer.weight_ih_l0 = nn.Parameter(torch.randn_like(layer.weight_ih_l0))
    _same(layer, x, grad)
    layer.load_state_dict(recurra.LSTM(5, 17).state_dict())
    _same(layer, x, grad)


@pytest.mark.parametrize("grad", [False, True])
def test_what_the_call_was_not_prepared_for_goes_another_way(grad: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = _prepared(recurra.GRU(5, 17), torch.float64, grad)
    for other in (
        torch.randn(70, 2, 5), torch.randn(STEPS, 5), torch.randn(5, STEPS, 5).transpose(0, 1),
        torch.randn(STEPS, 5, ROWS).transpose(1, 2),
    ):  # fmt: skip
        _same(layer, other.double(), grad)
        _same(layer, other.double(), grad)
    wide = torch.randn(1, ROWS, 2 * 17, dtype=torch.float64)[..., ::2]
    torch.testing.assert_close(layer(x, wide)[0], layer(x, wide.contiguous())[0])
    for wrong in (torch.randn(STEPS, ROWS, 6), torch.randn(STEPS, ROWS, 5, 1)):
        with pytest.raises((RuntimeError, ValueError)):
            layer(wrong.double())
    with pytest.raises((RuntimeError, ValueError)):
        layer(x, torch.randn(2, ROWS, 17, dtype=torch.float64))
    with torch.autocast("cpu"):
        assert run_again(layer, x, None, False) is None
    assert run_again(layer, x.detach().to_sparse(), None, False) is None
    packed = nn.utils.rnn.pack_padded_sequence(x.detach(), torch.full((ROWS,), STEPS))
    torch.testing.assert_close(layer(packed)[0].data, layer(x)[0].reshape(-1, 17))
    assert layer.float()(x.detach().float())[0].dtype == torch.float32
    kind = type(layer.bound_cells()[0])
    monkeypatch.setattr(kind, "step", lambda self, x, state, context=(): (state[0] * 0, state))
    assert not layer(x.detach().float())[0].any()


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_what_is_not_the_output_alone(name: str) -> None:
    """An output that nobody has used has a gradient of zeros, however often it is asked for."""
    layer, x = _prepared(LAYERS[name](), torch.float64, True)
    _, state = layer(x)
    asked = [x, *layer.parameters()]
    for s in (s for s in _tensors(state) if s.requires_grad):
        weight = torch.randn_like(s)
        found = [torch.autograd.grad(s, asked, weight, retain_graph=True, materialize_grads=True) for _ in range(4)]
        layer.backend = "reference"
        (same,) = (t for t, other in zip(_tensors(layer(x)[1]), _tensors(state), strict=True) if other is s)
        layer.backend = "auto"
        expected = torch.autograd.grad(same, asked, weight, materialize_grads=True)
        for grads in found:
            torch.testing.assert_close(grads, expected, atol=1e-10, rtol=1e-8)


def test_gradients_are_asked_for_after_calls_without_them() -> None:
    layer, x = _prepared(recurra.LSTM(5, 17), torch.float64, False)
    _same(layer, x, True)
    _same(layer, x.requires_grad_(), True)
    for p in layer.parameters():
        p.requires_grad_(False)
    y, _ = layer(x)
    (found,) = torch.autograd.grad(y.sum(), x)
    assert found.abs().sum() > 0


@pytest.mark.parametrize("use", ["sequences", "gradients", "steps"])
@pytest.mark.parametrize("name", ["LSTM", "clock"])
def test_a_layer_that_nobody_holds_is_freed(name: str, use: str) -> None:
    layer, x = _prepared(LAYERS[name](), torch.float32, use == "gradients")
    if use == "steps":
        with torch.no_grad():
            for _ in range(1200):
                layer.step(x[0])
    gone = [ref(layer), *map(ref, layer.parameters())]
    del layer
    gc.collect()
    assert not [r for r in gone if r() is not None]


def _prepared(layer: Any, dtype: torch.dtype, grad: bool) -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    layer = layer.to(dtype)
    rows = (ROWS, STEPS) if layer.batch_first else (STEPS, ROWS)
    x = torch.randn(*rows, layer.input_size, dtype=dtype, requires_grad=grad)
    with torch.set_grad_enabled(grad):
        for _ in range(3):
            layer(x)
        assert run_again(layer, x, None, layer.batch_first) is not None
    return layer, x


def _same(layer: Any, x: Tensor, grad: bool) -> None:
    with torch.set_grad_enabled(grad):
        y, state = layer(x)
    if x.dim() == 3:
        _compare(layer, x, None, grad, y, state)
        with torch.set_grad_enabled(grad):
            layer(x)


def _compare(layer: Any, x: Tensor, state: Any, grad: bool, y: Tensor, new: Any) -> None:
    """Compare with the same layer by the loop: outputs, final states and, if asked for, every gradient."""
    before, layer.backend = layer.backend, "reference"
    with torch.set_grad_enabled(grad):
        wanted_y, wanted = layer(x, state)
    layer.backend = before
    single = x.dtype == torch.float32
    close = {"atol": 2e-5, "rtol": 1e-4} if single else {"atol": 1e-11, "rtol": 1e-9}
    ours, theirs = [y, *_tensors(new)], [wanted_y, *_tensors(wanted)]
    torch.testing.assert_close(ours, theirs, **close)
    if grad:
        asked = [t for t in (x, *layer.parameters()) if t.requires_grad]
        sums = [sum(t.sin().sum() for t in made if t.is_floating_point()) for made in (ours, theirs)]
        found, right = (torch.autograd.grad(s, asked, allow_unused=True) for s in sums)
        close["atol"] *= STEPS  # a gradient of a weight adds up the rounding of all steps
        torch.testing.assert_close(found, right, **close)


def _tensors(state: Any) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else list(state)
