"""Finite automata: Tomita's seven languages, minimal forms, and the automaton that a recurrent network has become."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from recurra.drawing import Picture
from recurra.drawing.canvas import Canvas

__all__ = ["TOMITA", "Automaton", "every_string", "extract", "picture"]


@dataclass(frozen=True)
class Automaton:
    """`table[state][symbol]` is the next state, `final` are those that accept; it begins in state 0."""

    table: tuple[tuple[int, ...], ...]
    final: frozenset[int]

    def states(self, strings: Tensor) -> Tensor:
        """Return the state after every symbol of strings `(T, B)`, with the first state before: `(T + 1, B)`."""
        table = torch.tensor(self.table)
        found = [torch.zeros(strings.shape[1], dtype=torch.int64)]
        for symbols in strings:
            found.append(table[found[-1], symbols])
        return torch.stack(found)

    def accepts(self, strings: Tensor) -> Tensor:
        """Tell for every beginning of strings `(T, B)`, the empty one too, whether it is accepted: `(T + 1, B)`."""
        return torch.tensor([k in self.final for k in range(len(self.table))])[self.states(strings)]

    def minimal(self) -> tuple[Automaton, list[int]]:
        """Return the smallest automaton of the same language, and the state that each state has become (Moore 1956).

        States are numbered as they are first reached, so that two automata of one language become the same. A state
        that is never reached becomes -1.
        """
        size, symbols = len(self.table), range(len(self.table[0]))
        kind = [int(k in self.final) for k in range(size)]
        while True:
            seen = [(kind[k], *(kind[self.table[k][s]] for s in symbols)) for k in range(size)]
            names = {pattern: k for k, pattern in enumerate(dict.fromkeys(seen))}
            finer = [names[pattern] for pattern in seen]
            if len(names) == len(set(kind)):
                break
            kind = finer
        order = {kind[0]: 0}
        members = [0]
        for k in members:  # grows while it is read: breadth first
            for s in symbols:
                reached = self.table[k][s]
                if kind[reached] not in order:
                    order[kind[reached]] = len(order)
                    members.append(reached)
        table = tuple(tuple(order[kind[self.table[k][s]]] for s in symbols) for k in members)
        final = frozenset(order[kind[k]] for k in members if k in self.final)
        return Automaton(table, final), [order.get(k, -1) for k in kind]


def _automaton(rows: str, final: str) -> Automaton:
    return Automaton(tuple(tuple(map(int, row)) for row in rows.split()), frozenset(map(int, final)))


TOMITA = {
    "1: 1*": _automaton("10 11", "0"),
    "2: (10)*": _automaton("12 11 01", "0"),
    "3: no odd 1s before odd 0s": _automaton("01 20 34 21 44", "013"),
    "4: no 000": _automaton("10 20 30 33", "012"),
    "5: even 0s, even 1s": _automaton("12 03 30 21", "0"),
    "6: 0s less 1s divisible by 3": _automaton("12 20 01", "0"),
    "7: 0*1*0*1*": _automaton("01 21 23 43 44", "0123"),
}
"""The languages of Tomita (1982), each with its minimal automaton over 0 and 1."""


def every_string(length: int, symbols: int = 2) -> Tensor:
    """Return all strings of a length, `(length, symbols ** length)`: every shorter one is a beginning of some."""
    return torch.tensor(list(itertools.product(range(symbols), repeat=length))).T


@torch.no_grad()
def extract(
    first: Tensor,
    step: Callable[[Tensor, int], Tensor],
    accepts: Callable[[Tensor], bool],
    radius: float,
    symbols: int = 2,
    most: int = 300,
) -> tuple[Automaton, Tensor] | None:
    """Return the automaton that a network's states form, and the state vector that stands for each of its states.

    Breadth first from the `first` state vector: where a symbol leads to a vector that is within `radius` of a known one
    that accepts alike, it is that state; else it is a new one. None where there are more than `most`.
    """
    known, table = [first], list[tuple[int, ...]]()
    verdicts = [accepts(first)]
    for state in known:  # grows while it is read
        row: list[int] = []
        for symbol in range(symbols):
            reached = step(state, symbol)
            verdict = accepts(reached)
            distances = (torch.stack(known) - reached).norm(dim=-1)
            distances[torch.tensor(verdicts) != verdict] = torch.inf
            nearest = int(distances.argmin())
            if float(distances[nearest]) > radius:
                nearest = len(known)
                known.append(reached)
                verdicts.append(verdict)
            row.append(nearest)
        table.append(tuple(row))
        if len(known) > most:
            return None
    return Automaton(tuple(table), frozenset(k for k, v in enumerate(verdicts) if v)), torch.stack(known)


def picture(automaton: Automaton, title: str) -> Picture:
    """Draw an automaton: states in a row, those that accept with two circles, ways back below."""
    apart, radius = 120.0, 22.0
    size = len(automaton.table)
    above = 46 + max([40.0, *(27.0 * (t - k) for k, row in enumerate(automaton.table) for t in row if t > k + 1)])
    below = 40 + max([0.0, *(27.0 * (k - t) for k, row in enumerate(automaton.table) for t in row if t < k)])
    middle = 40 + above
    canvas = Canvas(title)
    canvas.text(24, 34, title, "title", "start")
    at = [90 + apart * k for k in range(size)]
    canvas.line([(at[0] - 60, middle), (at[0] - radius, middle)], head=True)
    for k, row in enumerate(automaton.table):
        for target in dict.fromkeys(row):
            symbols = ", ".join(str(s) for s, reached in enumerate(row) if reached == target)
            x, y = (at[k] + at[target]) / 2, middle
            if target == k:
                corners = [(x - 9, y - 20), (x - 9, y - 52), (x + 9, y - 52), (x + 9, y - 20)]
                canvas.line(corners, head=True)
                canvas.text(x, y - 58, symbols, "label")
            elif target == k + 1:
                canvas.line([(at[k] + radius, y), (at[target] - radius, y)], head=True)
                canvas.text(x, y - 8, symbols, "label")
            else:
                side = 1 if target < k else -1
                height = side * (radius + 54 * abs(target - k))
                canvas.curve((at[k] - 8 * side, y + 20 * side), (at[target] + 8 * side, y + 20 * side), (x, y + height))
                canvas.text(x, y + height / 2 + (-6 if side > 0 else 16), symbols, "label")
    for k in range(size):
        canvas.circle(at[k], middle, radius, "vector-state")
        if k in automaton.final:
            canvas.circle(at[k], middle, radius - 4, "vector-state")
        canvas.text(at[k], middle + 5, str(k), "label")
    return canvas.picture(max(at[-1] + 60, 48 + 9 * len(title)), middle + below + 30)
