"""Which cells are found to be linear in their state, and the parallel scan beside the loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra import Cell, Recurrent, Shared, cells, compile_report, scan
from recurra.core import State
from recurra.core.errors import BackendError
from recurra.scan import Problem, Result
from recurra.scan.parallel import scan_linear
from recurra.scan.programs import program_for


class Linear(Cell):
    """h_t = U h_{t-1} + W x_t: one full matrix for all steps."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = self.recurrent(h) + self.inputs(x)
        return torch.tanh(h), (h,)


class Turning(Linear):
    """Two states that turn into one another: a group of two."""

    def state_shapes(self) -> Any:
        return (self.hidden_size,), (1, self.hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        p, q = state[0], state[1].squeeze(1)
        p, q = 0.6 * p - 0.8 * q + self.inputs(x), 0.8 * p + 0.6 * q
        return p * q, (p, q.unsqueeze(1))


class DelayLine(Linear):
    """The last three inputs in one tensor: each entry moves on."""

    def state_shapes(self) -> Any:
        return ((3, self.input_size),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (taps,) = state
        taps = torch.cat([x.unsqueeze(1), taps[:, :-1]], 1)
        return torch.tanh(self.inputs(taps.sum(1))), (taps,)


class Weave(Linear):
    """A delay whose entries change places on their way, two of them from one."""

    def state_shapes(self) -> Any:
        return ((5,),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (s,) = state
        s = torch.stack([s[:, 3], x[:, 0], s[:, 1], s[:, 2], s[:, 1]], 1)
        return torch.tanh(self.inputs(s[:, :3])), (s,)


class Fading(DelayLine):
    """A delay that also weakens what it holds."""

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, (taps,) = super().step(x, state)
        return y, (0.5 * taps,)


class Chain(Linear):
    """A clock, a delay, a leak with gates that look at both, and an average of that: four groups, one after another."""

    def state_shapes(self) -> Any:
        return (self.hidden_size,), (self.hidden_size,), (self.input_size,), ((), torch.int64)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        mean, h, last, t = state
        gate = torch.sigmoid(self.inputs(last) + torch.sin(t.unsqueeze(-1).to(x.dtype)))
        left, right = h.chunk(2, -1)
        h = torch.where(t.unsqueeze(-1) % 2 == 0, torch.cat([left, -right], -1) * gate, h / 3) + self.inputs(x)
        mean = 0.9 * mean + 0.1 * torch.relu(h)
        return mean * h, (mean, h, x, t + 1)


class Given(Linear):
    """Gates from the context: one for each row, one for each step, one for all."""

    def make_context(self, given: tuple[Any, ...], steps: int, batch: int, device: Any, dtype: Any) -> Any:
        by_row, by_step, shared = given
        return (by_row, Shared(shared)), (by_step,)

    def step(self, x: Tensor, state: State, context: tuple[Any, ...]) -> tuple[Tensor, State]:
        (h,) = state
        by_row, shared, by_step = context
        h = torch.sigmoid(by_row) * h + by_step * shared + self.inputs(x)
        return h, (h,)


class Mixing(Linear):
    """The input turns the matrix."""

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = self.recurrent(h) * torch.sigmoid(self.inputs(x)) + self.inputs(x)
        return h, (h,)


class Squaring(Linear):
    """Not linear, though it only multiplies and adds."""

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = h * (0.5 * h) + self.inputs(x)
        return h, (h,)


class Stopped(Linear):
    """Linear in value, but not in its gradients."""

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = 0.5 * h.detach() + self.inputs(x)
        return h, (h,)


LINEAR: list[tuple[Any, list[str]]] = [
    (cells.get("qrnn"), ["none", "diagonal"]),
    (cells.get("sru"), ["diagonal"]),
    (cells.get("min_gru"), ["diagonal"]),
    (cells.get("min_lstm"), ["diagonal"]),
    (Linear, ["matrix"]),
    (Turning, ["matrix"]),
    (DelayLine, ["delay"]),
    (Weave, ["delay"]),
    (Fading, ["matrix"]),
    (Chain, ["none", "diagonal", "diagonal", "diagonal"]),
]
CALLS: list[dict[str, Any]] = [
    {},
    {"reverse": True},
    {"lengths": (70, 3, 0, 1)},
    {"lengths": (70, 3, 0, 1), "reverse": True},
]
each_linear = pytest.mark.parametrize(("kind", "found"), LINEAR, ids=lambda p: getattr(p, "__name__", ""))


def problem(cell: Cell, context: tuple[Tensor, ...] = ()) -> Problem:
    x = torch.zeros(2, 3, cell.input_size, dtype=torch.float64)
    return Problem(cell, x, cell.initial_state(3, dtype=x.dtype), context, (), None, False, False)


def results(cell: Cell, dtype: torch.dtype, context: tuple[Tensor, ...] = (), **options: Any) -> list[Tensor]:
    """Return outputs, states and all gradients of one call, always of the same numbers."""
    torch.manual_seed(1)
    x = torch.randn(70, 4, cell.input_size, dtype=dtype, requires_grad=True)
    start = tuple(
        torch.randn_like(s).requires_grad_() if s.is_floating_point() else s + 3
        for s in cell.initial_state(4, dtype=dtype)
    )
    result: Result = scan(cell, x, start, context=context, keep_states=True, **options)
    assert result.states is not None
    made = [result.y, *result.state, *result.states]
    loss = torch.stack([(m * torch.randn_like(m)).sum() for m in made if m.is_floating_point()]).sum()
    inputs = [t for t in (x, *start, *context, *cell.parameters()) if t.requires_grad]
    return [*made, *torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)]


@each_linear
def test_it_is_found_from_the_step(kind: Any, found: list[str]) -> None:
    groups = program_for(problem(kind(3, 4).double()), True).recurrences()
    assert [group.kind for group in groups] == found


@each_linear
@pytest.mark.parametrize("options", CALLS, ids=str)
def test_it_equals_the_loop_and_so_do_its_gradients(kind: Any, found: list[str], options: dict[str, Any]) -> None:
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        cell = kind(3, 4).to(dtype)
        truth = results(cell, dtype, backend="reference", **options)
        for got, expected in zip(results(cell, dtype, backend="parallel", **options), truth, strict=True):
            scale = max(1.0, float(expected.detach().abs().max()))
            torch.testing.assert_close(got, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("options", CALLS, ids=str)
def test_context_of_every_kind(options: dict[str, Any]) -> None:
    cell = Given(3, 4).double()
    sizes = [(4, 4), (70, 4, 4), (4,)]
    context = tuple(torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes)
    truth = results(cell, torch.float64, context, backend="reference", **options)
    for got, expected in zip(results(cell, torch.float64, context, backend="parallel", **options), truth, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_padding_that_is_not_a_number_reaches_nothing() -> None:
    cell = cells.get("qrnn")(3, 4)
    x = torch.randn(5, 2, 3)
    x[2:, 0] = torch.nan
    x.requires_grad_()
    y, state, states = scan(cell, x, lengths=[2, 5], backend="parallel", keep_states=True)
    assert all(v.isfinite().all() for v in (y, *state, *(states or ())))
    (grad,) = torch.autograd.grad(y.sum() + sum(s.sum() for s in state), x)
    assert grad.isfinite().all()
    assert not grad[2:, 0].any()


def test_no_steps_and_no_rows() -> None:
    cell = cells.get("min_gru")(3, 4)
    start = torch.randn(2, 4)
    y, state, _ = scan(cell, torch.zeros(0, 2, 3), (start,), backend="parallel")
    assert y.shape == (0, 2, 4)
    assert torch.equal(state[0], start)
    assert scan(cell, torch.zeros(3, 0, 3), backend="parallel").y.shape == (3, 0, 4)
    assert scan(Linear(3, 4), torch.zeros(3, 0, 3), backend="parallel").y.shape == (3, 0, 4)


@pytest.mark.parametrize("steps", range(10))
def test_the_scan_itself(steps: int) -> None:
    a, b = torch.rand(steps, 2, 3), torch.rand(steps, 2, 3)
    matrix, s, r = torch.rand(3, 3), torch.zeros(2, 3), torch.zeros(2, 3)
    by_entries, by_matrix = scan_linear(a, b), scan_linear(matrix, b)
    for t in range(steps):
        s, r = a[t] * s + b[t], r @ matrix + b[t]
        torch.testing.assert_close(by_entries[t], s)
        torch.testing.assert_close(by_matrix[t], r)


def test_a_long_delay_costs_no_matrix_and_a_large_matrix_is_refused() -> None:
    class Long(DelayLine):
        def state_shapes(self) -> Any:
            return ((2000, self.input_size),)

    x = torch.randn(5, 2, 3)
    cell = Long(3, 4)
    torch.testing.assert_close(scan(cell, x, backend="parallel"), scan(cell, x, backend="reference"))
    with pytest.raises(BackendError, match="a matrix over more than 1024 entries of the state is not worth a scan"):
        scan(Linear(3, 1025), x, backend="parallel")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (cells.get("lstm"), r"cannot run LSTMCell: sigmoid: not linear in the state \(lstm.py:\d+, in step\)"),
        (Squaring, r"cannot run Squaring: mul: not linear in the state \(test_scan_parallel.py:\d+, in step\)"),
        (Stopped, r"cannot run Stopped: stop: not linear in the state"),
        (Mixing, r"cannot run Mixing: linear: the state is multiplied by a matrix that changes from step to step"),
    ],
)
def test_what_is_not_linear_is_refused_by_operation_and_line(kind: Any, reason: str) -> None:
    with pytest.raises(BackendError, match=f"backend 'parallel' {reason}"):
        scan(kind(3, 4), torch.randn(2, 2, 3), backend="parallel")


def test_gradients_of_gradients() -> None:
    cell = cells.get("sru")(2, 3).double()
    x = torch.randn(5, 2, 2, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradgradcheck(lambda v: scan(cell, v, lengths=[5, 2], backend="parallel").y, x)


def test_long_sequences_neither_lose_nor_overflow() -> None:
    cell = cells.get("min_gru")(3, 4, log_space=True)
    x = 5 * torch.randn(2000, 1, 3)
    loop, scanned = (scan(cell, x, backend=b).y for b in ("reference", "parallel"))
    torch.testing.assert_close(scanned, loop, rtol=1e-4, atol=1e-4)
    assert F.relu(-loop).sum() == 0


@pytest.mark.parametrize(
    ("kind", "linear"), [("min_gru", "diagonal"), (Linear, "matrix"), (Mixing, "changing matrix"), ("lstm", "")]
)
def test_the_report_tells_how_a_cell_is_linear(kind: Any, linear: str) -> None:
    (told,) = compile_report(Recurrent(kind, 3, 4)).cells
    assert told.linear == linear
    assert (f"linear     in its state: {linear}" in str(told)) == bool(linear)
