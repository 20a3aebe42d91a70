"""Kalman training against recursive least squares, against a filter written out, and over long runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra as rc
from recurra.core.errors import ArgumentError, ShapeError
from recurra.learning import (
    BPTT,
    EKF,
    RTRL,
    Annealed,
    Carry,
    RecursiveLeastSquares,
    carried_tensors,
    restored_carry,
)
from recurra.learning.covariance import Covariance, group_columns
from recurra.learning.forward_mode import ForwardMode
from recurra.learning.output_derivatives import ForwardDerivative, WindowDerivative
from recurra.learning.stepper import Stepper


class Network(nn.Module):
    def __init__(self, cell: str = "elman", hidden: int = 4, outputs: int = 1, layers: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = rc.Recurrent(cell, 2, hidden, layers)
        self.head = nn.Linear(hidden, outputs)
        self.double()

    def initial_state(self, batch: int) -> Any:
        return self.rnn.initial_state(batch)

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        y, state = self.rnn.step(x, state)
        return self.head(y), state


class Linear(nn.Module):
    """y = W x + c, with a state that nothing hears."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.double()

    def initial_state(self, batch: int) -> Tensor:
        return torch.zeros(1, batch, 1, dtype=torch.float64)

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        return self.linear(x), state


def stream(steps: int, batch: int = 1, outputs: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(steps, batch, 2, generator=generator, dtype=torch.float64)
    return x, torch.randn(steps, batch, outputs, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("groups", ["global", "node"])
@pytest.mark.parametrize("window", [1, 5, None])
def test_on_a_linear_model_it_is_recursive_least_squares(groups: Any, window: int | None) -> None:
    """Outputs of a linear model do not share weights, so that its nodes are independent indeed."""
    x, y = stream(60, outputs=3)
    network = Linear(2, 3)
    EKF(groups, window=window, noise=1.0, process=0.0, variance=100.0).update(network, x, y)
    other = RecursiveLeastSquares(2, 3, penalty=0.01)
    other.update(x[:, 0], y[:, 0])
    truth = other.solve()
    torch.testing.assert_close(network.linear.weight.detach(), truth.weight.detach(), rtol=0, atol=1e-9)
    torch.testing.assert_close(network.linear.bias.detach(), truth.bias.detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("cell", ["elman", "lstm", "clockwork"])
def test_both_derivatives_are_those_of_the_whole_past(cell: str) -> None:
    network = Network(cell, 4, 2, 2)
    x, _ = stream(5, batch=3)
    stepper = Stepper(network, "test")
    state = network.initial_state(3)
    for t in range(5):
        y, state = network.step(x[t], state)
    leaves = list(network.parameters())
    truth = torch.stack(
        [torch.cat([g.flatten() for g in torch.autograd.grad(v, leaves, retain_graph=True)]) for v in y.flatten()]
    )
    window = WindowDerivative(stepper, 5, 3, None)
    forward = ForwardDerivative(ForwardMode("test", True, 1, None), stepper, x, None)
    for made in (window, forward):
        for t in range(5):
            out = made.step(x[t])
        torch.testing.assert_close(out, y.detach())
        torch.testing.assert_close(made.derivative(), truth, rtol=1e-10, atol=1e-12)


def test_a_window_cuts_what_is_older() -> None:
    network = Network()
    x, _ = stream(6)
    made = WindowDerivative(Stepper(network, "test"), 3, 1, None)
    state = network.initial_state(1)
    for t in range(6):
        made.step(x[t])
        if t == 3:
            state = state.detach()
        y, state = network.step(x[t], state)
    truth = torch.cat([g.flatten() for g in torch.autograd.grad(y, list(network.parameters()))])
    torch.testing.assert_close(made.derivative()[0], truth, rtol=1e-10, atol=1e-12)


def test_decoupled_updates_are_the_papers() -> None:
    """One update of two streams, written out group by group with the plain formulas."""
    x, y = stream(1, batch=2, outputs=2)
    network, twin = Network(outputs=2), Network(outputs=2)
    out, _ = twin.step(x[0], twin.initial_state(2))
    leaves = dict(twin.named_parameters())
    h = torch.stack([
        torch.cat([g.flatten() for g in torch.autograd.grad(v, list(leaves.values()), retain_graph=True)])
        for v in out.flatten()
    ])  # fmt: skip
    variance, noise = 0.7, 0.3
    total = noise * torch.eye(4, dtype=torch.float64)
    groups = [g for columns in group_columns(leaves, "node") for g in columns]
    assert len(groups) == 4 + 2
    for g in groups:
        total = total + variance * h[:, g] @ h[:, g].T
    change = torch.zeros(h.shape[1], dtype=torch.float64)
    for g in groups:
        change[g] = variance * h[:, g].T @ torch.linalg.inv(total) @ (y[0] - out).flatten()
    _, carry = EKF("node", window=2, noise=noise, process=0.0, variance=variance).update(network, x, y)
    found = torch.cat([(p - q).flatten() for p, q in zip(network.parameters(), twin.parameters(), strict=True)])
    torch.testing.assert_close(found, change.detach(), rtol=1e-10, atol=1e-12)
    g = groups[0]
    plain = variance * torch.eye(len(g), dtype=torch.float64)
    plain = plain - plain @ h[:, g].T @ torch.linalg.inv(total) @ h[:, g] @ plain
    torch.testing.assert_close(carry.own["covariance.0"][0], plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("process", "updates"), [(0.0, 10_000), (1e-4, 1000)])
def test_it_stays_positive_definite_for_ten_thousand_updates(process: float, updates: int) -> None:
    """Measurements that hardly differ, with hardly any noise, of weights of which nothing is known: the plain form
    P - K H P loses its sign here within a few hundred."""
    generator = torch.Generator().manual_seed(0)
    covariance = Covariance.initial([torch.arange(6).view(2, 3)], 1e8)
    for k in range(updates):
        h = 100 + 1e-3 * torch.randn(1, 6, generator=generator, dtype=torch.float64)
        noise = torch.tensor([[max(1e-6, 0.99**k)]], dtype=torch.float64)
        covariance.measure(h, noise, torch.zeros(1, dtype=torch.float64), process)
        if k % 100 == 0:
            torch.linalg.cholesky(covariance.blocks[0])
    (block,) = covariance.blocks
    assert torch.equal(block, block.transpose(1, 2))
    assert torch.linalg.eigvalsh(block).min() > 0


def test_classes_are_learned_as_by_the_information_form() -> None:
    """P⁻¹ gains dyᵀ (diag p - p pᵀ) dy with every class that is seen, and the weights a Newton step of its loss."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 1, 2, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 3, (20, 1), generator=generator)
    network = Linear(2, 3)
    total, carry = EKF("global", window=1, process=0.0, variance=2.0, outputs="softmax").update(network, x, targets)
    theta, information = torch.zeros(9, dtype=torch.float64), torch.eye(9, dtype=torch.float64) / 2
    expected: Any = 0
    for t in range(20):
        h = torch.zeros(3, 9, dtype=torch.float64)
        for k in range(3):
            h[k, 2 * k : 2 * k + 2], h[k, 6 + k] = x[t, 0], 1
        p = (h @ theta).softmax(0)
        expected = expected - p[targets[t, 0]].log()
        information = information + h.T @ (torch.diag(p) - torch.outer(p, p)) @ h
        theta = theta + torch.linalg.solve(information, h.T @ (nn.functional.one_hot(targets[t, 0], 3) - p))
    torch.testing.assert_close(torch.cat([p.detach().flatten() for p in network.parameters()]), theta)
    torch.testing.assert_close(carry.own["covariance.0"][0], torch.linalg.inv(information))
    torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("window", [3, None])
@pytest.mark.parametrize("groups", ["global", "layer", "node"])
def test_it_goes_on_from_its_carry_bit_for_bit(groups: Any, window: int | None) -> None:
    x, y = stream(12, batch=2)
    rule = {"window": window, "noise": Annealed(1.0, 0.1, 8)}
    one, other = Network("lstm"), Network("lstm")
    carry: Carry | None = None
    for part in (slice(0, 5), slice(5, 12)):
        _, carry = EKF(groups, **rule).update(one, x[part], y[part], carry)
    _, middle = EKF(groups, **rule).update(other, x[:5], y[:5])
    saved = {name: t.clone() for name, t in carried_tensors(middle).items()}
    third = Network("lstm")
    third.load_state_dict(other.state_dict())
    EKF(groups, **rule).update(third, x[5:], y[5:], restored_carry(third, saved))
    for a, b in zip(one.parameters(), third.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_is_not_measured_changes_nothing() -> None:
    x, y = stream(4, batch=2)
    network, twin = Network(), Network()
    EKF(window=2).update(network, x, torch.full_like(y, torch.nan))
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_it_learns_faster_than_it_forgets() -> None:
    """A sine from its past: the error of the second half is below a third of that of the first."""
    t = torch.arange(300, dtype=torch.float64) * 0.2
    x = torch.stack([t.sin(), torch.ones_like(t)], 1)[:, None]
    network = Network(hidden=6)
    first, carry = EKF("node", window=5, noise=0.1, variance=1.0).update(network, x[:150], t.cos()[:150, None, None])
    second, _ = EKF("node", window=5, noise=0.1).update(network, x[150:], t.cos()[150:, None, None], carry)
    assert second < first / 3


def test_refusals() -> None:
    x, y = stream(3)
    with pytest.raises(ArgumentError, match=r"^EKF .*bidirectional"):
        EKF().update(rc.Recurrent("elman", 2, 3, bidirectional=True), x, y)
    with pytest.raises(ShapeError, match="expected targets of 1 numbers a row"):
        EKF().update(Network(), x, torch.zeros(3, 1, 2))
    with pytest.raises(ShapeError, match="expected a class"):
        EKF(outputs="softmax").update(Network(), x, y)
    with pytest.raises(ArgumentError, match=r'EKF would need .* GB .* in 1 group\(s\), .* use groups="node"'):
        EKF("global").update(rc.Recurrent("lstm", 2, 300), x.float(), y.float())
    for options in ({"groups": "cell"}, {"window": 0}, {"noise": 0.0}, {"variance": 0.0}, {"outputs": "x"}):
        with pytest.raises(ArgumentError):
            EKF(**options)
    with pytest.raises(ArgumentError):
        Annealed(1.0, 0.0, 5)


def test_rules_still_see_the_weights_after_an_update() -> None:
    """Weights that changed under a graph are seen by whatever comes after."""
    x, y = stream(5)
    network = Network()
    EKF(window=2).update(network, x, y)
    grads = []
    for rule in (BPTT(), RTRL()):
        network.zero_grad()
        rule.accumulate(network, x, y, lambda a, b: (a - b).square().sum())
        grads.append([p.grad for p in network.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)
