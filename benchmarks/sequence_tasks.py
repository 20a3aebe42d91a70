"""The known tasks of long memory: each a generator of batches, with what the answer is and when it is asked for.

Each of them takes the number of rows and a random generator, and gives a `Batch`. Symbols are one-hot vectors.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "ANBNCN",
    "CLUES",
    "COUNTRIES",
    "ORDER",
    "REBER",
    "WORDS",
    "Batch",
    "adding",
    "anbncn",
    "continual_reber",
    "long_gap",
    "reber_string",
    "selective_copying",
    "spike_distance",
    "temporal_order",
]


@dataclass(frozen=True)
class Batch:
    """Sequences, their answers, and the steps at which they are asked for."""

    x: Tensor
    """`(T, B, inputs)`"""
    target: Tensor
    """`(T, B)` or `(T, B, outputs)`; what it holds where nothing is asked for has no meaning."""
    asked: Tensor
    """`(T, B)`, true where the output is judged."""


CLUES = {
    "clouds": "sky", "fish": "sea", "trees": "forest", "cars": "street", "ships": "harbour",
    "books": "library", "cows": "meadow", "bees": "hive",
}  # fmt: skip
COUNTRIES = {
    "France": "French", "Spain": "Spanish", "China": "Chinese", "Japan": "Japanese", "Poland": "Polish",
    "Greece": "Greek", "Turkey": "Turkish", "Denmark": "Danish",
}  # fmt: skip
_FILLING = [
    *("my", "mother", "worked", "at", "school", "and", "we", "often", "went", "out", "to", "see", "old", "friends"),
    *("who", "had", "lived", "by", "the", "river"),
]
_FRAME = ["the", "are", "in", "I", "grew", "up", "speak", "fluent"]
WORDS = list(dict.fromkeys([*_FRAME, *_FILLING, *CLUES, *COUNTRIES]))
"""The words that are read. What is asked for is a class: the place in CLUES, or the language in COUNTRIES."""


def long_gap(gap: int, rows: int, draw: torch.Generator) -> Batch:
    """Read a sentence; tell its last word, which a clue `gap` words before the last read one decides.

    Gap 2 is "the clouds are in the [sky]". Every longer one is "I grew up in France ... I speak fluent [French]", with
    `gap - 3` words drawn from a small vocabulary where the dots are.
    """
    clues = torch.randint(len(CLUES), (rows,), generator=draw)
    if gap == 2:
        before, after, names, filling = "the", "are in the", CLUES, torch.empty(0, rows, dtype=torch.int64)
    else:
        before, after, names = "I grew up in", "I speak fluent", COUNTRIES
        filling = _numbers(_FILLING)[torch.randint(len(_FILLING), (gap - 2, rows), generator=draw)]
    told = [_numbers(text).unsqueeze(1).expand(-1, rows) for text in (before.split(), after.split())]
    symbols = torch.cat([told[0], _numbers(names)[clues].unsqueeze(0), filling, told[1]])
    return _at_the_end(F.one_hot(symbols, len(WORDS)).float(), clues)


def _numbers(words: Iterable[str]) -> Tensor:
    return torch.tensor([WORDS.index(word) for word in words])


def adding(length: int, rows: int, draw: torch.Generator) -> Batch:
    """Give the sum of the two marked numbers of a sequence: experiment 4 of Hochreiter and Schmidhuber (1997).

    x `(T, B, 2)`: numbers from U(-1, 1), and marks: 1 at two steps, -1 at the first and the last, 0 elsewhere. The
    first marked step is among the first ten, the second anywhere among the first T / 2 - 1. T is drawn from length to
    1.1 length, here once for a batch. Target: 0.5 + (X1 + X2) / 4. Deviation: the first step is never marked; the paper
    lets its number count as zero then.
    """
    T = length + int(torch.randint(length // 10 + 1, (), generator=draw))
    numbers = 2 * torch.rand(T, rows, generator=draw) - 1
    every = torch.arange(rows)
    first = torch.randint(1, min(10, T // 2 - 1), (rows,), generator=draw)
    second = torch.randint(1, T // 2 - 2, (rows,), generator=draw)
    second = second + (second >= first)  # any but the first mark
    marks = torch.zeros(T, rows)
    marks[[0, -1]] = -1.0
    marks[first, every] = 1.0
    marks[second, every] = 1.0
    total = numbers[first, every] + numbers[second, every]
    return _at_the_end(torch.stack([numbers, marks], -1), 0.5 + total / 4)


ORDER = "EBabcdXY"
"""The symbols of the temporal order task: the first, the last, four that mean nothing, and the two that count."""


def temporal_order(length: int, rows: int, draw: torch.Generator) -> Batch:
    """Tell the order of two symbols far apart: experiment 6a of Hochreiter and Schmidhuber (1997).

    E, then a to d at random, with X or Y at two steps, then B. The class is 2 [first is Y] + [second is Y]: XX, XY, YX,
    YY. For length 100: T from 100 to 110 (here drawn once for a batch), the first from 10 to 20, the second from 50 to
    60; other lengths in proportion.
    """
    unit = length // 10
    T = length + int(torch.randint(unit + 1, (), generator=draw))
    every = torch.arange(rows)
    symbols = torch.randint(2, 6, (T, rows), generator=draw)
    symbols[0], symbols[-1] = ORDER.index("E"), ORDER.index("B")
    bits = torch.randint(2, (2, rows), generator=draw)
    for begin, bit in zip((unit, 5 * unit), bits, strict=True):
        symbols[begin + torch.randint(unit + 1, (rows,), generator=draw), every] = ORDER.index("X") + bit
    return _at_the_end(F.one_hot(symbols, len(ORDER)).float(), 2 * bits[0] + bits[1])


ANBNCN = "Sabc"
"""The symbols that are read; T, the end, is only predicted, in the place of S."""


def anbncn(lengths: Sequence[int]) -> Batch:
    """Tell at every step which symbols may come next in S a^n b^n c^n T, for every n given (Gers, Schmidhuber 2001).

    Target `(T, B, 4)`, 1 for each symbol that may come, in the order T, a, b, c: a or b after an a, one elsewhere.
    """
    n, t = torch.tensor(lengths), torch.arange(3 * max(lengths) + 1).unsqueeze(1)
    read = (t > 0).long() + (t > n).long() + (t > 2 * n).long()
    coming = torch.where(t < 3 * n, (t >= 0).long() + (t >= n).long() + (t >= 2 * n).long(), 0)
    asked = t <= 3 * n
    target = torch.maximum(F.one_hot(coming, 4), F.one_hot(read, 4) * (read == 1).unsqueeze(-1))
    target[..., 2] = torch.maximum(target[..., 2], (read == 1).long())
    return Batch(F.one_hot(read, 4).float() * asked.unsqueeze(-1), target.float(), asked)


REBER = "BTPSXVE"
_REBER: list[list[tuple[str, int]]] = [
    [("T", 1), ("P", 2)],
    [("S", 1), ("X", 3)],
    [("T", 2), ("V", 4)],
    [("X", 2), ("S", 5)],
    [("P", 3), ("V", 5)],
]
"""`_REBER[state]`: the symbols that may come and where each leads; state 5 is the end."""


def reber_string(choose: random.Random) -> tuple[str, list[str]]:
    """Return a string of the embedded Reber grammar, and for each of its symbols those that might have stood there.

    B, then T or P, then a string of the Reber grammar from B to E, then the same T or P, then E.
    """
    outer, state = choose.choice("TP"), 0
    string, allowed = ["B", outer, "B"], ["B", "TP", "B"]
    while state != 5:
        allowed.append("".join(symbol for symbol, _ in _REBER[state]))
        symbol, state = choose.choice(_REBER[state])
        string.append(symbol)
    return "".join([*string, "E", outer, "E"]), [*allowed, "E", outer, "E"]


def continual_reber(steps: int, rows: int, draw: torch.Generator) -> Iterator[Batch]:
    """Predict the next symbol of embedded Reber strings, one after another without a mark between them.

    Yields windows of endless streams: x `(steps, B, 7)`; target `(steps, B, 7)`, 1 for each symbol that may come next.
    Gers, Schmidhuber and Cummins (2000).
    """
    choose = random.Random(int(torch.randint(2**31, (), generator=draw)))
    coming: list[list[tuple[str, str]]] = [[] for _ in range(rows)]
    while True:
        for row in coming:
            while len(row) <= steps:
                row += zip(*reber_string(choose), strict=True)
        read = torch.tensor([[REBER.index(symbol) for symbol, _ in row[:steps]] for row in coming]).T
        may = [[[float(s in allowed) for s in REBER] for _, allowed in row[1 : steps + 1]] for row in coming]
        coming = [row[steps:] for row in coming]
        asked = torch.ones(steps, rows, dtype=torch.bool)
        yield Batch(F.one_hot(read, len(REBER)).float(), torch.tensor(may).transpose(0, 1), asked)


def spike_distance(shortest: int, spikes: int, rows: int, draw: torch.Generator) -> Batch:
    """Tell at each spike of a stream, from the second on, whether it came `shortest` or one more step after the last.

    x `(T, B, 1)`: 1 at spikes, 0 between them; target `(T, B)`: 0 or 1. After the task "measuring spike distances" of
    Gers, Schraudolph and Schmidhuber (2002).
    """
    late = torch.randint(2, (spikes - 1, rows), generator=draw)
    at = torch.cat([torch.zeros(1, rows, dtype=torch.int64), (late + shortest).cumsum(0)])
    T, every = int(at.max()) + 1, torch.arange(rows).expand_as(at)
    x, target, asked = torch.zeros(T, rows, 1), torch.zeros(T, rows), torch.zeros(T, rows, dtype=torch.bool)
    x[at, every, 0] = 1.0
    target[at[1:], every[1:]] = late.float()
    asked[at[1:], every[1:]] = True
    return Batch(x, target, asked)


def selective_copying(length: int, tokens: int, symbols: int, rows: int, draw: torch.Generator) -> Batch:
    """Give the symbols that stand among blanks, in their order, once marks come (Gu and Dao 2023; Feng et al. 2024).

    x `(length + tokens, B, symbols + 2)`: `tokens` symbols at random places among `length - tokens` blanks (the last
    channel but one), then as many marks (the last channel), at each of which one symbol is asked for.
    """
    places = torch.rand(length, rows, generator=draw).argsort(0)[:tokens].sort(0).values
    chosen = torch.randint(symbols, (tokens, rows), generator=draw)
    read = torch.full((length + tokens, rows), symbols)
    read[places, torch.arange(rows).expand_as(places)] = chosen
    read[length:] = symbols + 1
    target, asked = torch.zeros_like(read), torch.zeros_like(read, dtype=torch.bool)
    target[length:], asked[length:] = chosen, True
    return Batch(F.one_hot(read, symbols + 2).float(), target, asked)


def _at_the_end(x: Tensor, answer: Tensor) -> Batch:
    """Return a batch in which one answer is asked for, at the last step."""
    target = answer.expand(len(x), -1)
    asked = torch.zeros(x.shape[:2], dtype=torch.bool)
    asked[-1] = True
    return Batch(x, target, asked)
