"""Our RNN, GRU and LSTM beside torch.nn's: every option, every form of input, weights both ways, the same errors."""

from __future__ import annotations

import inspect
import itertools
from copy import deepcopy
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence
from torch.utils import _pytree as pytree

import recurra

PAIRS = [(nn.RNN, recurra.RNN), (nn.GRU, recurra.GRU), (nn.LSTM, recurra.LSTM)]
each_pair = pytest.mark.parametrize(("theirs", "ours"), PAIRS, ids=["RNN", "GRU", "LSTM"])
GRID = [
    dict(zip(("num_layers", "bidirectional", "bias", "batch_first"), values, strict=True))
    for values in itertools.product((1, 2), (False, True), (False, True), (False, True))
]


def both(theirs: Any, ours: Any, *args: Any, **options: Any) -> tuple[Any, Any]:
    """Build the two from one seed, in float64."""
    torch.manual_seed(7)
    a = theirs(*args, dtype=torch.float64, **options)
    torch.manual_seed(7)
    return a, ours(*args, dtype=torch.float64, **options)


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def initial(module: Any, batch: int | None = None) -> Any:
    """Draw an hx for a module, h and c for an LSTM."""
    rows = () if batch is None else (batch,)
    count = module.num_layers * (2 if module.bidirectional else 1)
    h = randn(count, *rows, module.proj_size or module.hidden_size)
    return (h, randn(count, *rows, module.hidden_size)) if module.mode == "LSTM" else h


def outcome(module: Any, x: Any, hx: Any = None) -> Any:
    """Return results and all gradients of one number made of them."""
    leaves = [v.detach().clone().requires_grad_() for v in pytree.tree_leaves((x, hx)) if isinstance(v, Tensor)]
    if isinstance(x, PackedSequence):
        data, *rest = leaves[:1] if hx is None else [leaves[0], *leaves[1:]]
        x = PackedSequence(data, x.batch_sizes, x.sorted_indices, x.unsorted_indices)
        given = rest
    else:
        x, *given = leaves
    hx = None if hx is None else tuple(given) if isinstance(hx, tuple) else given[0]
    y, state = module(x, hx)
    tensors = [y.data if isinstance(y, PackedSequence) else y, *(state if isinstance(state, tuple) else [state])]
    total = torch.stack([(v * torch.linspace(0.5, 1.5, v.numel(), dtype=v.dtype).view(v.shape)).sum() for v in tensors])
    wanted = [x.data if isinstance(x, PackedSequence) else x, *given, *module.parameters()]
    return y, state, list(torch.autograd.grad(total.sum(), wanted))


def assert_same(a: Any, b: Any, x: Any, hx: Any = None) -> None:
    expected, got = outcome(a, x, hx), outcome(b, x, hx)
    assert pytree.tree_structure(got) == pytree.tree_structure(expected)
    torch.testing.assert_close(got, expected)


def packed_sequences(*lengths: int, enforce_sorted: bool) -> PackedSequence:
    return pack_sequence([randn(n, 3) for n in lengths], enforce_sorted=enforce_sorted)


@each_pair
@pytest.mark.parametrize("options", GRID, ids=lambda o: "-".join(map(str, o.values())))
def test_every_form_of_input(theirs: Any, ours: Any, options: dict[str, Any]) -> None:
    a, b = both(theirs, ours, 3, 4, **options)
    batched = randn(2, 5, 3) if options["batch_first"] else randn(5, 2, 3)
    for x, rows in ((batched, 2), (randn(5, 3), None), (randn(1, 1, 3), 1)):
        assert_same(a, b, x)
        assert_same(a, b, x, initial(a, rows))


@each_pair
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_input(theirs: Any, ours: Any, bidirectional: bool) -> None:
    a, b = both(theirs, ours, 3, 4, 2, bidirectional=bidirectional)
    for lengths, is_sorted in (((5, 3, 3, 1), True), ((2, 5, 1, 5), False), ((3, 3, 3), False), ((1,), True)):
        x = packed_sequences(*lengths, enforce_sorted=is_sorted)
        assert_same_packed(a, b, x)


def assert_same_packed(a: Any, b: Any, x: PackedSequence) -> None:
    rows = int(x.batch_sizes[0])
    for hx in (None, initial(a, rows)):
        (y, state), (y_ours, state_ours) = a(x, hx), b(x, hx)
        assert pytree.tree_structure(state) == pytree.tree_structure(state_ours)
        torch.testing.assert_close(state_ours, state)
        torch.testing.assert_close(y_ours.data, y.data)
        assert torch.equal(y_ours.batch_sizes, y.batch_sizes)
        for order in ("sorted_indices", "unsorted_indices"):
            torch.testing.assert_close(getattr(y_ours, order), getattr(y, order))
        padded, lengths = pad_packed_sequence(y_ours)
        expected, expected_lengths = pad_packed_sequence(y)
        torch.testing.assert_close(padded, expected)
        assert torch.equal(lengths, expected_lengths)
        grads = torch.autograd.grad(y.data.square().sum(), list(a.parameters()))
        torch.testing.assert_close(torch.autograd.grad(y_ours.data.square().sum(), list(b.parameters())), grads)


