"""Tomita's languages by their definitions, minimal automata, and the automaton that stands in a network's states."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from of_benchmarks import load

automata = load("automata")
DEFINITIONS = {
    1: lambda s: "0" not in s,
    2: lambda s: s == "10" * (len(s) // 2),
    3: lambda s: not re.search("(?<!1)1(11)*0(00)*(?!0)", s),
    4: lambda s: "000" not in s,
    5: lambda s: s.count("0") % 2 == 0 and s.count("1") % 2 == 0,
    6: lambda s: (s.count("0") - s.count("1")) % 3 == 0,
    7: lambda s: re.fullmatch("0*1*0*1*", s) is not None,
}


def spelled(strings):
    return ["".join(map(str, row)) for row in strings.T.tolist()]


@pytest.mark.parametrize("name", automata.TOMITA)
def test_tomitas_automata_accept_what_is_defined(name):
    strings = automata.every_string(10)
    said = automata.TOMITA[name].accepts(strings)
    rule = DEFINITIONS[int(name[0])]
    for t in range(11):
        assert said[t].tolist() == [rule(s[:t]) for s in spelled(strings)]


def random_automaton(size):
    table = tuple(map(tuple, torch.randint(size, (size, 2)).tolist()))
    return automata.Automaton(table, frozenset(k for k in range(size) if torch.rand(()) < 0.5))


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_a_minimal_automaton_accepts_the_same_and_has_no_two_states_alike(size):
    for _ in range(20):
        given = random_automaton(size)
        small, becomes = given.minimal()
        strings = automata.every_string(9)
        assert torch.equal(small.accepts(strings), given.accepts(strings))
        assert torch.equal(small.states(strings), torch.tensor(becomes)[given.states(strings)])
        futures = set()
        for state in range(len(small.table)):
            order = [state, *(k for k in range(len(small.table)) if k != state)]
            place = {k: n for n, k in enumerate(order)}
            begun = automata.Automaton(
                tuple(tuple(place[t] for t in small.table[k]) for k in order), frozenset(place[k] for k in small.final)
            )
            futures.add(tuple(begun.accepts(strings).flatten().tolist()))
        assert len(futures) == len(small.table)


def test_the_minimal_form_does_not_depend_on_how_states_are_numbered():
    automaton = random_automaton(6)
    for order in itertools.islice(itertools.permutations(range(1, 6)), 0, 120, 17):
        place = dict(enumerate((0, *order)))
        back = {n: k for k, n in place.items()}
        table = tuple(tuple(place[t] for t in automaton.table[back[n]]) for n in range(6))
        other = automata.Automaton(table, frozenset(place[k] for k in automaton.final))
        assert other.minimal()[0] == automaton.minimal()[0]


def test_the_automaton_of_a_constructed_network_is_read_out_of_it(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    built = __import__("automaton")
    for name, truth in automata.TOMITA.items():
        rnn, begin = built.as_network([list(row) for row in truth.table])
        ends = torch.tensor([float(q in truth.final) for row in truth.table for q in row] + [float(0 in truth.final)])

        def step(state, symbol, rnn=rnn):
            return rnn.step(F.one_hot(torch.tensor([symbol]), 2).float(), state.view(1, 1, -1))[0][0]

        def accepts(state, ends=ends):
            return bool(state @ ends == 1)

        read = automata.extract(begin.flatten(), step, accepts, 0.1)
        assert read is not None
        assert read[0].minimal()[0] == truth.minimal()[0], name
        assert automata.extract(begin.flatten(), step, accepts, 0.1, most=1) is None
    sys.modules.pop("automaton")


def test_a_picture_has_every_state_and_symbol():
    svg = automata.picture(automata.TOMITA["4: no 000"], "no 000").svg
    assert svg.count("<circle") == 4 + 3
    assert re.findall(r">([\d, ]+)</text>", svg).count("0, 1") == 1
