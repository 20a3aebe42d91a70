"""A recurrent network becomes a finite automaton by learning: Tomita's languages, read back out of Elman's network.

    python benchmarks/learned_automaton.py [--quick] [--out benchmarks/results/learned_automaton.md]

Elman's network of ten units reads a mark and then 0s and 1s, and tells after each symbol whether what it has read so
far belongs to the language. It learns from strings of at most 15 symbols: half of them random, half such that nine of
ten symbols keep the string alive. Then its automaton is read out of it (`automata.extract`): the largest radius is
taken with which automaton and network agree on all strings of up to 8 symbols, the truth unseen. The automaton is
minimised, and compared with the language on all strings of up to 12 symbols, as is the network itself. Pictures of
grammar 4 (no 000) stand beside the table.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recurra as rc
from automata import TOMITA, Automaton, every_string, extract, picture
from proving import Settings, settings
from recurra.drawing import heat_map
from tables import write

UNITS, LONGEST, MARK = 10, 15, 2
RADII = (2.0, 1.5, 1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1)
DRAWN = "4: no 000"
QUICK = Settings(steps=300, rows=64, seeds=1, rates=(0.01,), tests=0, quick=True)
WHOLE = Settings(steps=6000, rows=64, seeds=3, rates=(0.01,), tests=0)


class Recogniser(nn.Module):
    """Elman's network with one output: how much speaks for the string read so far."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = rc.Recurrent("elman", 3, UNITS)
        self.readout = nn.Linear(UNITS, 1)

    def forward(self, strings: Tensor) -> tuple[Tensor, Tensor]:
        """Return for strings `(T, B)` the outputs and states after the mark and every symbol: `(T + 1, B, ...)`."""
        marked = torch.cat([torch.full_like(strings[:1], MARK), strings])
        y, _ = self.layer(F.one_hot(marked, 3).float())
        return self.readout(y).squeeze(-1), y

    @torch.no_grad()
    def automaton(self, radius: float) -> tuple[Automaton, Tensor] | None:
        """Read its automaton out of it."""

        def step(state: Tensor, symbol: int) -> Tensor:
            x = F.one_hot(torch.tensor([symbol]), 3).float()
            return self.layer.step(x, state.view(1, 1, -1))[0][0]

        first = self.layer.step(F.one_hot(torch.tensor([MARK]), 3).float())[0][0]
        return extract(first, step, lambda state: bool(self.readout(state) > 0), radius)


def draw_strings(truth: Automaton, rows: int, draw: torch.Generator) -> Tensor:
    """Return strings `(LONGEST, rows)`: half random, half mostly kept alive."""
    alive = _alive(truth)
    table, state = torch.tensor(truth.table), torch.zeros(rows, dtype=torch.int64)
    careful = torch.arange(rows) % 2 == 0
    strings: list[Tensor] = []
    for _ in range(LONGEST):
        symbols = torch.randint(2, (rows,), generator=draw)
        heed = careful & (torch.rand(rows, generator=draw) < 0.9)
        symbols = torch.where(heed & ~alive[table[state, symbols]], 1 - symbols, symbols)
        state = table[state, symbols]
        strings.append(symbols)
    return torch.stack(strings)


def _alive(truth: Automaton) -> Tensor:
    """Tell for each state whether an accepting one can be reached from it."""
    alive = [k in truth.final for k in range(len(truth.table))]
    for _ in truth.table:
        alive = [a or any(alive[k] for k in row) for a, row in zip(alive, truth.table, strict=True)]
    return torch.tensor(alive)


def train(truth: Automaton, seed: int, chosen: Settings) -> tuple[Recogniser, int]:
    """Return the trained network and the steps taken, at most as many as chosen.

    Done when every answer on 512 validation strings is right by a margin of 2 in logits, five checks in a row.
    """
    torch.manual_seed(seed)
    network, draw = Recogniser(), torch.Generator().manual_seed(seed)
    check = draw_strings(truth, 512, torch.Generator().manual_seed(10_001))
    optimizer = torch.optim.Adam(network.parameters(), lr=chosen.rates[0])
    sure = step = 0
    for step in range(1, chosen.steps + 1):
        strings = draw_strings(truth, chosen.rows, draw)
        loss = F.binary_cross_entropy_with_logits(network(strings)[0], truth.accepts(strings).float())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            with torch.no_grad():
                margin = network(check)[0] * (2 * truth.accepts(check).float() - 1)
            sure = sure + 1 if float(margin.min()) > 2 else 0
            if sure == 5:
                break
    return network, step