@pytest.mark.parametrize("options", GRID, ids=lambda o: "-".join(map(str, o.values())))
def test_projection(options: dict[str, Any]) -> None:
    a, b = both(nn.LSTM, recurra.LSTM, 3, 5, proj_size=2, **options)
    x = randn(2, 4, 3) if options["batch_first"] else randn(4, 2, 3)
    assert_same(a, b, x)
    assert_same(a, b, x, initial(a, 2))
    assert_same(a, b, randn(4, 3), initial(a))
    assert_same_packed(a, b, packed_sequences(2, 4, enforce_sorted=False))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_nonlinearity_is_the_fourth_positional_argument_of_rnn(nonlinearity: str) -> None:
    a, b = both(nn.RNN, recurra.RNN, 3, 4, 2, nonlinearity, True, False, 0.0, True)
    assert b.nonlinearity == nonlinearity
    assert b.bidirectional
    assert_same(a, b, randn(5, 2, 3))


@each_pair
def test_positional_arguments_have_torchs_order(theirs: Any, ours: Any) -> None:
    middle = () if theirs is not nn.RNN else ("tanh",)
    a, b = both(theirs, ours, 3, 4, 2, *middle, False, True, 0.0, True)
    assert (b.bias, b.batch_first, b.bidirectional) == (False, True, True)
    assert_same(a, b, randn(2, 5, 3))
    names = list(inspect.signature(ours.forward).parameters)[:3]
    assert names == list(inspect.signature(theirs.forward).parameters)[:3] == ["self", "input", "hx"]


@each_pair
@pytest.mark.parametrize("probability", [0.4, 1.0])
def test_dropout_while_training(theirs: Any, ours: Any, probability: float) -> None:
    a, b = both(theirs, ours, 3, 4, 3, dropout=probability)
    x = randn(5, 2, 3)
    torch.manual_seed(1)
    expected = a(x)
    torch.manual_seed(1)
    torch.testing.assert_close(b(x), expected)
    torch.testing.assert_close(b.eval()(x), a.eval()(x))


@each_pair
@pytest.mark.parametrize("options", GRID[::3], ids=lambda o: "-".join(map(str, o.values())))
def test_weights_have_torchs_names_values_and_order(theirs: Any, ours: Any, options: dict[str, Any]) -> None:
    a, b = both(theirs, ours, 3, 4, **options)
    assert list(b.state_dict()) == list(a.state_dict())
    for name, value in a.state_dict().items():
        assert torch.equal(b.state_dict()[name], value), f"{name}: one seed, the same initial weights"
    for mine, its in zip(b.all_weights, a.all_weights, strict=True):
        assert [tuple(w.shape) for w in mine] == [tuple(w.shape) for w in its]
    b.flatten_parameters()


@each_pair
def test_state_dicts_go_both_ways(theirs: Any, ours: Any) -> None:
    a = theirs(3, 4, 2, bidirectional=True)
    b = ours(3, 4, 2, bidirectional=True)
    x = torch.randn(5, 2, 3)
    b.load_state_dict(load(save(a.state_dict())))
    torch.testing.assert_close(b(x), a(x))
    nn.init.normal_(b.weight_hh_l1_reverse)
    a.load_state_dict(load(save(b.state_dict())))
    torch.testing.assert_close(b(x), a(x))
    copied = deepcopy(b)
    assert torch.equal(copied(x)[0], b(x)[0])
    nn.init.zeros_(copied.weight_ih_l0)
    assert not torch.equal(copied(x)[0], b(x)[0])


@each_pair
def test_moves_between_dtypes_and_sees_replaced_weights(theirs: Any, ours: Any) -> None:
    module = ours(3, 4)
    assert module.double()(randn(5, 2, 3))[0].dtype == torch.float64
    assert module.to(torch.bfloat16)(torch.randn(5, 2, 3, dtype=torch.bfloat16))[0].dtype == torch.bfloat16
    module = module.double()
    module.weight_ih_l0 = nn.Parameter(torch.zeros_like(module.weight_ih_l0))
    x = randn(5, 2, 3)
    assert torch.equal(module(x)[0], module(2 * x)[0])
    swapped = {name: torch.zeros_like(v) for name, v in module.named_parameters()}
    assert not torch.func.functional_call(module, swapped, (x,))[0].any()


@each_pair
def test_a_call_draws_no_random_number(theirs: Any, ours: Any) -> None:
    module = ours(3, 4, 2)
    before = torch.get_rng_state()
    module(torch.randn(5, 2, 3, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), before)


