"""Temporal order over 100 steps (Hochreiter and Schmidhuber 1997, experiment 6a).

    python benchmarks/temporal_order.py [--quick] [--out benchmarks/results/temporal_order.md]

X or Y appears twice among a hundred symbols that mean nothing, after 10 to 20 and after 50 to 60 steps; at the end the
network tells which of XX, XY, YX, YY it was. As in the paper an answer is wrong unless each of the four outputs is
within 0.3 of 0 or 1; ours are probabilities. A guess is always wrong then.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from proving import HEADER, Contestant, Problem, Settings, how, settings, study
from recurra.core.initialisers import chrono_
from sequence_tasks import ORDER, temporal_order
from tables import write

QUICK = Settings(steps=4, rows=8, seeds=1, rates=(0.01,), tests=64, quick=True)
WHOLE = Settings(steps=2000, rows=32, seeds=3, rates=(0.003, 0.01), tests=2560, every=100)
CONTESTANTS = [
    Contestant("Elman", "elman"),
    Contestant("GRU", "gru"),
    Contestant("LSTM of 1997, no forget gates", "no_forget_gate_lstm"),
    Contestant("LSTM", "lstm"),
    Contestant("LSTM, chrono", "lstm", prepare=lambda layer: chrono_(layer, 100)),
]


def wrong(outputs: Tensor, target: Tensor) -> Tensor:
    """Tell where a class's probability is off by more than 0.3."""
    return ((outputs.softmax(-1) - F.one_hot(target, 4)).abs() > 0.3).any(-1)


def problem(length: int) -> Problem:
    """Return the task for `length` to 1.1 `length` steps."""
    return Problem(
        inputs=len(ORDER),
        outputs=4,
        draw=lambda rows, draw: temporal_order(length, rows, draw),
        loss=F.cross_entropy,
        wrong=wrong,
        weights=2500,
    )


def main() -> None:
    """Train every contestant and write the table."""
    chosen, out = settings(__doc__, "temporal_order", QUICK, WHOLE)
    results = study(problem(20 if chosen.quick else 100), CONTESTANTS, chosen)
    notes = [
        "Share of sequences for which one of the four outputs is off by more than 0.3. Published (Hochreiter and "
        "Schmidhuber 1997, task 6a): LSTM of 156 weights, 1 wrong of 2,560 after 31,390 sequences (as others "
        "quote the paper). Made by `benchmarks/temporal_order.py`, whose head says what was done.",
        how(chosen),
    ]
    write(out, "Temporal order", notes, HEADER, [result.row() for result in results], only=chosen.only)


if __name__ == "__main__":
    main()
