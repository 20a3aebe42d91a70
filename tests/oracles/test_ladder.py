"""The ladder of long memory: every rung beside its equation, and what the tutorials claim of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from written_out import Array, Equation, assert_equals, sigmoid

from recurra import cells, scan
from recurra.core.errors import ArgumentError

T, B, I, H = 6, 2, 3, 4  # noqa: E741
FUNCTIONS: dict[str, Any] = {
    "tanh": np.tanh, "sigmoid": sigmoid, "relu": lambda a: np.maximum(a, 0), "identity": lambda a: a,
}  # fmt: skip
State = tuple[Array, ...]


def bare_unit(w: dict[str, Array], x: Array, s: State) -> Any:
    s_t = w["U"] @ x + w["W"] @ s[0]
    return w["V"] @ s_t, (s_t,)


def irnn(w: dict[str, Array], x: Array, s: State) -> Any:
    h = np.maximum(0, w["weight_ih"] @ x + w["weight_hh"] @ s[0] + w["bias"])
    return h, (h,)


def indrnn(f: str) -> Equation:
    def step(w: dict[str, Array], x: Array, s: State) -> Any:
        h = FUNCTIONS[f](w["weight_ih"] @ x + w["weight_hh"] * s[0] + w["bias"])
        return h, (h,)

    return step


def linear_rnn(w: dict[str, Array], x: Array, s: State) -> Any:
    h = w["weight_hh"] @ s[0] + w["weight_ih"] @ x + w["bias"]
    return h, (h,)


def integrator(w: dict[str, Array], x: Array, s: State) -> Any:
    h = s[0] + w["weight_ih"] @ x + w["bias"]
    return h, (h,)


def nonlinear_integrator(g: str) -> Equation:
    def step(w: dict[str, Array], x: Array, s: State) -> Any:
        h = s[0] + FUNCTIONS[g](w["weight_ih"] @ x + w["bias"])
        return h, (h,)

    return step


def residual_rnn(g: str) -> Equation:
    def step(w: dict[str, Array], x: Array, s: State) -> Any:
        h = s[0] + FUNCTIONS[g](w["weight_ih"] @ x + w["weight_hh"] @ s[0] + w["bias"])
        return h, (h,)

    return step


def residual_in_time(g: str) -> Equation:
    def step(w: dict[str, Array], x: Array, s: State) -> Any:
        h = s[0] + FUNCTIONS[g](w["weight_hh"] @ s[0] + w["bias"])
        return h, (h,)

    return step


def ugrnn(w: dict[str, Array], x: Array, s: State) -> Any:
    z, n = np.split(w["weight_ih"] @ x + w["weight_hh"] @ s[0] + w["bias"], 2)
    h = sigmoid(z) * s[0] + (1 - sigmoid(z)) * np.tanh(n)
    return h, (h,)


def mgu(w: dict[str, Array], x: Array, s: State) -> Any:
    wf, wn = np.split(np.concatenate([w["weight_ih"], w["weight_hh"]], 1), 2)
    bf, bn = np.split(w["bias"], 2)
    f = sigmoid(wf @ np.concatenate([x, s[0]]) + bf)
    h = (1 - f) * s[0] + f * np.tanh(wn @ np.concatenate([x, f * s[0]]) + bn)
    return h, (h,)


def leaky(w: dict[str, Array], x: Array, s: State) -> Any:
    a = sigmoid(w["leak"])
    h = (1 - a) * s[0] + a * np.tanh(w["weight_ih"] @ x + w["weight_hh"] @ s[0] + w["bias"])
    return h, (h,)


EQUATIONS: list[tuple[str, Equation, dict[str, Any]]] = [
    ("bare_unit", bare_unit, {}),
    ("bare_unit", bare_unit, {"output_size": 2}),
    ("irnn", irnn, {}),
    ("linear_rnn", linear_rnn, {}),
    ("integrator", integrator, {}),
    ("ugrnn", ugrnn, {}),
    ("mgu", mgu, {}),
    ("leaky", leaky, {}),
    *(("indrnn", indrnn(f), {"nonlinearity": f}) for f in FUNCTIONS),
    *(("nonlinear_integrator", nonlinear_integrator(g), {"nonlinearity": g}) for g in FUNCTIONS),
    *(("residual_rnn", residual_rnn(g), {"nonlinearity": g}) for g in FUNCTIONS),
    *(("residual_in_time", residual_in_time(g), {"nonlinearity": g}) for g in FUNCTIONS),
]


@pytest.mark.parametrize(("name", "equation", "options"), EQUATIONS)
def test_cell_equals_its_equation(name: str, equation: Equation, options: dict[str, Any]) -> None:
    assert_equals(name, equation, options)


@pytest.mark.parametrize(
    ("name", "options"),
    [("integrator", {}), *(("nonlinear_integrator", {"nonlinearity": g}) for g in FUNCTIONS)],
)
def test_the_gradient_over_time_is_exactly_the_identity(name: str, options: dict[str, Any]) -> None:
    cell = cells.get(name)(I, H, **options).double()
    x = torch.randn(T, 1, I, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda h: scan(cell, x, (h,)).y[-1, 0], torch.randn(1, H).double())
    assert torch.equal(jacobian[:, 0], torch.eye(H, dtype=torch.float64))


def test_the_gradient_of_the_linear_recurrence_is_a_power() -> None:
    cell = cells.get("linear_rnn")(I, H).double()
    x = torch.randn(T, 1, I, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda h: scan(cell, x, (h,)).y[-1, 0], torch.randn(1, H).double())
    torch.testing.assert_close(jacobian[:, 0], torch.linalg.matrix_power(cell.weight_hh.detach(), T))


def test_a_sum_of_sigmoids_grows_at_every_step_and_then_saturates_what_looks_at_it() -> None:
    x = torch.randn(200, B, I, dtype=torch.float64)
    summed = scan(cells.get("nonlinear_integrator")(I, H, "sigmoid").double(), x).y
    assert bool((summed.diff(dim=0) > 0).all())
    cell = cells.get("residual_rnn")(I, H, "sigmoid").double()
    with torch.no_grad():
        cell.weight_hh.copy_(torch.eye(H))
    added = scan(cell, x).y.detach().diff(dim=0)
    assert float(added[:2].min()) < 0.95
    assert float(added[-50:].min()) > 0.999  # g answers 1 to every input: it no longer hears any


def test_the_tutorials_numbers() -> None:
    cell = cells.get("bare_unit")(1, 1)
    cell.load_state_dict({"U": torch.ones(1, 1), "W": torch.ones(1, 1), "V": torch.full((1, 1), 2.0)})
    words = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    result = scan(cell, words, (torch.ones(1, 1),), keep_states=True)
    assert result.states is not None
    assert result.states[0].flatten().tolist() == [2, 4, 7]
    assert result.y.flatten().tolist() == [4, 8, 14]


def test_irnn_begins_as_a_copy_of_what_is_positive() -> None:
    cell = cells.get("irnn")(I, H)
    h = torch.rand(B, H)
    assert torch.equal(scan(cell, torch.zeros(50, B, I), (h,)).y[-1], h)
    torch.testing.assert_close(cells.get("irnn")(I, H, scale=0.5).weight_hh, 0.5 * torch.eye(H))
    assert 0.0005 < float(cells.get("irnn")(100, 100).weight_ih.detach().std()) < 0.0015


def test_independent_units_do_not_hear_each_other() -> None:
    cell = cells.get("indrnn")(I, H, "tanh").double()
    x = torch.randn(T, 1, I, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda h: scan(cell, x, (h,)).y[-1, 0], torch.zeros(1, H).double())
    assert torch.equal(jacobian[:, 0], torch.diag(jacobian[:, 0].diag()))
    assert bool((jacobian[:, 0].diag() != 0).all())


def test_leaky_units_become_elmans_and_stand_still_at_the_ends_of_the_leak() -> None:
    cell = cells.get("leaky")(I, H)
    x, h = torch.randn(T, B, I), torch.randn(B, H)
    with torch.no_grad():
        cell.leak.fill_(1e3)
    elman = cells.get("elman")(I, H)
    elman.load_state_dict(
        {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "bias_ih": cell.bias, "bias_hh": torch.zeros(H)}
    )
    torch.testing.assert_close(scan(cell, x, (h,)).y, scan(elman, x, (h,)).y)
    with torch.no_grad():
        cell.leak.fill_(-1e3)
    assert torch.equal(scan(cell, x, (h,)).y[-1], h)


@pytest.mark.parametrize("name", ["nonlinear_integrator", "residual_rnn", "residual_in_time", "indrnn", "tdnn"])
def test_an_unknown_function_is_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match=r"nonlinearity must be one of tanh, sigmoid, relu, identity, got 'sine'"):
        cells.get(name)(I, H, nonlinearity="sine")
    with pytest.raises(ArgumentError, match="output_size must be at least 1, got 0"):
        cells.get("bare_unit")(I, H, output_size=0)
