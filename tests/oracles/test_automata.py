"""Any automaton's table becomes exact weights: compared over all strings of up to 12 symbols."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

FILE = Path(__file__).parents[2] / "examples" / "automaton.py"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("automaton", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("states", "symbols", "longest"), [(1, 2, 12), (3, 2, 12), (5, 2, 12), (4, 3, 7)])
def test_the_network_goes_through_the_automatons_states(example: Any, states: int, symbols: int, longest: int) -> None:
    table = torch.randint(states, (states, symbols))
    rnn, begin = example.as_network(table.tolist())
    strings = torch.tensor(list(itertools.product(range(symbols), repeat=longest))).T
    x = F.one_hot(strings, symbols).float()
    y, _ = rnn(x, begin.expand(1, strings.shape[1], -1).contiguous())
    state = torch.zeros(strings.shape[1], dtype=torch.int64)
    for t in range(longest):  # every shorter string is a beginning of these
        expected = F.one_hot(state * symbols + strings[t], states * symbols + 1).float()
        assert torch.equal(y[t], expected)
        state = table[state, strings[t]]
