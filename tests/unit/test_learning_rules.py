"""The learning rules against autograd, against each other, and against sums written by hand."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra as rc
from recurra import cells
from recurra.core import PerLayer
from recurra.core.errors import ArgumentError, ShapeError
from recurra.learning import (
    BPTT,
    RTRL,
    UORO,
    Carry,
    LearningRule,
    SnAp1,
    TruncatedBPTT,
    carried_tensors,
    restored_carry,
)
from recurra.networks import OneHot

WITHOUT_PARAMETERS = {"echo_state"}
OPTIONS: dict[str, dict[str, Any]] = {"neural_turing_machine": {"slots": 3, "width": 2}}
DIFFERENTIABLE = [name for name in cells.names() if name not in WITHOUT_PARAMETERS]
DIAGONAL = ["indrnn", "min_gru", "min_lstm", "sru"]
LENGTHS = torch.tensor([5, 2, 0])


class Network(nn.Module):
    """A stack of a cell with a linear head."""

    def __init__(self, cell: str, layers: int = 2, hidden: int = 4, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = rc.Recurrent(cell, 3, hidden, layers, **OPTIONS.get(cell, {}), **options)
        self.head = nn.Linear(self.rnn.output_size, 2)
        self.double()

    def initial_state(self, batch: int) -> Any:
        return self.rnn.initial_state(batch)

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        y, state = self.rnn.step(x, state)
        return self.head(y.movedim(1, -1)), state


def squares(y: Tensor, target: Tensor) -> Tensor:
    return (y - target).square().sum()


def data(network: nn.Module, steps: int = 5, batch: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = network.rnn.layers[0].cells[0].input_shape  # type: ignore[union-attr,index]
    x = torch.randn(steps, batch, *shape, generator=generator, dtype=torch.float64)
    return x, torch.randn(steps, batch, *[1] * (len(shape) - 1), 2, generator=generator, dtype=torch.float64)


def learned(rule: LearningRule, network: nn.Module, *arguments: Any) -> tuple[Tensor, Carry, list[Tensor]]:
    network.zero_grad()
    total, carry = rule.accumulate(network, *arguments)
    return total, carry, [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_rtrl_equals_bptt_for_every_cell(name: str) -> None:
    network = Network(name, 1 if name.startswith("conv") else 2, 2 if name.startswith("conv") else 4)
    x, targets = data(network)
    for lengths in (None, LENGTHS):
        truth = learned(BPTT(), network, x, targets, squares, None, lengths)
        total, carry, gradients = learned(RTRL(block=2), network, x, targets, squares, None, lengths)
        torch.testing.assert_close(total, truth[0], rtol=1e-12, atol=1e-12)
        same(gradients, truth[2])
        same(leaves(carry.state), leaves(truth[1].state))


@pytest.mark.parametrize("name", ["lstm", "clockwork", "indrnn"])
@pytest.mark.parametrize("block", [1, 3, 64])
def test_rtrl_looks_back_over_calls(name: str, block: int) -> None:
    """The gradient over three calls is that of the whole sequence, though each call sees only its own part."""
    network = Network(name)
    x, targets = data(network, 12)
    _, _, truth = learned(BPTT(), network, x, targets, squares)
    network.zero_grad()
    rule, carry = RTRL(block=block), None
    for span in (slice(0, 5), slice(5, 6), slice(6, 12)):
        _, carry = rule.accumulate(network, x[span], targets[span], squares, carry)
        carry = restored_carry(network, carried_tensors(carry))
        rule = RTRL(block=block)  # what it needs is in the carry
    same([p.grad for p in network.parameters() if p.grad is not None], truth)


def test_the_structure_grows_where_a_derivative_shows_itself_late() -> None:
    """Symbols as unit vectors: a column of the weights is heard of for the first time when its symbol comes."""

    class Symbols(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embed = OneHot(30)
            self.rnn = rc.Recurrent("indrnn", 30, 4, nonlinearity="tanh")
            self.double()

        def initial_state(self, batch: int) -> Any:
            return self.rnn.initial_state(batch)

        def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
            return self.rnn.step(self.embed(x), state)

    network = Symbols()
    x = torch.arange(30)[:, None]
    targets = torch.zeros(30, 1, 4, dtype=torch.float64)
    _, _, truth = learned(BPTT(), network, x, targets, squares)
    _, _, gradients = learned(RTRL(block=4), network, x, targets, squares)
    same(gradients, truth)


def test_a_learned_first_state_is_learned() -> None:
    class Start(rc.Cell):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__(input_size, hidden_size)
            self.start = nn.Parameter(torch.randn(hidden_size))
            self.mix = nn.Linear(input_size + hidden_size, hidden_size)

        def initial_state(self, batch: int, *, device: Any = None, dtype: Any = None) -> Any:
            return (self.start.to(device=device, dtype=dtype).expand(batch, -1),)

        def step(self, x: Tensor, state: Any) -> Any:
            h = torch.tanh(self.mix(torch.cat([x, state[0]], -1)))
            return h, (h,)

    torch.manual_seed(0)
    cell = Start(3, 4).double()  # a bare cell is a network too
    x, targets = torch.randn(6, 2, 3).double(), torch.randn(6, 2, 4).double()
    _, _, truth = learned(BPTT(), cell, x, targets, squares)
    assert truth[0].abs().max() > 0
    for rule in (RTRL(), RTRL(block=1), TruncatedBPTT(6)):
        same(learned(rule, cell, x, targets, squares)[2], truth)


@pytest.mark.parametrize("recompute", [0, 1, 2, 50])
def test_recomputing_gives_equal_gradients(recompute: int) -> None:
    network = Network("gru")
    x, targets = data(network)
    for lengths in (None, LENGTHS):
        truth = learned(BPTT(), network, x, targets, squares, None, lengths)
        found = learned(BPTT(recompute), network, x, targets, squares, None, lengths)
        same(found[2], truth[2])


def test_recomputing_draws_the_same_random_numbers() -> None:
    """With dropout, in a layer whose kernels may take over between the two passes."""
    layer = rc.Recurrent("gru", 3, 4, num_layers=2, dropout=0.5).double()
    x, targets = torch.randn(9, 2, 3).double(), torch.randn(9, 2, 4).double()
    found: list[tuple[Any, Tensor]] = []
    for rule in (BPTT(), BPTT(0), BPTT(4, clip=100.0)):
        torch.manual_seed(1)
        found.append((learned(rule, layer, x, targets, squares), torch.rand(2)))
    for (_, _, gradient), after in found[1:]:
        same(gradient, found[0][0][2])
        assert torch.equal(after, found[0][1])  # and leaves the generator where one pass leaves it


def test_recomputing_does_not_mind_who_runs_the_layer() -> None:
    layer = rc.Recurrent("elman", 1, 6).double()
    x = torch.randn(30, 2, 1).double()
    truth = learned(BPTT(), layer, x, x.expand(-1, -1, 6), squares)
    turns = iter(["reference", "hoisted"] * 100)

    def loss(y: Tensor, target: Tensor) -> Tensor:
        layer.backend = next(turns)
        return squares(y, target)

    same(learned(BPTT(0), layer, x, x.expand(-1, -1, 6), loss)[2], truth[2])


@pytest.mark.parametrize("module", [rc.LSTM, rc.RNN])
def test_bptt_is_backward_through_the_layer(module: Any) -> None:
    torch.manual_seed(0)
    layer = module(3, 4, 2).double()
    x, targets = torch.randn(5, 3, 3).double(), torch.randn(5, 3, 4).double()
    squares(layer(x)[0], targets).backward()
    truth = [p.grad.clone() for p in layer.parameters()]
    for rule in (BPTT(), RTRL(), TruncatedBPTT(5)):
        same(learned(rule, layer, x, targets, squares)[2], truth)


@pytest.mark.parametrize(("window", "every"), [(3, 3), (4, 2), (6, 1), (20, 10)])
def test_truncated_bptt_is_the_sum_over_its_windows(window: int, every: int) -> None:
    network = Network("elman", 1)
    x, targets = data(network, 8)
    expected = [torch.zeros_like(p) for p in network.parameters()]
    for start in range(0, 8, every):
        end = min(start + every, 8)
        state = network.initial_state(3)
        part: Any = 0
        for t in range(end):
            if t == max(0, end - window if end == start + every else start - (window - every)):
                state = state.detach()
            y, state = network.step(x[t], state)
            part = part + squares(y, targets[t]) if t >= start else part
        found = torch.autograd.grad(part, list(network.parameters()))
        expected = [a + b for a, b in zip(expected, found, strict=True)]
    same(learned(TruncatedBPTT(window, every), network, x, targets, squares)[2], expected)


@pytest.mark.parametrize("name", DIAGONAL)
def test_snap_is_rtrl_where_units_hear_only_themselves(name: str) -> None:
    network = Network(name, 1)
    x, targets = data(network)
    truth = learned(RTRL(), network, x, targets, squares)
    same(learned(SnAp1(block=2), network, x, targets, squares)[2], truth[2])


def test_snap_is_the_masked_recursion() -> None:
    """Written out for Elman's network: only the unit's own weights reach it."""
    torch.manual_seed(0)
    layer = rc.Recurrent("elman", 3, 4).double()
    x, targets = torch.randn(5, 1, 3).double(), torch.randn(5, 1, 4).double()
    cell: Any = layer.layers[0].cells[0]  # type: ignore[union-attr]
    parameters = list(cell.parameters())
    influence = [p.new_zeros(4, *p.shape) for p in parameters]
    expected = [torch.zeros_like(p) for p in parameters]
    h = x.new_zeros(4)
    for t in range(5):
        before = h.clone().requires_grad_()

        def step(h: Tensor, weights: list[Tensor], x: Tensor = x[t, 0]) -> Tensor:
            named = dict(zip(dict(cell.named_parameters()), weights, strict=True))
            return torch.func.functional_call(cell, named, (x[None], (h[None],)))[0][0]

        h = step(before, parameters).detach()
        d = torch.autograd.functional.jacobian(lambda h: step(h, parameters), before)
        for k, p in enumerate(parameters):

            def with_one(q: Tensor, k: int = k, before: Tensor = before) -> Tensor:
                return step(before, [q if i == k else v for i, v in enumerate(parameters)])

            now = torch.autograd.functional.jacobian(with_one, p)
            own = torch.eye(4, dtype=torch.float64).view(4, 4, *[1] * (p.dim() - 1))
            whole = torch.einsum("ij,j...->i...", d, influence[k]) + now
            influence[k] = own * whole
            expected[k] += torch.einsum("i,i...->...", 2 * (h - targets[t, 0]), whole)
    same(learned(SnAp1(), layer, x, targets, squares)[2], expected)


def test_uoro_is_unbiased() -> None:
    """20,000 draws, one pooled statistic fixed beforehand: the estimates along the true gradient."""
    torch.manual_seed(0)
    layer = rc.Recurrent("elman", 2, 3).double()
    x, targets = torch.randn(4, 1, 2).double(), torch.randn(4, 1, 3).double()
    _, _, truth = learned(BPTT(), layer, x, targets, squares)
    direction = torch.cat([g.flatten() for g in truth])
    direction /= direction.norm()
    draws, rows = 40, 500
    found = []
    for seed in range(draws):
        wide = x.expand(-1, rows, -1), targets.expand(-1, rows, -1)
        gradients = learned(UORO(seed), layer, *wide, squares)[2]
        found.append(torch.cat([g.flatten() for g in gradients]) @ direction / rows)
    estimates = torch.stack(found)
    error = (estimates.mean() - torch.cat([g.flatten() for g in truth]) @ direction).abs()
    assert error < 3 * estimates.std() / draws**0.5
    assert estimates.std() > 0


def test_uoro_goes_on_from_its_carry() -> None:
    network = Network("lstm")
    x, targets = data(network)
    _, _, truth = learned(UORO(3), network, x, targets, squares, None, LENGTHS)
    _, carry, _ = learned(UORO(3), network, x[:2], targets[:2], squares, None, LENGTHS.clamp(max=2))
    carry = restored_carry(network, carried_tensors(carry))
    UORO(99).accumulate(network, x[2:], targets[2:], squares, carry, (LENGTHS - 2).clamp(min=0))
    same([p.grad for p in network.parameters() if p.grad is not None], truth)


def test_one_backward_a_step_is_uoro_and_more_is_not() -> None:
    """In the first step there is no past: the estimate is exact."""
    network = Network("lstm")
    x, targets = data(network, 1)
    same(learned(UORO(), network, x, targets, squares)[2], learned(BPTT(), network, x, targets, squares)[2])


@pytest.mark.parametrize("rule", [RTRL(), SnAp1(), UORO(), BPTT(), TruncatedBPTT(3)], ids=lambda r: type(r).__name__)
def test_what_a_rule_cannot_do_it_refuses_by_name(rule: Any) -> None:
    two_way = rc.Recurrent("elman", 3, 4, bidirectional=True)
    x, targets = torch.randn(4, 2, 3), torch.zeros(4, 2, 4)
    with pytest.raises(ArgumentError, match=rf"^{type(rule).__name__} .*bidirectional"):
        rule.accumulate(two_way, x, targets, squares)
    with pytest.raises(ArgumentError, match=rf"^{type(rule).__name__} expects a network with step"):
        rule.accumulate(nn.Linear(3, 4), x, targets, squares)
    with pytest.raises(ShapeError, match="expected lengths of shape"):
        rule.accumulate(rc.Recurrent("elman", 3, 4), x, targets, squares, None, [5, 1])


@pytest.mark.parametrize("rule", [RTRL(), SnAp1(), UORO()], ids=lambda r: type(r).__name__)
def test_chance_is_refused(rule: Any) -> None:
    network = rc.Recurrent("elman", 3, 4, 2, dropout=0.5)
    x, targets = torch.randn(4, 2, 3), torch.zeros(4, 2, 4)
    with pytest.raises(ArgumentError, match=r"dropout.*network\.eval\(\)"):
        rule.accumulate(network, x, targets, squares)
    rule.accumulate(network.eval(), x, targets, squares)


def test_too_large_an_influence_is_refused_before_it_starts() -> None:
    network = rc.Recurrent("lstm", 128, 128)
    x, targets = torch.randn(2, 20, 128), torch.zeros(2, 20, 128)
    with pytest.raises(ArgumentError, match=r"RTRL would need 2\.71 GB .* may take 1 GB: use SnAp1\(\)"):
        RTRL(memory=1).accumulate(network, x, targets, squares)
    with pytest.raises(ArgumentError, match=r"SnAp1 would need .* GB .* TruncatedBPTT"):
        SnAp1(memory=1e-6).accumulate(Network("lstm"), *data(Network("lstm")), squares)


def test_a_diagonal_cell_keeps_an_entry_a_parameter() -> None:
    layer = rc.Recurrent("indrnn", 5, 7, nonlinearity="tanh").double()
    x, targets = torch.randn(4, 1, 5).double(), torch.zeros(4, 1, 7).double()
    _, carry, _ = learned(RTRL(), layer, x, targets, squares)
    entries = sum(v.numel() for name, v in carry.own.items() if name.startswith("influence"))
    assert entries == sum(p.numel() for p in layer.parameters())


def test_an_upper_layer_does_not_reach_the_lower() -> None:
    network = Network("elman")
    _, carry, _ = learned(RTRL(), network, *data(network, batch=1), squares)
    entries = sum(v.numel() for name, v in carry.own.items() if name.startswith("influence"))
    lower, upper = (sum(p.numel() for p in layer.parameters()) for layer in network.rnn.layers)
    assert entries == 8 * lower + 4 * upper


@pytest.mark.parametrize("make", [partial(RTRL, block=0), partial(RTRL, memory=-1.0), partial(TruncatedBPTT, 0),
                                  partial(TruncatedBPTT, 4, 3), partial(BPTT, -1)])  # fmt: skip
def test_options_are_checked(make: Any) -> None:
    with pytest.raises(ArgumentError):
        make()


def leaves(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    assert isinstance(state, tuple | PerLayer)
    return [leaf for entry in state for leaf in leaves(entry)]
