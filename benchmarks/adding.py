"""The adding problem at T = 100 (Hochreiter and Schmidhuber 1997, experiment 4).

    python benchmarks/adding.py [--quick] [--out benchmarks/results/adding.md]

Two of some hundred random numbers are marked; at the end their sum is asked for, scaled to 0.5 + (X1 + X2) / 4. As in
the paper an answer is wrong if it is off by more than 0.04. Always answering 0.5 is wrong for most sequences.
"""

from __future__ import annotations

import torch

from proving import HEADER, Contestant, Problem, Settings, how, settings, study
from recurra.core.initialisers import chrono_
from sequence_tasks import adding
from tables import write

QUICK = Settings(steps=4, rows=8, seeds=1, rates=(0.01,), tests=64, quick=True)
WHOLE = Settings(steps=3000, rows=32, seeds=3, rates=(0.003, 0.01), tests=2560, every=100)
CONTESTANTS = [
    Contestant("Elman", "elman"),
    Contestant("IRNN", "irnn"),
    Contestant("GRU", "gru"),
    Contestant("LSTM of 1997, no forget gates", "no_forget_gate_lstm"),
    Contestant("LSTM", "lstm"),
    Contestant("LSTM, chrono", "lstm", prepare=lambda layer: chrono_(layer, 100)),
]


def problem(length: int) -> Problem:
    """Return the task for `length` to 1.1 `length` steps."""
    return Problem(
        inputs=2,
        outputs=1,
        draw=lambda rows, draw: adding(length, rows, draw),
        loss=lambda outputs, target: (outputs.squeeze(-1) - target).square().mean(),
        wrong=lambda outputs, target: (outputs.squeeze(-1) - target).abs() > 0.04,
        weights=2500,
    )


def always_half(length: int) -> float:
    """Return the share of wrong answers of answering 0.5."""
    batch = adding(length, 2560, torch.Generator().manual_seed(0))
    return float(((batch.target[-1] - 0.5).abs() > 0.04).double().mean())


def main() -> None:
    """Train every contestant and write the table."""
    chosen, out = settings(__doc__, "adding", QUICK, WHOLE)
    length = 20 if chosen.quick else 100
    results = study(problem(length), CONTESTANTS, chosen)
    notes = [
        f"T = {length} to {length * 11 // 10}. Share of sequences whose answer is off by more than 0.04; always "
        f"answering 0.5: {always_half(length):.4f}. Published for T = 100 (Hochreiter and Schmidhuber 1997): LSTM of "
        "93 weights, 1 wrong of 2,560 after 74,000 sequences (as others quote the paper). Made by "
        "`benchmarks/adding.py`, whose head says what was done.",
        how(chosen),
    ]
    write(out, "The adding problem", notes, HEADER, [result.row() for result in results], only=chosen.only)


if __name__ == "__main__":
    main()
