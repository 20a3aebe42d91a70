"""The cells over trees beside their papers' equations in NumPy, beside torch's LSTM, and what must hold of children."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurra import cells
from recurra.core import State, TreeCell
from recurra.core.errors import ArgumentError, ShapeError, UnknownNameError

Array = Any
I, H = 3, 4  # noqa: E741
each_cell = pytest.mark.parametrize("name", cells.tree_names())


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def recursive(w: dict[str, Array], x: Array, children: list[Any]) -> Any:
    a = w["weight_ih"] @ x + w["bias"]
    for k, (h,) in enumerate(children):
        a = a + w["weight_hh"][:, k * H : (k + 1) * H] @ h
    return (np.tanh(a),)


def child_sum_tree_lstm(w: dict[str, Array], x: Array, children: list[Any]) -> Any:
    (w_i, w_f, w_g, w_o), (u_i, u_f, u_g, u_o) = (np.split(w[k], 4) for k in ("weight_ih", "weight_hh"))
    b_i, b_f, b_g, b_o = np.split(w["bias"], 4)
    total = sum((h for h, _ in children), np.zeros(H))
    i, o = sigmoid(w_i @ x + u_i @ total + b_i), sigmoid(w_o @ x + u_o @ total + b_o)
    c = i * np.tanh(w_g @ x + u_g @ total + b_g)
    for h_k, c_k in children:
        c = c + sigmoid(w_f @ x + u_f @ h_k + b_f) * c_k
    return o * np.tanh(c), c


def nary_tree_lstm(w: dict[str, Array], x: Array, children: list[Any]) -> Any:
    """U is a table of blocks: rows i, f_1, f_2, g, o, columns the children."""
    u = w["weight_hh"].reshape(5, H, 2, H)
    i, f, g, o = np.split(w["weight_ih"] @ x + w["bias"], 4)
    f = [f, f]
    for k, (h, _) in enumerate(children):
        i, g, o = i + u[0, :, k] @ h, g + u[3, :, k] @ h, o + u[4, :, k] @ h
        f = [f[place] + u[1 + place, :, k] @ h for place in range(2)]
    c = sigmoid(i) * np.tanh(g) + sum(sigmoid(f[k]) * c for k, (_, c) in enumerate(children))
    return sigmoid(o) * np.tanh(c), c


EQUATIONS = {"recursive": recursive, "child_sum_tree_lstm": child_sum_tree_lstm, "nary_tree_lstm": nary_tree_lstm}
TREE = ((((), ()), ()), ((),))
"""Each node is the tuple of its children."""


def grown(cell: TreeCell, tree: Any, inputs: list[Tensor]) -> tuple[Tensor, State]:
    """Run a cell over one tree, its nodes' inputs being taken in the order in which they are finished."""
    states = [grown(cell, child, inputs)[1] for child in tree]
    places = 3 if cell.arity is None else cell.arity
    children, mask = cell.no_children(1, places, dtype=torch.float64)
    for k, state in enumerate(states):
        mask[:, k] = True
        for whole, part in zip(children, state, strict=True):
            whole[:, k] = part
    return cell(inputs.pop(0)[None], children, mask)


def computed(equation: Any, weights: Any, tree: Any, inputs: list[Array]) -> Any:
    children = [computed(equation, weights, child, inputs) for child in tree]
    return equation(weights, inputs.pop(0), children)


@each_cell
def test_a_tree_equals_the_papers_equation(name: str) -> None:
    cell = cells.get_tree(name)(I, H).double()
    x = torch.randn(8, I, dtype=torch.float64)
    y, state = grown(cell, TREE, list(x))
    weights = {k: v.numpy() for k, v in cell.state_dict().items()}
    expected = computed(EQUATIONS[name], weights, TREE, list(x.numpy()))
    np.testing.assert_allclose(y[0].detach().numpy(), expected[0], rtol=1e-12, atol=1e-14)
    for got, wanted in zip(state, expected, strict=True):
        np.testing.assert_allclose(got[0].detach().numpy(), wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("name", "options"), [("child_sum_tree_lstm", {}), ("nary_tree_lstm", {"arity": 1})])
def test_over_a_chain_a_tree_lstm_is_torchs_lstm(name: str, options: dict[str, int]) -> None:
    cell = cells.get_tree(name)(I, H, **options).double()
    chain = nn.LSTMCell(I, H).double()
    w = cell.state_dict()
    zeros = torch.zeros_like(w["bias"])
    chain.load_state_dict(
        {"weight_ih": w["weight_ih"], "weight_hh": w["weight_hh"], "bias_ih": w["bias"], "bias_hh": zeros}
    )
    theirs, ours = None, cell(torch.zeros(2, I, dtype=torch.float64))[1]
    theirs = tuple(ours)
    for x in torch.randn(4, 2, I, dtype=torch.float64):
        ours = cell(x, tuple(s.unsqueeze(1) for s in ours))[1]
        theirs = chain(x, theirs)
        torch.testing.assert_close(ours, theirs)


