"""A small Turing machine as a recurrent network: a controller with weights set by hand, and a tape as its memory.

The machine adds numbers written as strokes: 111+11 becomes 11111. Its cell carries the controller's state, the tape
and the head's place, all as vectors of exact zeros and ones, and does in each step what a neural Turing machine does
softly:

    r = M^T w                                   what stands under the head
    u[q, a] = relu(control[q] + r[a] - 1)       one unit for each pair of state and symbol: exactly one is on
    M = M + w (A u - r)^T                       the pair's symbol is written there
    w = (left u) w(+1) + (stay u) w + (right u) w(-1)      the head moves as the pair says
    control = B u                               and the next state is the pair's

    python examples/turing_machine.py [111+11] [--picture tape.svg]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import recurra as rc
from recurra.drawing import Picture
from recurra.drawing.canvas import Canvas

__all__ = ["ADDITION", "SYMBOLS", "TuringMachineCell", "draw_tape", "main", "run"]

Rules = dict[tuple[int, str], tuple[str, int, int]]
"""(state, symbol read) -> (symbol to write, how far to move, next state). Where there is no rule, nothing changes."""

State = tuple[Tensor, ...]

SYMBOLS = "_1+"
ADDITION: Rules = {
    (0, "1"): ("1", 1, 0),  # over the first number
    (0, "+"): ("1", 1, 1),  # the plus becomes a stroke: one too many
    (1, "1"): ("1", 1, 1),  # over the second number
    (1, "_"): ("_", -1, 2),  # back from the end
    (2, "1"): ("_", 0, 3),  # the last stroke goes; state 3 has no rules: it halts
}


class TuringMachineCell(rc.Cell):
    """A Turing machine's step over a tape of `hidden_size` places, which is a ring; it needs no input.

    Shapes: x `(B, 1)`, not looked at; state `(control (B, Q), tape (B, N, S), head (B, N))`; y `(B, Q * S)`, the pair
    of state and symbol that is on. Weights, all buffers: `writes (S, Q * S)`, `becomes (Q, Q * S)`, `moves (3, Q * S)`
    for left, stay and right.
    """

    writes: Tensor
    becomes: Tensor
    moves: Tensor

    def __init__(self, input_size: int, hidden_size: int, rules: Rules, symbols: str = SYMBOLS) -> None:
        super().__init__(input_size, hidden_size)
        Q, S = 1 + max(max(q, then[2]) for (q, _), then in rules.items()), len(symbols)
        self.states, self.symbols, self.output_shape = Q, S, (Q * S,)
        chosen = {(q, symbol): (symbol, 0, q) for q in range(Q) for symbol in symbols} | rules
        written, moved, following = zip(*(chosen[q, symbol] for q in range(Q) for symbol in symbols), strict=True)
        self.register_buffer("writes", _one_hot([symbols.index(w) for w in written], S))
        self.register_buffer("becomes", _one_hot(following, Q))
        self.register_buffer("moves", _one_hot([1 + m for m in moved], 3))

    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of control, tape and head."""
        return (self.states,), (self.hidden_size, self.symbols), (self.hidden_size,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the pair that is on, and the new control, tape and head."""
        control, tape, head = state
        read = (head.unsqueeze(1) @ tape).squeeze(1)
        pair = torch.relu(control.repeat_interleave(self.symbols, 1) + read.repeat(1, self.states) - 1)
        tape = tape + head.unsqueeze(2) * (F.linear(pair, self.writes) - read).unsqueeze(1)
        left, stay, right = F.linear(pair, self.moves).split(1, -1)
        head = left * head.roll(-1, -1) + stay * head + right * head.roll(1, -1)
        return pair, (F.linear(pair, self.becomes), tape, head)


def run(rules: Rules, text: str, steps: int, places: int) -> list[tuple[int, str, int]]:
    """Return control, tape and head before every step and after the last, the head beginning at the left end."""
    cell = TuringMachineCell(1, places, rules)
    machine = rc.Recurrent(lambda _inputs, _places: cell, 1, places)
    tape = _one_hot([SYMBOLS.index(symbol) for symbol in text.ljust(places, "_")], len(SYMBOLS)).T
    control, head = _one_hot([0], cell.states).T, _one_hot([0], places).T
    first = (control.unsqueeze(0), tape[None, None], head.unsqueeze(0))
    *_, states = machine(torch.zeros(steps, 1, 1), first, return_all_states=True)
    found: list[tuple[int, str, int]] = []
    for now in zip(*(torch.cat([s[0], every[0, :, 0]]) for s, every in zip(first, states, strict=True)), strict=True):
        assert all(bool(((s == 0) | (s == 1)).all()) for s in now), "nothing is approximate"
        control, tape, head = (s.argmax(-1) for s in now)
        found.append((int(control), "".join(SYMBOLS[k] for k in tape.tolist()), int(head)))
    return found


def draw_tape(history: list[tuple[int, str, int]], title: str) -> Picture:
    """Draw the tape, a row for each step, the place under the head filled, the controller's state beside it."""
    canvas, side = Canvas(title), 26.0
    canvas.text(24, 34, title, "title", "start")
    for t, (control, tape, head) in enumerate(history):
        y = 52 + t * (side + 4)
        canvas.text(48, y + 18, f"state {control}", "label")
        for k, symbol in enumerate(tape):
            canvas.rectangle(84 + k * side, y, side, side, "vector-output" if k == head else "vector-state", 2)
            canvas.text(84 + (k + 0.5) * side, y + 18, "" if symbol == "_" else symbol, "label")
    return canvas.picture(max(108 + len(history[0][1]) * side, 48 + 9.0 * len(title)), 70 + len(history) * (side + 4))


def _one_hot(places: list[int] | tuple[int, ...], size: int) -> Tensor:
    """Return `(size, N)`: a column for each place."""
    return F.one_hot(torch.tensor(places), size).float().T.contiguous()


def main() -> None:
    """Add two numbers and show the tape at every step."""
    parser = argparse.ArgumentParser(description="Add two numbers written as strokes.")
    parser.add_argument("sum", nargs="?", default="111+11", help="strokes, a plus, strokes")
    parser.add_argument("--picture", type=Path, help="where to draw the tape, as SVG")
    given = parser.parse_args()
    history = run(ADDITION, given.sum, len(given.sum) + 3, len(given.sum) + 2)
    for control, tape, head in history:
        print(f"state {control}  {tape[:head]}[{tape[head]}]{tape[head + 1 :]}")
    print(f"{given.sum} = {history[-1][1].strip('_')}")
    if given.picture is not None:
        draw_tape(history, f"{given.sum}: the tape, step by step").save(given.picture)


if __name__ == "__main__":
    main()