@each_pair
def test_no_rows(theirs: Any, ours: Any) -> None:
    a, b = both(theirs, ours, 3, 4, 2, bidirectional=True)
    for x in (randn(5, 0, 3),):
        torch.testing.assert_close(b(x), a(x))


BAD_CALLS = {
    "no steps": lambda hx: (torch.zeros(0, 2, 3), None),
    "1-D": lambda hx: (torch.zeros(3), None),
    "4-D": lambda hx: (torch.zeros(1, 5, 2, 3), None),
    "wrong features": lambda hx: (torch.zeros(5, 2, 4), None),
    "wrong features, unbatched": lambda hx: (torch.zeros(5, 4), None),
    "wrong dtype": lambda hx: (torch.zeros(5, 2, 3, dtype=torch.float64), None),
    "integer input": lambda hx: (torch.zeros(5, 2, 3, dtype=torch.int64), None),
    "hx of another batch": lambda hx: (torch.zeros(5, 3, 3), hx(1, 2, 4)),
    "hx of another size": lambda hx: (torch.zeros(5, 2, 3), hx(1, 2, 5)),
    "hx of another depth": lambda hx: (torch.zeros(5, 2, 3), hx(2, 2, 4)),
    "hx unbatched": lambda hx: (torch.zeros(5, 2, 3), hx(1, 4)),
    "hx batched": lambda hx: (torch.zeros(5, 3), hx(1, 1, 4)),
    "hx of another dtype": lambda hx: (torch.zeros(5, 2, 3), hx(1, 2, 4, dtype=torch.float64)),
}


@each_pair
@pytest.mark.parametrize("call", BAD_CALLS)
def test_bad_calls_raise_the_same_kind_of_error(theirs: Any, ours: Any, call: str) -> None:
    def hx(*shape: int, **options: Any) -> Any:
        h = torch.zeros(*shape, **options)
        return (h, h) if theirs is nn.LSTM else h

    x, state = BAD_CALLS[call](hx)
    with pytest.raises(Exception) as expected:  # noqa: PT011
        theirs(3, 4)(x, state)
    with pytest.raises(type(expected.value)):
        ours(3, 4)(x, state)


@pytest.mark.parametrize("wrong", ["h", "c"])
def test_a_projected_lstm_checks_h_and_c(wrong: str) -> None:
    hx = (torch.zeros(1, 2, 3 if wrong == "h" else 2), torch.zeros(1, 2, 5 if wrong == "h" else 4))
    for cls in (nn.LSTM, recurra.LSTM):
        with pytest.raises(RuntimeError, match=r"Expected hidden\[[01]\] size"):
            cls(3, 5, proj_size=2)(torch.zeros(4, 2, 3), hx)


@each_pair
def test_bad_options_raise_the_same_kind_of_error(theirs: Any, ours: Any) -> None:
    bad: list[dict[str, Any]] = [{"dropout": 1.5}, {"proj_size": -1}, {"no_such_option": 1}, {"num_layers": 0}]
    bad += [{"proj_size": 2}] if theirs is not nn.LSTM else [{"proj_size": 4}]
    bad += [{"nonlinearity": "sine"}] if theirs is nn.RNN else []
    for options in bad:
        with pytest.raises(Exception) as expected:  # noqa: PT011
            theirs(3, 4, **options)
        with pytest.raises(type(expected.value)):
            ours(3, 4, **options)


@each_pair
def test_dropout_of_a_single_layer_warns_as_torch_does(theirs: Any, ours: Any) -> None:
    for cls in (theirs, ours):
        with pytest.warns(UserWarning, match="dropout option adds dropout after all but last recurrent layer"):
            cls(3, 4, dropout=0.5)


@each_pair
def test_beyond_torch_lengths_equal_packing_and_steps_equal_the_whole(theirs: Any, ours: Any) -> None:
    a, b = both(theirs, ours, 3, 4, 2, bidirectional=True)
    sequences = [randn(n, 3) for n in (2, 5, 1)]
    expected = a(pack_sequence(sequences, enforce_sorted=False))
    padded = nn.utils.rnn.pad_sequence(sequences)
    y, state, states = b(padded, lengths=[2, 5, 1], return_all_states=True)
    torch.testing.assert_close(y, pad_packed_sequence(expected[0])[0])
    torch.testing.assert_close(state, expected[1])
    first = states[0] if isinstance(states, tuple) else states
    torch.testing.assert_close(torch.cat([first[2], first[3]], -1), y)

    one_way = ours(3, 4, 2, dtype=torch.float64)
    whole, end = one_way(padded)
    now = one_way.initial_state(3)
    for t in range(5):
        y_t, now = one_way.step(padded[t], now)
        torch.testing.assert_close(y_t, whole[t])
    torch.testing.assert_close(now, end)