def some_children(cell: TreeCell, batch: int, places: int) -> State:
    return tuple(torch.randn(batch, places, *shape, dtype=torch.float64) for shape in cell.state_shapes())


@each_cell
def test_what_lies_where_there_is_no_child_has_no_influence(name: str) -> None:
    cell = cells.get_tree(name)(I, H).double()
    x = torch.randn(2, I, dtype=torch.float64)
    children = some_children(cell, 2, 2)
    mask = torch.tensor([[True, False], [False, False]])
    junk = tuple(torch.where(mask.unsqueeze(-1), c, torch.nan).requires_grad_() for c in children)
    y, state = cell(x, junk, mask)
    torch.testing.assert_close(y, cell(x, children, mask)[0])
    torch.testing.assert_close(y[1], cell(x)[0][1])
    grads = torch.autograd.grad(y.sum() + sum(s.sum() for s in state), [*junk, *cell.parameters()])
    assert all(g.isfinite().all() for g in grads)


def test_children_of_a_sum_have_no_order_and_any_number() -> None:
    cell = cells.get_tree("child_sum_tree_lstm")(I, H).double()
    assert cell.arity is None
    x, children = torch.randn(2, I, dtype=torch.float64), some_children(cell, 2, 5)
    turned = tuple(c.flip(1) for c in children)
    torch.testing.assert_close(cell(x, turned)[0], cell(x, children)[0])


@pytest.mark.parametrize("name", ["recursive", "nary_tree_lstm"])
def test_children_in_places_have_an_order(name: str) -> None:
    cell = cells.get_tree(name)(I, H).double()
    x, children = torch.randn(2, I, dtype=torch.float64), some_children(cell, 2, 2)
    assert not torch.allclose(cell(x, tuple(c.flip(1) for c in children))[0], cell(x, children)[0])


@each_cell
def test_gradients(name: str) -> None:
    cell = cells.get_tree(name)(I, H).double()
    x, children = torch.randn(2, I, dtype=torch.float64, requires_grad=True), some_children(cell, 2, 2)
    mask = torch.tensor([[True, True], [True, False]])
    leaves = [c.requires_grad_() for c in children]
    torch.autograd.gradcheck(lambda v, *c: torch.cat(cell(v, c, mask)[1]), (x, *leaves))


@each_cell
def test_docstring_and_name(name: str) -> None:
    cell = cells.get_tree(name)
    text = inspect.getdoc(cell) or ""
    assert re.search(r"^ +\w+_p = ", text, re.MULTILINE), "the equation"
    for part in ("Shapes: x `(B, ", "children `(", "state `(", "y = ", "Weights: ", "Deviation: "):
        assert part in text, part
    assert re.search(r"^Papers?: .*\((19|20)\d\d\)", text, re.MULTILINE | re.DOTALL)
    assert cell.__name__.lower() == name.replace("_", "") + "cell"
    assert getattr(cells, cell.__name__) is cell
    assert name not in cells.names()


def test_what_does_not_fit_is_refused() -> None:
    cell = cells.get_tree("nary_tree_lstm")(I, H)
    with pytest.raises(ShapeError, match=r"NaryTreeLSTMCell: expected inputs of shape \(B, 3\), got \(2, 4\)"):
        cell(torch.zeros(2, 4))
    with pytest.raises(ShapeError, match=r"expected a bool mask of shape \(2, 2\), got torch.bool \(2, 3\)"):
        cell(torch.zeros(2, I), tuple(torch.zeros(2, 3, H) for _ in range(2)))
    with pytest.raises(
        ShapeError, match=r"expected children of shapes \[\(2, 2, 4\), \(2, 2, 4\)\], got \[\(2, 2, 4\)\]"
    ):
        cell(torch.zeros(2, I), (torch.zeros(2, 2, H),))
    with pytest.raises(ArgumentError, match="arity must be at least 1, got 0"):
        cells.get_tree("recursive")(I, H, arity=0)
    with pytest.raises(UnknownNameError, match="no tree cell is called 'tree': the known ones are child_sum_tree_lstm"):
        cells.get_tree("tree")


def test_a_step_that_is_not_defined_is_told() -> None:
    with pytest.raises(NotImplementedError, match=r"TreeCell must define step\(x, children, mask\)"):
        TreeCell(I, H)(torch.zeros(2, I))