@torch.no_grad()
def read_out(network: Recogniser) -> tuple[float, Automaton, Tensor]:
    """Return the radius, the automaton before it is made minimal, and the vectors of its states."""
    strings = every_string(8)
    said = network(strings)[0] > 0
    found: tuple[float, Automaton, Tensor] | None = None
    for radius in RADII:
        read = network.automaton(radius)
        if read is None:
            break
        found = (radius, *read)
        if torch.equal(read[0].accepts(strings), said):
            break
    assert found is not None, "the largest radius leaves few states"
    return found


@torch.no_grad()
def compare(truth: Automaton, network: Recogniser) -> tuple[list[str], Automaton, Tensor]:
    """Return a row of the table, the minimal automaton, and each of its states' mean vector."""
    strings = every_string(12)
    outputs, states = network(strings)
    wanted = truth.accepts(strings)
    radius, read, centres = read_out(network)
    small, becomes = read.minimal()
    nearest = torch.cdist(states.flatten(0, 1), centres).argmin(-1)
    cluster = torch.tensor(becomes)[nearest].view(wanted.shape)
    same = small == truth.minimal()[0]
    inside = f"{float((cluster == small.states(strings)).double().mean()):.4f}"
    means = [
        states[cluster == k].mean(0) if bool((cluster == k).any()) else states[0, 0] * 0
        for k in range(len(small.table))
    ]
    wrong = _wrong(outputs > 0, wanted), _wrong(small.accepts(strings), wanted)
    row = [f"{radius:g}", str(len(read.table)), str(len(small.table)), str(len(truth.table))]
    return [*row, "yes" if same else "no", str(wrong[0]), str(wrong[1]), inside], small, torch.stack(means)


def _wrong(said: Tensor, wanted: Tensor) -> int:
    """Count the strings of up to 12 symbols that are judged wrongly, each once."""
    T = len(said) - 1
    return sum(int((said[t] != wanted[t])[:: 2 ** (T - t)].sum()) for t in range(T + 1))


def main() -> None:
    """Learn every language with every seed, and write the table and the pictures."""
    chosen, out = settings(__doc__, "learned_automaton", QUICK, WHOLE)
    rows: list[list[str]] = []
    for name, truth in TOMITA.items():
        if chosen.quick and name != DRAWN:
            continue
        for seed in range(chosen.seeds):
            start = time.perf_counter()
            network, steps = train(truth, seed, chosen)
            row, small, means = compare(truth, network)
            rows.append([name, str(seed), f"{steps:,}", *row, f"{time.perf_counter() - start:.0f}"])
            print(" | ".join(rows[-1]), flush=True)
            if name == DRAWN and seed == 0 and out is not None:
                _draw(out, small, means)
    columns = ["steps", "radius", "states read out", "minimal", "true", "the same automaton", "network wrong"]
    header = ["language", "seed", *columns, "automaton wrong", "states in their cluster", "seconds"]
    notes = [
        f"Elman's network of {UNITS} units; made by `benchmarks/learned_automaton.py`, whose head says what was done. "
        "Wrong: of the 8,191 strings of 0 to 12 symbols. States in their cluster: the share of the state vectors after "
        "all those strings whose nearest representative stands for the state that the automaton is then in.",
        "The automaton of grammar 4, seed 0, as read out (two circles accept), and the mean activation of every unit "
        "in each of its states: ![automaton](learned_automaton.svg) ![activations](learned_automaton_states.svg)",
    ]
    write(out, "A learned automaton", notes, header, rows)


def _draw(out: Path, small: Automaton, means: Tensor) -> None:
    picture(small, "No 000, as the network has learned it").save(out.with_suffix(".svg"))
    states = [f"q{k}" + (" accepts" if k in small.final else "") for k in range(len(small.table))]
    units = [str(k + 1) for k in range(UNITS)]
    shown = heat_map(means.tolist(), states, units, title="Mean activation in every state", column_label="unit")
    shown.save(out.with_name(out.stem + "_states.svg"))


if __name__ == "__main__":
    main()
