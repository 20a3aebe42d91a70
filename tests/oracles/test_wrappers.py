"""Wrappers beside loops written by hand, while training and not, under every backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra import Recurrent, cells, scan
from recurra.core import Cell, State
from recurra.core.errors import ArgumentError
from recurra.scan import cpp_compiler
from recurra.wrappers import get

T, B, I, H = 6, 3, 4, 4  # noqa: E741
Zoneout, Residual, WeightDrop = get("zoneout"), get("residual"), get("weight_drop")
LearnedState, RecurrentDropout = get("learned_state"), get("recurrent_dropout")
ParallelSubnetworks = get("parallel_subnetworks")
each_cell = pytest.mark.parametrize("name", ["elman", "lstm", "gru", "gru_reset_before", "layer_norm_gru"])


def make(name: str) -> Cell:
    return cells.get(name)(I, H).double()


def data() -> Tensor:
    return torch.randn(T, B, I, dtype=torch.float64)


def by_hand(cell: Cell, x: Tensor, change: Callable[[int, Tensor, State, State], tuple[Tensor, State]]) -> Tensor:
    """Run a cell step by step; change(t, y, old state, new state) is what comes of each step."""
    state = cell.initial_state(x.shape[1], dtype=x.dtype)
    ys: list[Tensor] = []
    for t, x_t in enumerate(x):
        y, new = cell(x_t, state)
        y, state = change(t, y, state, new)
        ys.append(y)
    return torch.stack(ys)


def context_of(cell: Cell) -> tuple[tuple[Any, ...], tuple[Tensor, ...]]:
    """Draw what the next call from the same seed draws."""
    torch.manual_seed(7)
    return cell.make_context((), T, B, torch.device("cpu"), torch.float64)


def run(cell: Cell, x: Tensor, **options: Any) -> Any:
    torch.manual_seed(7)
    return scan(cell, x, **options)


TRAINED: dict[str, Callable[[str], Cell]] = {
    "zoneout": lambda name: Zoneout(make(name), 0.4),
    "residual": lambda name: Residual(make(name)),
    "weight_drop": lambda name: WeightDrop(make(name), ["weight_hh"], 0.5),
    "learned_state": lambda name: LearnedState(make(name)),
    "recurrent_dropout": lambda name: RecurrentDropout(make(name), 0.5),
    "parallel_subnetworks": lambda name: ParallelSubnetworks.of(cells.get(name), I, H, groups=2).double(),
    "all at once": lambda name: Residual(LearnedState(Zoneout(WeightDrop(RecurrentDropout(make(name))), 0.2))),
    "noise in subnetworks": lambda name: ParallelSubnetworks.of(
        lambda i, h: Zoneout(RecurrentDropout(cells.get(name)(i, h))), I, H
    ).double(),
}


@pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler on this machine")
@pytest.mark.parametrize("wrapper", TRAINED)
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_every_backend_equals_the_loop_while_training(wrapper: str, name: str) -> None:
    cell, x = TRAINED[wrapper](name).train(), data()
    results: list[list[Tensor]] = []
    for backend in ("reference", "hoisted", "cpp"):
        result = run(cell, x, backend=backend, lengths=[6, 0, 4])
        grads = torch.autograd.grad(result.y.square().sum(), list(cell.parameters()))
        results.append([result.y, *result.state, *grads])
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(results[2], results[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("wrapper", ["zoneout", "weight_drop", "recurrent_dropout"])
def test_noise_differs_from_call_to_call_and_not_in_evaluation(wrapper: str) -> None:
    cell, x = TRAINED[wrapper]("lstm").train(), data()
    assert not torch.equal(scan(cell, x).y, scan(cell, x).y)
    cell.eval()
    assert torch.equal(scan(cell, x).y, scan(cell, x).y)


@each_cell
def test_zoneout_keeps_single_units_while_training(name: str) -> None:
    inner = make(name)
    cell = Zoneout(inner, 0.4).train()
    _, kept = context_of(cell)
    assert 0.2 < float(torch.cat([k.flatten() for k in kept]).double().mean()) < 0.6

    def change(t: int, y: Tensor, old: State, new: State) -> tuple[Tensor, State]:
        mixed = tuple(torch.where(k[t], o, n) for k, o, n in zip(kept, old, new, strict=True))
        return mixed[0], mixed  # all these cells' y is their first state

    x = data()
    torch.testing.assert_close(run(cell, x).y, by_hand(inner, x, change))


@each_cell
def test_zoneout_takes_the_expectation_in_evaluation(name: str) -> None:
    inner = make(name)
    rates = (0.05, 0.5)[: len(inner.state_shapes())]

    def change(_t: int, y: Tensor, old: State, new: State) -> tuple[Tensor, State]:
        mixed = tuple(r * o + (1 - r) * n for r, o, n in zip(rates, old, new, strict=True))
        return mixed[0], mixed

    x = data()
    torch.testing.assert_close(scan(Zoneout(inner, rates).eval(), x).y, by_hand(inner, x, change))


def test_zoneout_leaves_an_output_that_is_no_state_and_integers_alone() -> None:
    bare = make("bare_unit")
    x = data()
    outputs = by_hand(bare, x[:1], lambda _t, y, _old, new: (y, new))
    torch.testing.assert_close(scan(Zoneout(bare, 0.5).eval(), x[:1]).y, outputs)
    clock = cells.get("clockwork")(I, H)
    integers = [k for k, s in enumerate(clock.initial_state(1)) if not s.is_floating_point()]
    assert integers
    for training in (True, False):
        state = scan(Zoneout(clock, 0.9).train(training), x.float()).state
        assert torch.equal(state[integers[0]], scan(clock, x.float()).state[integers[0]])


def test_zoneout_of_rate_0_and_1() -> None:
    inner, x = make("lstm"), data()
    for training in (True, False):
        assert torch.equal(scan(Zoneout(inner, 0.0).train(training), x).y, scan(inner, x).y)
        assert not scan(Zoneout(inner, 1.0).train(training), x).y.any()


@each_cell
def test_residual_adds_the_input(name: str) -> None:
    inner, x = make(name), data()
    result, plain = scan(Residual(inner), x), scan(inner, x)
    torch.testing.assert_close(result.y, x + plain.y)
    torch.testing.assert_close(result.state, plain.state)


@each_cell
def test_weight_drop_is_the_cell_with_other_weights(name: str) -> None:
    inner, x = make(name), data()
    cell = WeightDrop(inner, ["weight_hh"], 0.5).train()
    (dropped,), _ = context_of(cell)
    weights = dropped.tensor
    missing = weights == 0
    assert 0.2 < float(missing.double().mean()) < 0.8
    torch.testing.assert_close(weights[~missing], 2 * inner.weight_hh[~missing])
    expected = torch.func.functional_call(_Scan(inner), {"cell.weight_hh": weights.detach()}, (x,))
    torch.testing.assert_close(run(cell, x).y, expected)
    (g,) = torch.autograd.grad(run(cell, x).y.sum(), inner.weight_hh)
    assert torch.equal(g == 0, missing)
    assert torch.equal(scan(cell.eval(), x).y, scan(inner, x).y)


class _Scan(torch.nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        return scan(self.cell, x).y


def test_weight_drop_takes_all_matrices_by_default() -> None:
    assert WeightDrop(make("lstm")).names == ("weight_ih", "weight_hh")


@each_cell
def test_learned_state_begins_where_the_parameters_say(name: str) -> None:
    inner, x = make(name), data()
    cell = LearnedState(inner)
    torch.testing.assert_close(scan(cell, x).y, scan(inner, x).y)
    start = [torch.randn_like(p) for p in cell.initial.values()]
    with torch.no_grad():
        for p, s in zip(cell.initial.values(), start, strict=True):
            p.copy_(s)
    torch.testing.assert_close(scan(cell, x).y, scan(inner, x, tuple(s.expand(B, H) for s in start)).y)
    grads = torch.autograd.grad(scan(cell, x).y.sum(), list(cell.initial.values()))
    assert all(bool(g.any()) for g in grads)


def test_learned_state_leaves_clocks_alone() -> None:
    cell = LearnedState(cells.get("clockwork")(I, H))
    assert all(p.is_floating_point() for p in cell.parameters())
    assert [s.dtype for s in cell.initial_state(2)] == [s.dtype for s in cell.cell.initial_state(2)]


@pytest.mark.parametrize("name", ["elman", "lstm", "cifg_lstm", "peephole_lstm", "layer_norm_lstm", "jordan"])
def test_recurrent_dropout_masks_h_and_never_c(name: str) -> None:
    inner, x = make(name), data()
    cell = RecurrentDropout(inner, 0.5).train()
    (mask,), _ = context_of(cell)
    assert set(mask.flatten().tolist()) == {0.0, 2.0}
    state = inner.initial_state(B, dtype=torch.float64)
    ys: list[Tensor] = []
    for x_t in x:
        y, state = inner(x_t, (state[0] * mask, *state[1:]))
        ys.append(y)
    torch.testing.assert_close(run(cell, x).y, torch.stack(ys))
    assert torch.equal(scan(cell.eval(), x).y, scan(inner, x).y)


@pytest.mark.parametrize("name", ["gru", "gru_reset_before", "layer_norm_gru"])
def test_recurrent_dropout_of_a_gru_keeps_what_z_keeps(name: str) -> None:
    inner, x = make(name), data()
    cell = RecurrentDropout(inner, 0.5).train()
    (mask,), _ = context_of(cell)
    first = torch.randn(B, H, dtype=torch.float64)
    masked = run(cell, x[:1], state=(first,)).y[0]
    # With z held open by its bias the state is copied whole, masked or not.
    opened = make(name)
    opened.load_state_dict(inner.state_dict())
    with torch.no_grad():
        (opened.bias if hasattr(opened, "bias") else opened.bias_ih)[H : 2 * H] = 1e3
    torch.testing.assert_close(run(RecurrentDropout(opened, 0.5).train(), x, state=(first,)).y[-1], first)
    # What the products see is h times the mask: z h + (1 - z) g, with z and g from the masked state.
    z_and_g = partial(_parts, inner, x[0])
    z, g = z_and_g(first * mask)
    torch.testing.assert_close(masked, z * first + (1 - z) * g)


def _parts(cell: Cell, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Recover z and g of one GRU step: h' = z h + (1 - z) g is linear in the h that is carried."""

    def carried(value: float) -> Tensor:
        whole = torch.full_like(h, value)
        # masked_step(x, (whole,), mask) sees whole * mask = h in its products
        return cell.masked_step(x, (whole,), h / whole)[0]

    low, high = carried(1.0), carried(2.0)
    z = high - low
    return z, (low - z) / (1 - z)


