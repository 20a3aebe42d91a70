"""`Recurrent`: forms of input and state, dropout, and what it refuses; the states of stacks of unlike layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence, pad_sequence

from recurra import Recurrent, index_rows
from recurra.cells import get
from recurra.core import PerLayer
from recurra.core.errors import ArgumentError, ShapeError, UnknownNameError
from recurra.layers.layout import Layout
from recurra.wrappers import get as get_wrapper


def mixed(inputs: int, hidden: int) -> Any:
    """Return cells whose second state depends on the layer: BackProjection over cells of unlike outputs."""
    return get_wrapper("back_projection").of(lambda i, h: get("jordan")(i, h, output_size=inputs), inputs, hidden)


def unlike() -> Recurrent:
    """Return a stack whose layers' states have different sizes: 2 above the input, 4 above both directions."""
    return Recurrent(mixed, 2, 3, num_layers=2, bidirectional=True)


def test_forms_of_input_agree() -> None:
    rnn = Recurrent("gru", 2, 3, num_layers=2, bidirectional=True)
    sequences = [torch.randn(n, 2) for n in (2, 4, 3)]
    y, state = rnn(pad_sequence(sequences), lengths=[2, 4, 3])
    rnn.batch_first = True
    y_first, state_first = rnn(pad_sequence(sequences, batch_first=True), lengths=[2, 4, 3])
    torch.testing.assert_close(y_first.transpose(0, 1), y)
    torch.testing.assert_close(state_first, state)
    packed, state_packed = rnn(pack_sequence(sequences, enforce_sorted=False))
    torch.testing.assert_close(pad_packed_sequence(packed)[0], y)
    torch.testing.assert_close(state_packed, state)
    alone, state_alone = rnn(sequences[1])
    torch.testing.assert_close(alone, y[:, 1])
    torch.testing.assert_close(state_alone, state[:, 1])
    again, _ = rnn(sequences[1], state_alone)
    assert again.shape == (4, 6)


def test_a_state_of_one_tensor_is_that_tensor_and_others_are_tuples() -> None:
    x = torch.randn(4, 3, 2)
    assert Recurrent("gru", 2, 5)(x)[1].shape == (1, 3, 5)
    h, c = Recurrent("projected_lstm", 2, 5, num_layers=2, proj_size=2)(x)[1]
    assert (h.shape, c.shape) == ((2, 3, 2), (2, 3, 5))


def test_states_of_unlike_shapes_stay_apart_in_every_form() -> None:
    rnn = unlike()
    x = torch.randn(5, 3, 2)
    y, state, states = rnn(x, lengths=[5, 0, 2], return_all_states=True)
    for entry in state:
        assert isinstance(entry, PerLayer)
        assert [tuple(s.shape) for s in entry] == [(3, 2), (3, 2), (3, 4), (3, 4)]
    assert [tuple(s.shape) for s in states[0]] == [(5, 3, 2), (5, 3, 2), (5, 3, 4), (5, 3, 4)]
    assert y.shape == (5, 3, 8)
    picked = index_rows(state, torch.tensor([2, 0, 2]))
    assert isinstance(picked[0], PerLayer)
    again, end = rnn(x[:, [2, 0, 2]], picked)
    expected, expected_end = rnn(x, state)
    torch.testing.assert_close(again[:, 0], expected[:, 2])
    torch.testing.assert_close(end[1][3][1], expected_end[1][3][0])
    alone, own = rnn(x[:, 0])
    torch.testing.assert_close(alone, y[:, 0])
    assert own[0][2].shape == (4,)
    torch.testing.assert_close(rnn(x[:, 0], own)[0], rnn(x[:, :1], index_rows(state, [0]))[0][:, 0])


def test_index_rows_on_every_structure() -> None:
    h = torch.arange(6.0).view(1, 3, 2)
    rows = [2, 0, 0]
    assert torch.equal(index_rows(h, rows), h[:, rows])
    assert torch.equal(index_rows(h[0], rows, dim=0), h[0][rows])
    first, (second, third) = index_rows((h, PerLayer([h[0], h[0] + 1])), torch.tensor(rows, dtype=torch.int32))
    assert torch.equal(first, h[:, rows])
    assert torch.equal(second, h[0][rows])
    assert torch.equal(third, h[0][rows] + 1)
    assert index_rows(h, []).shape == (1, 0, 2)


