"""Layers as a wave over layers and steps: the same numbers as one layer after the other, whoever is late."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import recurra
from recurra import cells
from recurra.layers import sequences
from recurra.scan import cpp_compiler, wave

pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="no C++ compiler is installed")

STACKS: dict[str, Callable[[int], Any]] = {
    "LSTM": lambda layers: recurra.LSTM(24, 40, layers),
    "an output of its own": lambda layers: recurra.Recurrent("jordan", 24, 24, layers, backend="cpp"),
}

WAYS: dict[str, Callable[[int], Any]] = {
    "LSTM": lambda layers: recurra.LSTM(24, 40, layers, bidirectional=True),
    "an output of its own": lambda n: recurra.Recurrent("jordan", 24, 24, n, bidirectional=True, backend="cpp"),
}


@pytest.fixture(autouse=True)
def however_little_there_is_to_do(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(wave, "_WORK", 0)
    monkeypatch.setattr(wave, "_TWO_WAYS", 0)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("steps", [8, 31, 32, 33, 100])
@pytest.mark.parametrize(("layers", "threads"), [(2, 2), (3, 2), (3, 4)])
@pytest.mark.parametrize("stack", STACKS)
def test_a_wave_gives_the_same_numbers(stack: str, layers: int, threads: int, steps: int) -> None:
    layer, x = STACKS[stack](layers), torch.randn(steps, 1, 24)
    assert _compare(layer, x, threads)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("stack", WAYS)
def test_both_directions_at_once_give_the_same_numbers(stack: str, layers: int) -> None:
    layer, x = WAYS[stack](layers), torch.randn(50, 1, 24)
    assert _compare(layer, x, 2)
    with torch.no_grad():
        found, _ = layer(x)
    layer.backend = "reference"
    torch.testing.assert_close(found, layer(x)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", cells.names())
def test_any_cell_runs_as_a_wave(name: str) -> None:
    cell = cells.get(name)(12, 12)
    if cell.output_shape != cell.input_shape:
        pytest.skip("what it returns is not what it takes")
    layer = recurra.Recurrent(name, 12, 12, 2)
    layer.backend = "cpp"
    try:
        used = _compare(layer, torch.randn(45, 1, 12), 2)
    except recurra.RecurraError as error:
        pytest.skip(str(error))
    if not used:
        pytest.skip("its calls are not prepared")


FEWER = """
import torch, recurra
from recurra.scan import wave
wave._WORK = wave._TWO_WAYS = 0
for layer in (recurra.LSTM(24, 40, 3), recurra.LSTM(24, 40, bidirectional=True)):
    x = torch.randn(50, 1, 24)
    with torch.no_grad():
        torch.set_num_threads(1)
        expected = [layer(x)[0] for _ in range(3)][-1]
        torch.set_num_threads(3)
        assert torch.equal(layer(x)[0], expected)
print("done")
"""


def test_fewer_threads_than_were_asked_for_wait_for_nothing() -> None:
    """A loop that another one waits for has begun before it, or runs on the same thread before it."""
    limited = os.environ | {"OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FEWER], env=limited, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "done\n", done.stderr


def test_where_threads_have_other_things_to_do_there_is_no_wave() -> None:
    assert wave.worth_a_wave(100, 1, [50_000, 50_000], 2)
    assert not wave.worth_a_wave(100, 2, [50_000, 50_000], 2)
    assert not wave.worth_a_wave(100, 1, [50_000], 2)
    assert not wave.worth_a_wave(100, 1, [50_000, 50_000], 1)
    assert not wave.worth_a_wave(1, 1, [50_000, 50_000], 2)
    assert not wave.worth_a_wave(100, 1, [50_000, 500_000], 2)  # which two threads share
    assert wave.worth_two_ways(100, 1, [500_000, 500_000], 2)
    assert not wave.worth_two_ways(100, 1, [800_000, 800_000], 4)  # which four threads share
    assert not wave.worth_two_ways(100, 2, [50_000, 50_000], 2)


def _compare(layer: Any, x: Tensor, threads: int) -> bool:
    """Compare calls on several threads with those on one, with and without a state; tell whether they went as waves."""
    with torch.no_grad():
        torch.set_num_threads(1)
        for _ in range(3):
            _, state = layer(x)
        expected = [layer(x), layer(x, state)]
        torch.set_num_threads(threads)
        for _ in range(20):
            found = [layer(x), layer(x, state)]
            for a, b in zip(_flat(found), _flat(expected), strict=True):
                assert torch.equal(a, b)
    prepared = sequences._prepared.get(layer)
    return prepared is not None and len(prepared._waves) == 2


def _flat(made: Any) -> list[Tensor]:
    return [made] if isinstance(made, Tensor) else [t for part in made for t in _flat(part)]
