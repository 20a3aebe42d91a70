"""A context whose length varies from call to call: one kernel for all lengths, equal to the loop at each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import recurra as rc
from recurra.compiler.varying import UNIT, actual, spelled, varies
from recurra.core import State
from recurra.core.errors import BackendError
from recurra.scan import cpp_compiler, scan

pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="no C++ compiler on this machine")

LENGTHS = [5, 1, 2, 8, 16, 17, 33]
"""What the kernel is first made for; one; less than a vector has; whole vectors; and a rest beside them."""


class Looking(rc.Cell):
    """Weighs the context's vectors by how they go with h, and adds what it sees."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.inputs = nn.Linear(inputs, hidden)
        self.recurrent = nn.Linear(hidden, hidden, bias=False)
        self.query = nn.Linear(hidden, 4, bias=False)
        self.seen = nn.Linear(4, hidden, bias=False)

    def weights(self, h: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        scores = (keys * self.query(h).unsqueeze(1)).sum(2)
        return torch.softmax(torch.where(mask, scores, -1e9), 1)

    def step(self, x: Tensor, state: State, context: tuple[Tensor, ...]) -> tuple[Tensor, State]:
        (h,) = state
        keys, mask = context
        a = self.weights(h, keys, mask)
        h = torch.tanh(self.inputs(x) + self.recurrent(h) + self.seen((a.unsqueeze(1) @ keys).squeeze(1)))
        return h, (h,)


class Averaging(Looking):
    """The same by the mean, which divides by the length, and by the largest, per column."""

    def weights(self, h: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        scores = torch.tanh(keys @ self.query(h).unsqueeze(2)).squeeze(2)
        return torch.sigmoid(scores - scores.mean(1, keepdim=True)) + scores.amax(1, keepdim=True) / keys.shape[1]


class Folding(Looking):
    """The same with a product of all vectors of all rows, and a piece of the context cut off and joined again."""

    def weights(self, h: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        turned = torch.tanh((keys + self.query(h).unsqueeze(1)) @ self.query.weight)
        scores = torch.cat([turned[:, :1], turned[:, 1:] * 2], 1).sum(2)
        return scores.softmax(1)


def problem(length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(4, 3, 2, dtype=dtype, requires_grad=True)
    keys = torch.randn(3, length, 4, dtype=dtype, requires_grad=True)
    mask = torch.rand(3, length) < 0.7
    mask[:, 0] = True
    return x, keys, mask


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("make", [Looking, Averaging, Folding])
def test_every_length_equals_the_loop(make: Callable[[int, int], Looking], ragged: bool) -> None:
    torch.manual_seed(1)
    cell = make(2, 7).double()
    for length in LENGTHS:
        x, keys, mask = problem(length, torch.float64)
        found: list[list[Tensor]] = []
        for backend in ("reference", "cpp"):
            y, (h,), states = scan(
                cell, x, context=(keys, mask), backend=backend, lengths=[4, 0, 2] if ragged else None,
                reverse=ragged, keep_states=ragged,
            )  # fmt: skip
            loss = y.square().sum() + h.sum() + (states[0].sin().sum() if states else 0)
            found.append([y, h, *torch.autograd.grad(loss, [x, keys, *cell.parameters()])])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_a_second_length_needs_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Looking(2, 7)
    x, keys, mask = problem(5, torch.float32)
    scan(cell, x, context=(keys, mask), backend="cpp")[0].sum().backward()
    monkeypatch.setattr("recurra.compiler.build._compile", _never)
    for length in (6, 11):
        x, keys, mask = problem(length, torch.float32)
        scan(cell, x, context=(keys, mask), backend="cpp")[0].sum().backward()


def _never(*_: object) -> None:
    raise AssertionError("the compiler was called again")


class Tied(Looking):
    """Has a weight for each place of the context, so it fits one length only."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.places = nn.Parameter(torch.randn(5))

    def weights(self, h: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        return super().weights(h, keys, mask) * self.places


def test_a_step_that_fits_one_length_runs_at_that_length() -> None:
    cell = Tied(2, 7).double()
    x, keys, mask = problem(5, torch.float64)
    expected = scan(cell, x, context=(keys, mask), backend="reference")
    torch.testing.assert_close(scan(cell, x, context=(keys, mask), backend="cpp"), expected, rtol=1e-9, atol=1e-9)
    x, keys, mask = problem(6, torch.float64)
    with pytest.raises(BackendError, match="size"):
        scan(cell, x, context=(keys, mask), backend="cpp")


def test_large_numbers_that_are_no_sizes_stay_as_they_are() -> None:
    text = f"w[{3 * UNIT + 7}] + {UNIT} * 999999999999 + 9223372036854775807 + 1e12 + {float(10**12)!r}"
    assert spelled(text) == "w[(3 * S + 7)] + (1 * S + 0) * 999999999999 + 9223372036854775807 + 1e12 + 1000000000000.0"
    assert [varies(n) for n in (UNIT - 1, 2 * UNIT, -UNIT, 5, 2**63 - 1, 1e12, float("inf"), float("nan"))] == [
        True, True, True, False, False, False, False, False,
    ]  # fmt: skip
    assert actual(3 * UNIT - 2, 4) == 10
