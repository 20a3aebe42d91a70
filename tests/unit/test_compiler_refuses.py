"""What the compiler does not take: refused by name, run by the loop, and seen where a cell changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra import cells, compile_report
from recurra.core import Cell, State
from recurra.core.errors import BackendError
from recurra.scan import cpp_compiler, scan

needs_compiler = pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler on this machine")


@needs_compiler
def test_auto_under_transforms_and_modes_takes_the_loop() -> None:
    cell = cells.get("gru")(6, 64)
    x = torch.randn(40, 2, 6)
    run = lambda v: scan(cell, v).y.sum()  # noqa: E731
    eager = x.clone().requires_grad_()
    assert torch.allclose(torch.func.grad(run)(x), torch.autograd.grad(run(eager), eager)[0], atol=1e-5)
    assert torch.func.vmap(lambda v: scan(cell, v).y)(torch.stack([x, x])).shape == (2, 40, 2, 64)
    with torch.inference_mode():
        assert torch.allclose(scan(cell, x).y, scan(cell, x, backend="reference").y, atol=1e-6)


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return x.sign()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return g


def _branch(h: Tensor) -> Tensor:
    return h * 2 if h.sum() > 0 else h


def _write(h: Tensor) -> Tensor:
    h[:, 0] = 0
    return h


REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "a branch": (_branch, "_local_scalar_dense.*test_compiler_refuses.py"),
    "rows mixed": (lambda h: h - h.mean(0), "mean: it mixes the batch's rows"),
    "a view written": (_write, "in place on an argument or a view"),
    "a random number": (lambda h: torch.dropout(h, 0.5, True), "random numbers in the step"),
    "an operation": (lambda h: torch.linalg.qr(h)[0][:, :1] * 0 + h, "linalg_qr"),
    "a gradient of its own": (Straight.apply, "other values than the loop"),
}


@needs_compiler
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compiled_is_refused_by_name_and_runs_by_the_loop(name: str) -> None:
    change, message = REFUSED[name]

    class Odd(Cell):
        def __init__(self) -> None:
            super().__init__(4, 8)
            self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 8)

        def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
            h = change(torch.tanh(self.a(x) + self.b(state[0])))
            return h, (h,)

    cell, x = Odd(), torch.randn(128, 3, 4)
    with pytest.raises(BackendError, match=message):
        scan(cell, x, backend="cpp")
    torch.manual_seed(2)
    y = scan(cell, x).y
    torch.manual_seed(2)
    assert torch.equal(y, scan(cell, x, backend="reference").y)
    assert not compile_report(cell).cells[0].compiled


@needs_compiler
def test_attributes_are_part_of_what_was_compiled() -> None:
    class Scaled(Cell):
        def __init__(self) -> None:
            super().__init__(4, 8)
            self.a, self.scale = nn.Linear(4, 8), 1.0

        def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
            h = torch.tanh(self.a(x) + state[0]) * self.scale
            return (h if self.training else -h), (h,)

    cell, x = Scaled(), torch.randn(5, 3, 4)
    for scale in (1.0, 0.5):
        for training in (True, False):
            cell.scale = scale
            cell.train(training)
            assert torch.allclose(scan(cell, x, backend="cpp").y, scan(cell, x, backend="reference").y, atol=1e-6)


@needs_compiler
def test_the_report_tells_what_was_done() -> None:
    report = compile_report(recurra.Recurrent("lstm", 20, 8, num_layers=2))
    assert [c.compiled for c in report.cells] == [True, True]
    assert report.cells[0].source is not None
    assert report.cells[0].source.exists()
    assert report.cells[0].saved == 5 * 8
    assert "mm of 8 (lstm.py" in str(report)


class Shares(Cell):
    """A state of shares, whose logarithm is taken, and a gradient that a trace cannot see."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, hidden_size)

    def initial_state(self, batch: int, **options: Any) -> State:
        return (torch.full((batch, self.hidden_size), 1 / self.hidden_size, **options),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        w = torch.softmax(torch.log(state[0]) + Straight.apply(self.inputs(x)), -1)
        return w, (w,)


@needs_compiler
def test_a_trial_whose_random_states_prove_nothing_is_made_again_from_the_given_state() -> None:
    with pytest.raises(BackendError, match="other values than the loop"):
        scan(Shares(3, 4), torch.randn(2, 2, 3), backend="cpp")
