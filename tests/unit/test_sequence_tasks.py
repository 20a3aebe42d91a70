"""The known tasks of long memory, against their definitions."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from itertools import pairwise

import pytest
import torch
from of_benchmarks import load

tasks = load("sequence_tasks")
ROWS = 40


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def texts(x, symbols):
    """Return what every row of one-hot vectors `(T, B, n)` spells; a step without a symbol ends it."""
    assert bool(((x == 0) | (x == 1)).all())
    assert bool((x.sum(-1) <= 1).all())
    found = []
    for row in x.unbind(1):
        length = int(row.sum())
        found.append([symbols[k] for k in row[:length].argmax(-1).tolist()])
    return found


def answers(batch):
    """Return what is asked for at the last step, having seen that it is at no other."""
    assert not bool(batch.asked[:-1].any())
    assert bool(batch.asked[-1].all())
    return batch.target[-1]


@pytest.mark.parametrize("gap", [2, 3, 10])
def test_the_clue_of_a_long_gap_stands_where_it_should(gap, draw):
    batch = tasks.long_gap(gap, ROWS, draw)
    names = list(tasks.CLUES if gap == 2 else tasks.COUNTRIES)
    for words, answer in zip(texts(batch.x, tasks.WORDS), answers(batch).tolist(), strict=True):
        assert [word for word in words if word in names] == [names[answer]]
        assert len(words) - 2 - words.index(names[answer]) == gap
        assert " ".join(words).startswith("the " if gap == 2 else "I grew up in ")
        assert " ".join(words).endswith("are in the" if gap == 2 else "I speak fluent")


def test_adding_marks_two_numbers_of_the_first_half(draw):
    lengths = set()
    for _ in range(30):
        batch = tasks.adding(20, ROWS, draw)
        T = len(batch.x)
        lengths.add(T)
        for (numbers, marks), answer in zip(batch.x.permute(1, 2, 0).tolist(), answers(batch).tolist(), strict=True):
            marked = [t for t in range(T) if marks[t] == 1]
            assert len(marked) == 2
            assert 1 <= marked[0] < 10
            assert marked[1] < T // 2
            assert [marks[t] for t in range(T) if t not in marked] == [-1.0, *[0.0] * (T - 4), -1.0]
            assert answer == pytest.approx(0.5 + sum(numbers[t] for t in marked) / 4)
            assert max(map(abs, numbers)) <= 1
    assert lengths == {20, 21, 22}


def test_temporal_order_is_labelled_by_the_two_symbols_that_count(draw):
    lengths, classes = set(), set()
    for _ in range(30):
        batch = tasks.temporal_order(100, ROWS, draw)
        lengths.add(len(batch.x))
        for symbols, answer in zip(texts(batch.x, tasks.ORDER), answers(batch).tolist(), strict=True):
            found = re.fullmatch("E([abcd]*)([XY])([abcd]*)([XY])([abcd]*)B", "".join(symbols))
            assert found is not None
            assert 10 <= found.start(2) <= 20
            assert 50 <= found.start(4) <= 60
            assert ["XX", "XY", "YX", "YY"][answer] == found[2] + found[4]
            classes.add(answer)
    assert lengths == set(range(100, 111))
    assert classes == {0, 1, 2, 3}


def test_anbncn_knows_what_may_come_next():
    language = ["S" + "a" * n + "b" * n + "c" * n + "T" for n in range(1, 7)]  # one longer than any that is shown
    lengths = [5, 1, 3]
    batch = tasks.anbncn(lengths)
    for row, (n, symbols) in enumerate(zip(lengths, texts(batch.x, tasks.ANBNCN), strict=True)):
        assert batch.asked[:, row].tolist() == [t <= 3 * n for t in range(16)]
        for t in range(3 * n + 1):
            told = "".join(symbols[: t + 1])
            may = {word[t + 1] for word in language if word.startswith(told)}
            assert {"Tabc"[k] for k in range(4) if batch.target[t, row, k] == 1} == may


LOOP = "(?:XT*VP)*(?:S|XT*VV)"
EMBEDDED = re.compile(f"B([TP])B(?:TS*X{LOOP}|PT*V(?:P{LOOP}|V))E\\1E")


def test_every_reber_string_is_of_the_grammar_and_knows_its_choices():
    choose = random.Random(1)
    following, stated = defaultdict(list), {}
    for _ in range(4000):
        string, allowed = tasks.reber_string(choose)
        assert EMBEDDED.fullmatch(string), string
        assert len(allowed) == len(string)
        for t, may in enumerate(allowed):
            following[string[:t]].append(string[t])
            assert stated.setdefault(string[:t], may) == may
    often = {told: set(came) for told, came in following.items() if len(came) >= 60}
    assert len(often) > 50
    assert often == {told: set(stated[told]) for told in often}


def test_a_continual_stream_goes_on_from_window_to_window(draw):
    windows = tasks.continual_reber(25, 3, draw)
    batches = [next(windows) for _ in range(20)]
    x, target = torch.cat([b.x for b in batches]), torch.cat([b.target for b in batches])
    for row, symbols in enumerate(texts(x, tasks.REBER)):
        stream = "".join(symbols)
        strings = list(EMBEDDED.finditer(stream))
        assert [s.start() for s in strings] == [0, *(s.end() for s in strings[:-1])]
        assert len(stream) - strings[-1].end() < 60
        for t, following in enumerate(stream[1:]):
            assert target[t, row, tasks.REBER.index(following)] == 1
            assert 1 <= int(target[t, row].sum()) <= 2


def test_spikes_are_as_far_apart_as_the_targets_say(draw):
    batch = tasks.spike_distance(7, 5, ROWS, draw)
    seen = set()
    for x, target, asked in zip(batch.x[..., 0].T, batch.target.T, batch.asked.T, strict=True):
        at = x.nonzero().flatten().tolist()
        assert len(at) == 5
        assert asked.nonzero().flatten().tolist() == at[1:]
        assert target[asked].tolist() == [late - early - 7 for early, late in pairwise(at)]
        seen |= set(target[asked].tolist())
    assert seen == {0, 1}


def test_selective_copying_asks_for_the_symbols_in_their_order(draw):
    batch = tasks.selective_copying(12, 4, 3, ROWS, draw)
    for symbols, target, asked in zip(texts(batch.x, "012_!"), batch.target.T, batch.asked.T, strict=True):
        text = "".join(symbols)
        assert text[12:] == "!!!!"
        assert text[:12].count("_") == 8
        assert asked.tolist() == [False] * 12 + [True] * 4
        assert "".join(map(str, target[12:].tolist())) == text[:12].replace("_", "")