def test_what_cannot_be_wrapped_is_refused_by_name() -> None:
    with pytest.raises(ArgumentError, match="RecurrentDropout: LeakyCell does not say"):
        RecurrentDropout(make("leaky"))
    with pytest.raises(ArgumentError, match="RecurrentDropout: Zoneout does not say"):
        RecurrentDropout(Zoneout(make("lstm")))
    with pytest.raises(ArgumentError, match=r"LSTMCell has inputs of shape \(3,\) and outputs of shape \(4,\)"):
        Residual(cells.get("lstm")(3, 4))
    with pytest.raises(ArgumentError, match="names must be a list of parameters of LSTMCell"):
        WeightDrop(make("lstm"), ["weight_hr"])
    with pytest.raises(ArgumentError, match="names must be a list"):
        WeightDrop(make("lstm"), "weight_hh")
    with pytest.raises(ArgumentError, match="expected a rate between 0 and 1, or 2 of them"):
        Zoneout(make("lstm"), (0.1, 0.2, 0.3))
    with pytest.raises(ArgumentError, match="groups must divide hidden_size 4, got 3"):
        ParallelSubnetworks.of(cells.get("lstm"), I, H, groups=3)
    with pytest.raises(ArgumentError, match="expected cells of one class"):
        ParallelSubnetworks(make("lstm"), make("gru"))
    for wrapper in (WeightDrop, RecurrentDropout):
        with pytest.raises(ArgumentError, match="p must be a probability below 1"):
            wrapper(make("lstm"), p=1.0)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("name", ["elman", "lstm", "gru"])
def test_subnetworks_run_side_by_side(name: str, groups: int) -> None:
    cell = ParallelSubnetworks.of(cells.get(name), I, H, groups=groups).double()
    parts = [cell.cell, *cell.others]
    x = data()
    torch.testing.assert_close(scan(cell, x).y, torch.cat([scan(p, x).y for p in parts], -1))
    assert cell.output_shape == (H,)
    whole = sum(p.weight_hh.numel() for p in parts)
    assert whole * groups == make(name).weight_hh.numel()


def test_wrappers_in_layers() -> None:
    rnn = Recurrent(lambda i, h: Zoneout(RecurrentDropout(cells.get("lstm")(i, h)), (0.05, 0.5)), I, H, num_layers=2)
    y, state = rnn(data().float(), lengths=[6, 0, 3])
    assert y.shape == (T, B, H)
    assert [s.shape for s in state] == [(2, B, H), (2, B, H)]
