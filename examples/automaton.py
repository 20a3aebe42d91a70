"""A recurrent network is a finite automaton: any automaton's table becomes the weights of Elman's cell, exactly.

One unit stands for each pair of a state and a symbol, and one for the beginning. Unit (q, a) is on after a step in
which the automaton was in state q and read a:

    h_t[q, a] = relu(sum of h_{t-1}[p, b] over all pairs with next(p, b) = q  +  x_t[a]  -  1)

Exactly one unit is on at a time, at exactly 1, whatever the length of the string: nothing is approximate.

python examples/automaton.py
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

import recurra as rc

__all__ = ["accepts", "as_network", "main", "run_table"]

Table = list[list[int]]
"""`table[state][symbol]` is the next state; the automaton begins in state 0."""

DIVISIBLE_BY_3: Table = [[0, 1], [2, 0], [1, 2]]  # binary digits, the highest first; the state is the remainder


def as_network(table: Table) -> tuple[rc.Recurrent, Tensor]:
    """Return Elman's cell with the automaton's weights, and the state before the first step `(1, 1, units)`."""
    states, symbols = len(table), len(table[0])
    pairs = list(itertools.product(range(states), range(symbols)))
    rnn = rc.Recurrent("elman", symbols, len(pairs) + 1, nonlinearity="relu")
    # The last unit is the past before the first symbol: it leads to state 0, and is never on again.
    leads_to = torch.tensor([*itertools.chain(*table), 0])
    hears = torch.stack([leads_to == q for q, _ in pairs] + [leads_to < 0]).float()
    reads = torch.tensor([[float(a == b) for b in range(symbols)] for _, a in pairs] + [[0.0] * symbols])
    bias = torch.tensor([-1.0] * len(pairs) + [0.0])
    weights = {"weight_ih": reads, "weight_hh": hears, "bias_ih": bias, "bias_hh": torch.zeros_like(bias)}
    rnn.load_state_dict({f"layers.0.forward.{name}": value for name, value in weights.items()})
    begin = F.one_hot(torch.tensor(len(pairs)), len(pairs) + 1).float()
    return rnn, begin.view(1, 1, -1)


def accepts(table: Table, final: set[int], strings: Tensor) -> Tensor:
    """Tell for every string `(T, B)` of symbols whether the network ends in one of the final states."""
    rnn, begin = as_network(table)
    x = F.one_hot(strings, len(table[0])).float()
    y, _ = rnn(x, begin.expand(1, strings.shape[1], -1).contiguous())
    ends = torch.tensor([float(q in final) for row in table for q in row] + [0.0])
    return (y[-1] @ ends) == 1.0


def run_table(table: Table, string: tuple[int, ...]) -> int:
    """Return the state in which the automaton itself ends."""
    state = 0
    for symbol in string:
        state = table[state][symbol]
    return state


def main() -> None:
    """Compare network and automaton over all binary numbers of up to 12 digits."""
    compared = 0
    for length in range(1, 13):
        strings = list(itertools.product(range(2), repeat=length))
        found = accepts(DIVISIBLE_BY_3, {0}, torch.tensor(strings).T).tolist()
        wanted = [run_table(DIVISIBLE_BY_3, s) == 0 for s in strings]
        assert found == wanted == [int("".join(map(str, s)), 2) % 3 == 0 for s in strings]
        compared += len(strings)
    print(f"the network agrees with the automaton on all {compared:,} strings of 1 to 12 symbols")
    for number in (9, 10, 12, 2187):
        digits = [int(d) for d in f"{number:b}"]
        answer = "yes" if bool(accepts(DIVISIBLE_BY_3, {0}, torch.tensor(digits).view(-1, 1))) else "no"
        print(f"{number:>5} = {number:b} divisible by 3: {answer}")


if __name__ == "__main__":
    main()
