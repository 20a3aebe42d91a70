"""Equations: in the papers' form, in every notation, and true: worked out, they give what the step gives."""

from __future__ import annotations

import re

import pytest
import torch
from drawn import FACTORIES
from torch import Tensor

import recurra as rc
from recurra import cells
from recurra.core import TreeCell
from recurra.core.errors import ArgumentError
from recurra.drawing.formula import Call, Expression, Infix, Join, Number, Piecewise, Sum, Transposed
from recurra.drawing.notation import NOTATIONS, notation_called
from recurra.drawing.reading import read_step
from recurra.drawing.step_graph import Node
from recurra.drawing.symbols import Symbol, symbol_of
from recurra.drawing.wording import Wording

LSTM = """
i_t = σ(W_i x_t + U_i h_{t-1} + b_i)
f_t = σ(W_f x_t + U_f h_{t-1} + b_f)
g_t = tanh(W_g x_t + U_g h_{t-1} + b_g)
o_t = σ(W_o x_t + U_o h_{t-1} + b_o)
c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
h_t = o_t ⊙ tanh(c_t)
y_t = h_t
"""
Z_LSTM = """
z^i_t = σ(W^i [x_t; h_{t-1}] + b^i)
z^f_t = σ(W^f [x_t; h_{t-1}] + b^f)
z_t = tanh(W [x_t; h_{t-1}] + b)
z^o_t = σ(W^o [x_t; h_{t-1}] + b^o)
c_t = z^f_t ⊙ c_{t-1} + z^i_t ⊙ z_t
h_t = z^o_t ⊙ tanh(c_t)
y_t = h_t
"""
GRU = """
r_t = σ(U_r x_t + W_r h_{t-1} + b_r)
z_t = σ(U_z x_t + W_z h_{t-1} + b_z)
g_t = tanh(U_g x_t + b_g + r_t ⊙ (W_g h_{t-1} + b'_g))
h_t = z_t ⊙ h_{t-1} + (1 - z_t) ⊙ g_t
y_t = h_t
"""


@pytest.mark.parametrize(
    ("name", "notation", "text"),
    [
        ("elman", "paper", "h_t = tanh(W x_t + U h_{t-1} + b)\ny_t = h_t"),
        ("elman", "uvw", "h_t = tanh(U x_t + W h_{t-1} + b)\ny_t = h_t"),
        ("elman", "nndl", "h_t = tanh(W x_t + U h_{t-1} + b)\ny_t = h_t"),
        ("elman", "w_hx", "h_t = tanh(W_{hx} x_t + W_{hh} h_{t-1} + b_h)\ny_t = h_t"),
        ("elman", "z", "h_t = tanh(W [x_t; h_{t-1}] + b)\ny_t = h_t"),
        ("jordan", "uvw", "h_t = tanh(U x_t + W y_{t-1} + b)\ny_t = V h_t + c"),
        ("jordan", "w_hx", "h_t = tanh(W_{hx} x_t + W_{hy} y_{t-1} + b_h)\ny_t = W_{yh} h_t + b_y"),
        ("lstm", "paper", LSTM.strip()),
        ("lstm", "z", Z_LSTM.strip()),
        ("gru", "uvw", GRU.strip()),
        ("Leaky", "paper", "a = σ(leak)\nh_t = (1 - a) ⊙ h_{t-1} + a ⊙ tanh(W x_t + U h_{t-1} + b)\ny_t = h_t"),
    ],
)
def test_equations_are_those_of_the_papers(name: str, notation: str, text: str) -> None:
    assert rc.equations(FACTORIES[name](3, 4), notation).text == text


def test_they_are_latex_and_say_what_the_letters_are() -> None:
    found = rc.equations(cells.get("lstm")(3, 4))
    assert "i_{t} &= \\sigma(W_{i} x_{t} + U_{i} h_{t-1} + b_{i}) \\\\\n" in found
    assert found.startswith("\\begin{aligned}\n")
    assert found._repr_latex_() == f"$$\n{found}\n$$"
    assert found.symbols["W_{f}"] == "weight_ih[4:8]"
    assert found.symbols["b_{f}"] == "bias_ih[4:8] + bias_hh[4:8]"
    assert rc.equations(cells.get("lstm")(3, 4), "z").symbols["W^{i}"] == "[weight_ih[0:4], weight_hh[0:4]]"
    with pytest.raises(ArgumentError, match=r"expected a recurra.Cell to write the equations of, got LSTM"):
        rc.equations(rc.LSTM(3, 4))  # type: ignore[arg-type]


@pytest.mark.parametrize("notation", NOTATIONS)
@pytest.mark.parametrize("name", FACTORIES)
def test_latex_is_balanced_and_no_letter_stands_for_two_things(name: str, notation: str) -> None:
    found = rc.equations(FACTORIES[name](3, 4), notation)
    bare = re.sub(r"\\[{}]", "", found)
    assert bare.count("{") == bare.count("}")
    assert found.count("(") == found.count(")")
    assert found.count("\\begin{") == found.count("\\end{")
    lefts = [line.partition(" = ")[0] for line in found.text.splitlines()]
    assert len(lefts) == len(set(lefts))
    if notation == "uvw":
        assert "weight_ih" not in found.text


