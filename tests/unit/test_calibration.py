"""Calibration: the temperature under which made-up scores were drawn is found again; reliability by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from recurra.core.errors import ArgumentError, ShapeError
from recurra.data.reliability import calibration_error, reliability
from recurra.heads import fit_temperature


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_drew_the_targets_is_found(temperature: float) -> None:
    draw = torch.Generator().manual_seed(0)
    outputs = 3 * torch.randn(20_000, 4, generator=draw)
    targets = torch.multinomial((outputs / temperature).softmax(1), 1, generator=draw)[:, 0]
    found = fit_temperature(outputs, targets)
    assert found == pytest.approx(temperature, rel=0.05)
    p = (outputs / found).softmax(1)
    right = (p.argmax(1) == targets).tolist()
    assert calibration_error(reliability(p.amax(1).tolist(), right)) < 0.02


def test_it_is_the_minimum_and_a_few_right_answers_make_nothing_certain() -> None:
    outputs, targets = torch.tensor([[2.0, 0.0, -1.0]] * 5 + [[1.0, 3.0, 0.0]] * 4), torch.tensor([0] * 5 + [1] * 4)
    found = fit_temperature(outputs, targets)
    wanted = 0.9 * F.one_hot(targets, 3) + 0.1 / 3

    def loss(temperature: float) -> float:
        return float(F.cross_entropy(outputs / temperature, wanted))

    assert loss(found) < min(loss(found * 1.01), loss(found / 1.01))
    assert 0.9 < float((outputs / found).softmax(1).amax(1).mean()) < 0.99
    with pytest.raises(ShapeError, match="at least one"):
        fit_temperature(outputs[:0], targets[:0])


def test_reliability_by_hand() -> None:
    table = reliability([0.5, 0.55, 0.6, 0.95, 1.0, 0.0], [True, False, False, True, True, False])
    assert [(row.low, row.high, row.answers) for row in table] == [
        (0.0, 0.1, 1),
        (0.4, 0.5, 1),
        (0.5, 0.6, 2),
        (0.9, 1.0, 2),
    ]
    assert [row.accuracy for row in table] == [0, 1, 0, 1]
    assert [row.confidence for row in table] == pytest.approx([0, 0.5, 0.575, 0.975])
    assert calibration_error(table) == pytest.approx((0.5 + 2 * 0.575 + 2 * 0.025) / 6)
    assert calibration_error([]) == 0
    with pytest.raises(ArgumentError, match="bins"):
        reliability([], [], 0)
