"""Products that a step does not need where a condition is false: found from the step, skipped, and never missed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recurra import Cell, cells, scan
from recurra.compiler.asleep import asleep
from recurra.core import State
from recurra.core.errors import BackendError
from recurra.scan import Problem, cpp_compiler
from recurra.scan.programs import program_for

needs_compiler = pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler on this machine")


class Choosing(Cell):
    """Runs its layer in rows whose counter says so; a subclass says what becomes of the new state."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size)

    def state_shapes(self) -> Any:
        return (self.hidden_size,), ((), torch.int64)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, t = state
        runs = (t % 3 == 0).unsqueeze(-1)
        new = self.new(x, h)
        return self.seen(new, h), (self.chosen(runs, new, h), t + 1)

    def new(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.inputs(x) + self.recurrent(h))

    def seen(self, new: Tensor, h: Tensor) -> Tensor:
        return 2 * h

    def chosen(self, runs: Tensor, new: Tensor, h: Tensor) -> Tensor:
        return torch.where(runs, new, h)


class SeenInTheOutput(Choosing):
    def seen(self, new: Tensor, h: Tensor) -> Tensor:
        return new + h


class OnBothSides(Choosing):
    def chosen(self, runs: Tensor, new: Tensor, h: Tensor) -> Tensor:
        return torch.where(runs, new, 0.5 * new)


class OnTheOtherSide(Choosing):
    def chosen(self, runs: Tensor, new: Tensor, h: Tensor) -> Tensor:
        return torch.where(runs, h, new)


class EntryByEntry(Choosing):
    def chosen(self, runs: Tensor, new: Tensor, h: Tensor) -> Tensor:
        return torch.where(h > 0, new, h)


class Logarithm(Choosing):
    """0 in place of the product would give infinity, and the backward 0 times that."""

    def new(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.log(2 + torch.tanh(self.recurrent(h))) + self.inputs(x)


def sleeping(cell: Cell) -> int:
    """Return how many of the forward loop's products sleep; those that are added up are one."""
    x = torch.zeros(2, 3, cell.input_size, requires_grad=True)
    program = program_for(Problem(cell, x, cell.initial_state(3), (), (), None, False, False), False)
    loop = program.plan().forward
    outputs, new = program.plan().outputs, program.plan().new
    found = asleep([*loop.results, *new], set(program.staged.leaves), {*outputs, *new})
    return sum(v.op == "mm" for v in found)


@pytest.mark.parametrize(
    ("kind", "count"),
    [(Choosing, 1), (SeenInTheOutput, 0), (OnBothSides, 0), (OnTheOtherSide, 0), (EntryByEntry, 0), (Logarithm, 1)],
)
def test_only_products_that_nothing_else_needs_sleep(kind: type[Cell], count: int) -> None:
    """Of the logarithm's two products one is added behind it."""
    assert sleeping(kind(2, 4)) == count


def test_every_module_of_a_clockwork_sleeps() -> None:
    assert sleeping(cells.get("clockwork")(2, 8, periods=[1, 2, 4, 8])) == 4


@needs_compiler
@pytest.mark.parametrize("kind", [Choosing, SeenInTheOutput, OnBothSides, OnTheOtherSide, EntryByEntry, Logarithm])
def test_rows_awake_and_asleep_side_by_side_equal_the_loop(kind: type[Cell]) -> None:
    """Twenty rows fill several tiles; some of them sleep as a whole, some in part, some not at all."""
    cell = kind(2, 4).double()
    x = torch.randn(7, 20, 2, dtype=torch.float64, requires_grad=True)
    clocks = torch.tensor([1] * 8 + [0, 1, 2, 0] + [0] * 8)
    h = torch.rand(20, 4, dtype=torch.float64, requires_grad=True)
    made: list[list[Tensor]] = []
    for backend in ("reference", "cpp"):
        result = scan(cell, x, (h, clocks), backend=backend)
        loss = (result.y * torch.linspace(-1, 1, result.y.numel(), dtype=torch.float64).view_as(result.y)).sum()
        grads = torch.autograd.grad(loss + result.state[0].square().sum(), [x, h, *cell.parameters()])
        made.append([result.y, *result.state, *grads])
    for found, truth in zip(made[1], made[0], strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-10, atol=1e-12)


@needs_compiler
def test_integers_of_each_row_are_divided_as_torch_does() -> None:
    class Divides(Choosing):
        def state_shapes(self) -> Any:
            return (self.hidden_size,), ((), torch.int64), ((), torch.int64)

        def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
            h, t, kept = state
            h = torch.tanh(self.inputs(x) + self.recurrent(h))
            return h, (h, t - 3, kept + t % -4 + 10 * (t // 3) + 100 * (t % 5))

    cell, x = Divides(2, 4), torch.randn(6, 5, 2)
    start = (torch.zeros(5, 4), torch.tensor([-7, 0, 1, 8, 1 << 40]), torch.zeros(5, dtype=torch.int64))
    try:
        found = scan(cell, x, start, backend="cpp").state[2]
    except BackendError as error:
        pytest.fail(str(error))
    assert torch.equal(found, scan(cell, x, start, backend="reference").state[2])
