"""The Turing machine of the examples, against a tape that is moved by hand."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any

import pytest
import torch

import recurra

FILE = Path(__file__).parents[2] / "examples" / "turing_machine.py"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("turing_machine", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_hand(rules, text, steps, places):
    """Return control, tape and head before every step and after the last."""
    control, tape, head = 0, list(text.ljust(places, "_")), 0
    history = [(control, "".join(tape), head)]
    for _ in range(steps):
        tape[head], move, control = rules.get((control, tape[head]), (tape[head], 0, control))
        head = (head + move) % places
        history.append((control, "".join(tape), head))
    return history


@pytest.mark.parametrize("a", [0, 1, 5])
@pytest.mark.parametrize("b", [0, 1, 4])
def test_it_adds(example, a, b):
    text = "1" * a + "+" + "1" * b
    history = example.run(example.ADDITION, text, a + b + 4, a + b + 3)
    assert history[-1][0] == 3
    assert history[-1][1].strip("_") == "1" * (a + b)
    assert history == by_hand(example.ADDITION, text, a + b + 4, a + b + 3)


@pytest.mark.parametrize("seed", range(8))
def test_any_rules_run_as_by_hand(example, seed):
    draw = random.Random(seed)
    pairs = [(q, symbol) for q in range(4) for symbol in example.SYMBOLS]
    rules = {pair: (draw.choice(example.SYMBOLS), draw.choice((-1, 0, 1)), draw.randrange(4)) for pair in pairs}
    for pair in draw.sample(pairs, 3):
        del rules[pair]
    assert example.run(rules, "1+1_+", 30, 7) == by_hand(rules, "1+1_+", 30, 7)


def test_it_is_compiled(example):
    rnn = recurra.Recurrent(example.TuringMachineCell, 1, 6, rules=example.ADDITION, backend="cpp")
    y, _ = rnn(torch.zeros(3, 2, 1))
    assert y.shape == (3, 2, 12)


def test_the_tape_is_drawn(example):
    history = example.run(example.ADDITION, "1+1", 5, 5)
    svg = example.draw_tape(history, "1+1").svg
    assert svg.count("<rect") == 1 + 6 * 5
    assert svg.count('class="vector-output"') == 6