@pytest.mark.parametrize("notation", ["paper", "uvw", "w_hx"])
@pytest.mark.parametrize("name", FACTORIES)
def test_worked_out_they_give_what_the_step_gives(name: str, notation: str) -> None:
    torch.manual_seed(0)
    cell = FACTORIES[name](3, 4).double()
    for p in cell.parameters():
        torch.nn.init.uniform_(p, -1, 1)
    if isinstance(cell, TreeCell) or cell.make_context((), 1, 2, torch.device("cpu"), torch.float64) != ((), ()):
        return
    graph = read_step(cell)
    wording = Wording(graph, notation_called(notation))
    x = torch.randn(2, *cell.input_shape, dtype=torch.float64)
    state = [
        torch.randn_like(s) if s.is_floating_point() else torch.full_like(s, 3)
        for s in cell.initial_state(2, dtype=torch.float64)
    ]
    symbols = wording.names.symbols
    known: dict[Symbol, Tensor] = {symbols[graph.x]: x}
    known |= {symbols[node]: value for node, value in zip(graph.state, state, strict=True)}
    for node, symbol in symbols.items():
        if node.op == "parameter" or (node.op == "part" and not node.needs):
            known[symbol] = _parameter(cell, node)
    for symbol in set(wording.names.biases.values()):
        parts = [_parameter(cell, node) for node, own in wording.names.biases.items() if own == symbol]
        known[symbol] = torch.stack(parts).sum(0)
    try:
        for equation in wording.equations():
            known[equation.left] = _value(equation.right, known)
    except NotImplementedError:
        assert name not in ("elman", "jordan", "lstm", "gru", "gru_reset_before", "projected_lstm", "Leaky")
        return
    y, new = cell.step(x, tuple(state))
    torch.testing.assert_close(known[Symbol("y", time="t")], y)
    for (_, symbol), value in zip(wording.names.outputs(), new, strict=False):
        torch.testing.assert_close(known[symbol], value)


def _parameter(cell: rc.Cell, node: Node) -> Tensor:
    if node.op == "part":
        dim, start, length, step = node.attrs
        whole = _parameter(cell, node.nodes[0])
        return whole.narrow(dim, start, length) if step == 1 else whole  # type: ignore[arg-type]
    if node.op in ("view", "transpose"):
        inside = _parameter(cell, node.nodes[0])
        return inside.reshape(node.shape) if node.op == "view" else inside.mT
    return dict([*cell.named_parameters(), *cell.named_buffers()])[str(node.attrs[0])]


def _value(e: Expression, known: dict[Symbol, Tensor]) -> Tensor:
    """Work a formula out. Functions that leave out their dimensions cannot be."""
    of = lambda part: _value(part, known)  # noqa: E731
    match e:
        case Symbol():
            return known[e]
        case Number(value):
            return torch.tensor(value, dtype=torch.float64)
        case Sum(terms):
            return torch.stack(torch.broadcast_tensors(*(of(t) if sign == "+" else -of(t) for sign, t in terms))).sum(0)
        case Infix("⊙", (a, b)):
            return of(a) * of(b)
        case Infix("", (Number() as a, b)):
            return of(a) * of(b)
        case Infix("", (a, b)):
            matrix, vector = of(a), of(b)
            if matrix.dim() != 2 or vector.dim() != 2:
                raise NotImplementedError
            # In letters W v; what the step multiplies by from the right is the same matrix, transposed.
            return vector @ (matrix.T if matrix.shape[1] == vector.shape[1] else matrix)
        case Join(parts) if len(parts) > 1:
            made = [of(p) for p in parts]
            if any(m.dim() != 2 for m in made):
                raise NotImplementedError
            return torch.cat(made, -1)
        case Call(("sigmoid" | "tanh" | "relu" | "exp") as name, (inside,)):
            return getattr(torch, name)(of(inside))
        case Transposed() | Call() | Infix() | Piecewise() | Join():
            raise NotImplementedError


def test_names_of_variables_become_symbols() -> None:
    assert symbol_of("h_tilde", "t") == Symbol("h", time="t", accent="tilde")
    assert symbol_of("h_prev", "t-1") == Symbol("h", time="t-1")
    assert symbol_of("alpha") == Symbol("α")
    assert symbol_of("xr", "t") == Symbol("x", "r", time="t")
    assert symbol_of("W_in") == Symbol("W", "in")
    assert symbol_of("h2") == Symbol("h", "2")
    assert symbol_of("inputs.weight") == Symbol("inputs")
    assert symbol_of("leak") == Symbol("leak")