@pytest.mark.parametrize(
    ("cell", "state", "message"),
    [
        ("gru", torch.zeros(2, 3, 6), r"state 0: .*\(2, 3, 5\), got \(2, 3, 6\): dimension 2 must be 5, not 6"),
        ("gru", torch.zeros(2, 4, 5), r"dimension 1 must be 3, not 4"),
        ("gru", torch.zeros(1, 3, 5), r"dimension 0 must be 2, not 1"),
        ("gru", torch.zeros(3, 5), r"expected 3 dimensions \(2, 3, 5\), got 2 dimensions \(3, 5\)"),
        ("lstm", torch.zeros(2, 3, 5), "expected a state of 2 entries, got a tensor"),
        ("lstm", (torch.zeros(2, 3, 5),), "expected a state of 2 entries, got 1 entries"),
        ("lstm", (torch.zeros(2, 3, 5), torch.zeros(2, 3, 4)), "state 1: .*dimension 2 must be 5, not 4"),
        ("gru", PerLayer([torch.zeros(3, 5)] * 2), "expected one tensor for all layers and directions, got PerLayer"),
    ],
)
def test_a_state_of_another_shape_is_refused(cell: str, state: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Recurrent(cell, 2, 5, num_layers=2)(torch.zeros(4, 3, 2), state)
    with pytest.raises(ShapeError, match=message):
        Recurrent(cell, 2, 5, num_layers=2).step(torch.zeros(3, 2), state)


def test_a_state_of_unlike_layers_is_checked_too() -> None:
    rnn = unlike()
    _, (first, second) = rnn(torch.zeros(4, 3, 2))
    with pytest.raises(ShapeError, match="state 1: expected a tuple of 4 tensors, one for each layer and direction"):
        rnn(torch.zeros(4, 3, 2), (first, PerLayer(second[:3])))
    with pytest.raises(ShapeError, match=r"state 1, tensor 0: .*dimension 1 must be 2, not 4"):
        rnn(torch.zeros(4, 3, 2), (first, PerLayer(second[::-1])))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_layers": 0}, ArgumentError, "num_layers must be at least 1, got 0"),
        ({"dropout": 1.5}, ArgumentError, "dropout must be a probability between 0 and 1, got 1.5"),
        ({"cell": "lstmm"}, UnknownNameError, "no cell is called 'lstmm': did you mean 'lstm'"),
        ({"cell": 3}, ArgumentError, "cell must be a Cell class, a registered name .* got int"),
        ({"cell": nn.Linear}, ArgumentError, "the cell factory must return a recurra.Cell, got Linear"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Recurrent(**{"cell": "gru", "input_size": 2, "hidden_size": 3, **options})


def test_what_cannot_be_run_is_refused() -> None:
    rnn = Recurrent("gru", 2, 3, bidirectional=True)
    with pytest.raises(ArgumentError, match="a bidirectional network needs the whole sequence"):
        rnn.step(torch.zeros(1, 2))
    with pytest.raises(ArgumentError, match="give either lengths or a packed input, not both"):
        rnn(pack_sequence([torch.zeros(2, 2)]), lengths=[2])
    with pytest.raises(ShapeError, match=r"expected an input of 3 dimensions \(or 2 for one sequence alone\), got 1"):
        rnn(torch.zeros(2))


def test_dropout_acts_between_layers_while_training_only() -> None:
    rnn = Recurrent("gru", 2, 3, num_layers=2, dropout=1.0)
    x = torch.randn(4, 3, 2)
    dropped, _ = rnn(x)
    upper = Recurrent(lambda _i, _h: rnn.layers[1].forward, 3, 3)
    torch.testing.assert_close(dropped, upper(torch.zeros(4, 3, 3))[0])
    assert not torch.allclose(rnn.eval()(x)[0], dropped)
    single = Recurrent("gru", 2, 3, dropout=1.0)
    torch.testing.assert_close(single(x)[0], single.eval()(x)[0])


def test_layout_brings_back_what_it_was_given() -> None:
    x = torch.randn(3, 4, 2)
    assert torch.equal(Layout(x, None, False, 1).output(x), x)
    turned = Layout(x, [1, 2, 3], True, 1)
    assert turned.lengths == [1, 2, 3]
    assert turned.x.shape == (4, 3, 2)
    assert torch.equal(turned.output(turned.x), x)
    alone = Layout(x[0], None, True, 1)
    assert alone.x.shape == (4, 1, 2)
    assert torch.equal(alone.output(alone.x), x[0])
    assert torch.equal(alone.state_out(alone.state_in(x[0])), x[0])
    packed = pack_sequence([x[0], x[1, :2], x[2, :4]], enforce_sorted=False)
    inside = Layout(packed, None, True, 1)
    assert torch.equal(inside.output(inside.x).data, packed.data)
