"""Recursive networks over forests, level by level, beside plain recursion; chains beside sequences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from topology_laws import KINDS
from torch import Tensor

import recurra as rc
from recurra import cells
from recurra.core import TreeCell
from recurra.core.errors import ArgumentError, ShapeError, UnknownNameError
from recurra.networks import Forest, Recursive, SumOfChildren

I, H = 3, 6  # noqa: E741
BIKE = ("a", ("red", "bike"))
TREES = [BIKE, "word", (("b", "c"), "d", ("e", ("f", "g", "h"))), ("red", "bike")]
TREE_CELLS = [*cells.tree_names(), *KINDS]


def network(name: str, **options: Any) -> Recursive:
    if name in ("recursive", "nary_tree_lstm"):
        options = {"arity": 3, **options}
    return Recursive(name, I, H, **options).double()


def recursion(net: Recursive, forest: Forest, x: Tensor, node: int) -> Any:
    """Compute one node after all that are below it."""
    below = [k for k, p in enumerate(forest.parents.tolist()) if p == node]
    states = [recursion(net, forest, x, k)[1] for k in below]
    cell: TreeCell = net.cell
    children, mask = cell.no_children(1, len(states), dtype=x.dtype)
    for k, state in enumerate(states):
        mask[:, k] = True
        children = tuple(c.index_copy(1, torch.tensor([k]), s[:, None]) for c, s in zip(children, state, strict=True))
    return cell(x[node : node + 1], children, mask)


@pytest.mark.parametrize("name", TREE_CELLS)
def test_a_forest_equals_recursion_over_each_tree(name: str) -> None:
    net, forest = network(name), Forest.nested(TREES)
    x = torch.randn(len(forest), I, dtype=torch.float64)
    y, state = net(x, forest)
    for node in range(len(forest)):
        expected, states = recursion(net, forest, x, node)
        torch.testing.assert_close(y[node], expected[0])
        for got, wanted in zip(state, states, strict=True):
            torch.testing.assert_close(got[node], wanted[0])


@pytest.mark.parametrize("name", KINDS)
def test_a_chain_is_the_sequence_for_every_cell(name: str) -> None:
    torch.manual_seed(1)
    layer = rc.Recurrent(name, I, H, batch_first=True, backend="reference").double()
    net = network(name)
    net.cell.get_submodule("cell").load_state_dict(layer.get_submodule("layers.0.forward").state_dict())
    x = torch.randn(2, 7, I, dtype=torch.float64)
    # A node's child is the step before it: the last step is the root.
    forest = Forest.of([[1, 2, 3, 4, 5, 6, -1], [1, 2, 3, 4, -1]])
    y, _ = net(torch.cat([x[0], x[1, :5]]), forest)
    whole, _ = layer(x, lengths=[7, 5])
    torch.testing.assert_close(y, torch.cat([whole[0], whole[1, :5]]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), [("child_sum_tree_lstm", {}), ("nary_tree_lstm", {"arity": 1})])
def test_a_chain_of_a_tree_lstm_is_an_lstm(name: str, options: Any) -> None:
    net = network(name, **options)
    lstm = rc.LSTM(I, H, batch_first=True).double()
    w = net.cell.state_dict()
    lstm.load_state_dict(
        {
            "weight_ih_l0": w["weight_ih"],
            "weight_hh_l0": w["weight_hh"],
            "bias_ih_l0": w["bias"],
            "bias_hh_l0": torch.zeros(4 * H, dtype=torch.float64),
        }
    )
    x = torch.randn(1, 9, I, dtype=torch.float64)
    y, _ = net(x[0], Forest.of([[*range(1, 9), -1]]))
    torch.testing.assert_close(y, lstm(x)[0][0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["child_sum_tree_lstm", "elman", "lstm"])
def test_a_sum_over_children_has_no_order(name: str) -> None:
    net = network(name)
    x = torch.randn(6, I, dtype=torch.float64)
    forest = Forest.of([[5, 5, 4, 4, 5, -1]])
    turned = [1, 0, 3, 2, 4, 5]
    torch.testing.assert_close(net(x[turned], forest)[0][5], net(x, forest)[0][5])
    other = network("nary_tree_lstm")
    assert not torch.allclose(other(x[turned], forest)[0][5], other(x, forest)[0][5])


@pytest.mark.parametrize("name", ["recursive", "child_sum_tree_lstm", "nary_tree_lstm", "clockwork", "lstm"])
def test_trees_of_a_forest_stand_alone(name: str) -> None:
    net, forest = network(name), Forest.nested(TREES)
    x = torch.randn(len(forest), I, dtype=torch.float64)
    y, _ = net(x, forest)
    for k, tree in enumerate(TREES):
        torch.testing.assert_close(net(x[forest.tree == k], Forest.nested([tree]))[0], y[forest.tree == k])
    empty, _ = net(x[:0], Forest.of([]))
    assert empty.shape == (0, H)


@pytest.mark.parametrize("name", ["recursive", "child_sum_tree_lstm", "nary_tree_lstm", "gru"])
def test_gradients_through_forests(name: str) -> None:
    net, forest = network(name), Forest.nested(TREES[:2])
    x = torch.randn(len(forest), I, dtype=torch.float64, requires_grad=True)
    names = [n for n, _ in net.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in net.parameters()]

    def run(v: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (v, forest))[0]

    assert torch.autograd.gradcheck(run, (x, *values), fast_mode=True)


def test_a_red_bike() -> None:
    forest = Forest.nested([BIKE])
    assert forest.words == ("a", "red", "bike")
    assert forest.parents.tolist() == [4, 3, 3, 4, -1]
    assert forest.leaves.tolist() == [0, 1, 2]
    assert forest.roots.tolist() == [4]
    assert [level.tolist() for level in forest.levels] == [[4], [0, 3], [1, 2]]
    assert [c.tolist() for c in forest.children] == [[[0, 1]], [[-1, -1], [0, 1]], [[], []]]
    words = torch.randn(3, I)
    x = forest.at_leaves(words)
    assert torch.equal(x[:3], words)
    assert not x[3:].count_nonzero()
    assert forest.to("cpu").parents.tolist() == forest.parents.tolist()
    # h = tanh(W [h_left; h_right] + b), by hand.
    net = Recursive("recursive", I, H)
    cell: Any = net.cell
    leaf = torch.tanh(words @ cell.weight_ih.T + cell.bias)
    phrase = torch.tanh(torch.cat([leaf[1], leaf[2]]) @ cell.weight_hh.T + cell.bias)
    whole = torch.tanh(torch.cat([leaf[0], phrase]) @ cell.weight_hh.T + cell.bias)
    torch.testing.assert_close(net(x, forest)[0][forest.roots], whole[None])


def recursive_of_four(inputs: int, hidden: int) -> TreeCell:
    kind: Any = cells.get_tree("recursive")
    return kind(inputs, hidden, arity=4)


def test_the_forms_in_which_a_cell_comes() -> None:
    assert isinstance(Recursive(cells.get("gru"), I, H).cell, SumOfChildren)
    assert Recursive(recursive_of_four, I, H).cell.arity == 4
    with pytest.raises(UnknownNameError, match=r"no cell is called 'tree_lstm'.*those over trees are child_sum"):
        Recursive("tree_lstm", I, H)
    with pytest.raises(ArgumentError, match="must return a TreeCell or a Cell, got Linear"):
        Recursive(torch.nn.Linear, I, H)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ArgumentError, match=r"or a callable .* got int"):
        Recursive(3, I, H)  # pyright: ignore[reportArgumentType]


def test_what_is_no_tree_or_does_not_fit_is_refused() -> None:
    with pytest.raises(
        ArgumentError, match=r"tree 1: expected one root \(-1\), and parents from 0 to 1 .* got \[-1, -1\]"
    ):
        Forest.of([[-1], [-1, -1]])
    with pytest.raises(
        ArgumentError, match="tree 0: expected every node below the root, but some are below themselves"
    ):
        Forest.of([[-1, 2, 1]])
    with pytest.raises(ShapeError, match=r"expected inputs of shape \(5, 3\), one for each node .* got \(4, 3\)"):
        network("recursive")(torch.zeros(4, I), Forest.nested([BIKE]))
    with pytest.raises(ShapeError, match="expected a vector for each of 3 leaves, got 2"):
        Forest.nested([BIKE]).at_leaves(torch.zeros(2, I))
    with pytest.raises(
        ShapeError, match="node 4 of tree 1 has 3 children, but RecursiveCell has places for 2: make it"
    ):
        network("recursive", arity=2)(torch.zeros(5, I), Forest.nested(["a", ("a", "b", "c")]))
