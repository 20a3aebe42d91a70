"""Random cells on the compiled backend against the reference loop; `many.py` runs them by the hundreds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from random_cells.check import DifferenceError, check_random_cell
from random_cells.many import run_many
from random_cells.regressions import REGRESSIONS
from random_cells.strategy import OPERATIONS, random_cells
from recurra.core import Cell
from recurra.core.errors import BackendError
from recurra.scan import choose, scan


def _backend() -> str:
    try:
        choose("cpp")
    except BackendError:
        return "auto"
    return "cpp"


BACKEND = _backend()


@pytest.mark.parametrize("seed", range(4))
def test_random_cells_equal_the_reference_loop(seed: int) -> None:
    report = run_many(8, 1000 + seed, BACKEND, first=17 * seed)
    assert not report.failed, "\n\n".join(report.failed.values())
    assert report.passed, f"every cell was refused:\n{report}"


@settings(max_examples=3)
@given(random_cells())
def test_random_cells_of_hypothesis_equal_the_reference_loop(source: str) -> None:
    try:
        check_random_cell(source, BACKEND)
    except BackendError:
        return


@pytest.mark.parametrize("name", REGRESSIONS)
def test_a_cell_that_once_went_wrong(name: str) -> None:
    refused = ""
    try:
        check_random_cell(REGRESSIONS[name], BACKEND)
    except BackendError as refusal:
        refused = str(refusal)
        check_random_cell(REGRESSIONS[name], "auto")
    assert "g++" not in refused


def test_every_operation_is_written_and_the_reference_loop_runs_what_is_written() -> None:
    report = run_many(2 * len(OPERATIONS), 7, "reference")
    assert not report.failed, "\n\n".join(report.failed.values())
    assert report.rare(1) == []


def test_the_same_seed_gives_the_same_cells() -> None:
    first, second = (run_many(5, 3, "reference").operations for _ in range(2))
    assert first == second != Counter()


def test_a_backend_that_is_wrong_is_found_out() -> None:
    def wrong(cell: Cell, x: Tensor, *args: Any, **options: Any) -> Any:
        result = scan(cell, x, *args, **options)
        return result._replace(y=result.y * (1 + _off[x.dtype]))

    for off in ({torch.float64: 1e-8, torch.float32: 0.0}, {torch.float64: 0.0, torch.float32: 1e-5}):
        _off = off
        with pytest.raises(DifferenceError, match=r"y: [^@]*class RandomCell"):
            check_random_cell(_LEAKY, "reference", scan=wrong)
    _off = dict.fromkeys(_off, 0.0)
    check_random_cell(_LEAKY, "reference", scan=wrong)


_LEAKY = """
import torch
from torch import nn
import recurra as rc
CONTEXT = []
class RandomCell(rc.Cell):
    def __init__(self):
        super().__init__(3, 4)
        self.joint = nn.Linear(7, 4)
    def step(self, x, state):
        (s0,) = state
        s1 = 0.5 * s0 + 0.5 * torch.tanh(self.joint(torch.cat([x, s0], 1)))
        return s1, (s1,)
"""
