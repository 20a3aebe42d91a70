"""Both directions of a layer on two threads: the same numbers, the same errors, and nothing left to chance."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import recurra
from recurra.layers import side_by_side
from recurra.layers.side_by_side import both, worth_two_threads
from recurra.scan import cpp_compiler

pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="no C++ compiler is installed")


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(side_by_side, "_WEIGHTS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def run(layer: recurra.LSTM, x: Tensor, grad: bool) -> list[Tensor]:
    with torch.set_grad_enabled(grad):
        y, (h, c) = layer(x)
    found = [y, h, c]
    if grad:
        found += torch.autograd.grad(y.sin().sum() + (h * c).sum(), [x, *layer.parameters()])
    return found


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_numbers_are_those_of_one_thread(layers: int, grad: bool) -> None:
    torch.manual_seed(0)
    layer = recurra.LSTM(32, 64, layers, bidirectional=True)
    x = torch.randn(40, 1, 32, requires_grad=grad)
    run(layer, x, grad)  # the first call binds cells to their kernels
    cells = layer.bound_cells()
    with torch.set_grad_enabled(grad):
        assert worth_two_threads(cells[:2], x)
    found = run(layer, x, grad)
    torch.set_num_threads(1)
    assert not worth_two_threads(cells[:2], x)
    wanted = run(layer, x, grad)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_where_rows_fill_the_threads_or_nothing_is_compiled_they_follow_each_other() -> None:
    layer = recurra.LSTM(32, 64, bidirectional=True)
    x = torch.randn(40, 1, 32)
    assert not worth_two_threads(layer.bound_cells(), x), "the first call, which compiles"
    layer(x)
    assert not worth_two_threads(layer.bound_cells(), torch.randn(40, 2, 32))
    assert not worth_two_threads(layer.bound_cells()[:1], x)


def test_the_second_thread_has_the_switches_of_the_first() -> None:
    def seen() -> tuple[bool, bool, str]:
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), threading.current_thread().name

    with torch.no_grad():
        here, there = both(seen, seen)
        assert here[:2] == there[:2] == (False, False)
        assert here[2] != there[2]
    with torch.inference_mode():
        here, there = both(seen, seen)
        assert here[:2] == there[:2] == (False, True)


def test_an_error_on_either_thread_is_raised() -> None:
    def fails() -> int:
        raise ValueError("on this side")

    with pytest.raises(ValueError, match="on this side"):
        both(fails, lambda: 1)
    with pytest.raises(ValueError, match="on this side"):
        both(lambda: 1, fails)
    assert both(lambda: 1, lambda: 2) == (1, 2)
