"""The terms of BPTT against autograd and the tutorial's formula; diagnoses where the illness is known."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra as rc
from recurra.learning import bptt_terms, diagnose, input_influence


class Network(nn.Module):
    def __init__(self, cell: str, scale: float | None = None, layers: int = 1, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = rc.Recurrent(cell, 2, 8, layers, **options)
        self.head = nn.Linear(8, 1)
        self.double()
        if scale is not None:
            for name, p in self.rnn.named_parameters():
                if name.endswith("weight_hh"):
                    nn.init.orthogonal_(p, scale)

    def initial_state(self, batch: int) -> Any:
        return self.rnn.initial_state(batch)

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        y, state = self.rnn.step(x, state)
        return self.head(y), state


def squares(y: Tensor, target: Tensor) -> Tensor:
    return (y - target).square().sum()


def data(steps: int = 7, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    x = scale * torch.randn(steps, 3, 2, generator=generator, dtype=torch.float64)
    return x, torch.randn(steps, 3, 1, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("cell", ["elman", "lstm", "gru", "peephole_lstm"])
@pytest.mark.parametrize("layer", [0, 1])
def test_the_terms_add_up_to_the_gradient(cell: str, layer: int) -> None:
    network = Network(cell, layers=2)
    x, targets = data()
    terms = bptt_terms(network, x, targets, squares, layer=layer)
    state, total = network.initial_state(3), torch.zeros((), dtype=torch.float64)
    for t in range(7):
        y, state = network.step(x[t], state)
        total = total + squares(y, targets[t])
    (truth,) = torch.autograd.grad(total, [network.rnn.layers[layer].forward.weight_hh])  # type: ignore[union-attr]
    torch.testing.assert_close(terms.gradient, truth, rtol=0, atol=1e-12)
    assert terms.weight == f"rnn.layers.{layer}.forward.weight_hh"
    assert torch.equal(terms.norms.triu(1), torch.zeros(7, 7, dtype=torch.float64))


def test_the_terms_are_the_tutorials_products() -> None:
    """δ_{t,k} = diag(f'(z_k)) Uᵀ δ_{t,k+1}."""
    network = Network("elman")
    x, targets = data()
    terms = bptt_terms(network, x, targets, squares)
    u = network.rnn.layers[0].forward.weight_hh  # type: ignore[union-attr]
    states = network.rnn(x)[0]
    for t in range(7):
        for k in range(t):
            expected = (1 - states[k].square()) * (terms.delta[t, k + 1] @ u)
            torch.testing.assert_close(terms.delta[t, k], expected.detach())


@pytest.mark.parametrize("gamma", [0.5, 0.9, 1.1])
def test_gamma_of_a_linear_network_is_that_of_its_weights(gamma: float) -> None:
    network = Network("elman", gamma)
    x, targets = data(12, 1e-4)
    for p in network.rnn.parameters():
        if p.dim() == 1:
            nn.init.zeros_(p)
    found = diagnose(network, rc.Batch(x.transpose(0, 1), targets.transpose(0, 1)))
    assert found.gamma == pytest.approx(gamma, rel=1e-3)
    assert found.gamma_of_products == pytest.approx(gamma, rel=1e-3)
    (block,) = found.spectra["rnn.layers.0.forward.weight_hh"]
    assert block["radius"] == pytest.approx(gamma)
    assert block["largest"] == pytest.approx(block["smallest"])


def test_the_verdict_names_the_illness() -> None:
    x, targets = data(40)
    batch = rc.Batch(x.transpose(0, 1), targets.transpose(0, 1))
    assert "vanishes" in diagnose(Network("elman", 0.5), batch).verdict[0]
    growing = Network("elman", 1.3)
    for p in growing.rnn.parameters():
        if p.dim() == 1:
            nn.init.zeros_(p)
    words = diagnose(growing, rc.Batch(1e-9 * batch.inputs, batch.targets)).verdict
    assert "explodes" in words[0]
    assert "chaotic" in words[1]
    healthy = Network("lstm")
    bias = healthy.rnn.layers[0].forward.bias_ih  # type: ignore[union-attr]
    with torch.no_grad():
        bias[8:16] += 6.0
    found = diagnose(healthy, batch)
    assert "lives" in found.verdict[0]
    assert max(found.saturation.values()) > 0.9  # the forget gate, held open
    saturated = Network("elman", 30.0)
    assert any("at its ends" in line for line in diagnose(saturated, batch).verdict)


def test_influence_ends_where_the_taps_do() -> None:
    network = Network("tdnn")
    x, _ = data(20)
    felt = input_influence(network, x)
    heard = [k for k, value in enumerate(felt) if value > 0]
    assert heard == list(range(len(heard)))
    assert len(heard) < 10
    found = diagnose(network, rc.Batch(x.transpose(0, 1)))
    assert found.memory == len(heard)


def test_dead_units_are_counted_and_all_of_it_is_json() -> None:
    network = Network("elman", 0.1, nonlinearity="relu")
    with torch.no_grad():
        network.rnn.layers[0].forward.bias_ih[:4] = -100.0  # type: ignore[union-attr,index]
    x, _ = data(9)
    found = diagnose(network, rc.Batch(x.transpose(0, 1)))
    assert found.dead >= 0.5
    again = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert set(again) >= {"gradient", "gamma", "triangle", "lyapunov", "influence", "spectra", "verdict"}
    assert len(again["gradient"]) == 1
    assert len(again["gradient"][0]) == 8


def test_the_states_gradients_are_those_of_autograd() -> None:
    network = Network("gru", layers=2)
    x, targets = data(4)
    found = diagnose(network, rc.Batch(x.transpose(0, 1), targets.transpose(0, 1)), squares)
    state = network.initial_state(3)
    kept: list[Any] = []
    total = torch.zeros((), dtype=torch.float64)
    for t in range(4):
        y, state = network.step(x[t], state)
        kept.append(state)
        total = total + squares(y, targets[t])
    grads = torch.autograd.grad(total, kept[:-1])
    for t, g in enumerate(grads):
        for layer in range(2):
            assert found.gradient[layer][t] == pytest.approx(float(g[layer].norm()), rel=1e-9)
