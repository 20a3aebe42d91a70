"""The network written from scratch in NumPy is the library's: the same loss, scores and gradients."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import recurra

FILE = Path(__file__).parents[2] / "examples" / "from_scratch.py"
INPUTS, HIDDEN, OUTPUTS, STEPS = 4, 6, 5, 9
ATOL = 1e-10


@pytest.fixture(scope="module")
def scratch() -> ModuleType:
    """The example, imported from its file."""
    spec = importlib.util.spec_from_file_location("from_scratch", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_has_at_most_a_hundred_lines() -> None:
    assert len(FILE.read_text(encoding="utf-8").splitlines()) <= 100


def test_its_gradients_are_those_of_differences(scratch: ModuleType) -> None:
    weights = scratch.initialise(INPUTS, HIDDEN, OUTPUTS)
    draw = np.random.default_rng(1)
    x, h = draw.normal(size=(STEPS, INPUTS)), draw.normal(size=HIDDEN)
    assert scratch.check_gradients(weights, x, draw.integers(OUTPUTS, size=STEPS), h) < 1e-7


def test_loss_scores_and_every_gradient_equal_recurras(scratch: ModuleType) -> None:
    weights = scratch.initialise(INPUTS, HIDDEN, OUTPUTS)
    draw = np.random.default_rng(2)
    x, h = draw.normal(size=(STEPS, INPUTS)), draw.normal(size=HIDDEN)
    targets = draw.integers(OUTPUTS, size=STEPS)
    loss, scores, gradients = scratch.loss_and_gradients(weights, x, targets, h)

    rnn = recurra.RNN(INPUTS, HIDDEN, dtype=torch.float64)
    linear = torch.nn.Linear(HIDDEN, OUTPUTS, dtype=torch.float64)
    own = {"U": rnn.weight_ih_l0, "W": rnn.weight_hh_l0, "b": rnn.bias_ih_l0, "V": linear.weight, "c": linear.bias}
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(torch.as_tensor(weights[name]))
        rnn.bias_hh_l0.zero_()  # The example has one bias where torch has two.
    own["h"] = torch.tensor(h[None], requires_grad=True)
    y, _ = rnn(torch.as_tensor(x), own["h"])
    expected = torch.nn.functional.cross_entropy(linear(y), torch.as_tensor(targets))
    expected.backward()

    assert loss == pytest.approx(expected.item(), abs=ATOL)
    np.testing.assert_allclose(scores, linear(y).detach().numpy(), rtol=0, atol=ATOL)
    assert gradients.keys() == own.keys()
    for name, parameter in own.items():
        assert parameter.grad is not None
        np.testing.assert_allclose(
            gradients[name], parameter.grad.numpy().reshape(gradients[name].shape), rtol=0, atol=ATOL
        )
