"""Measuring the distance of spikes, with and without peepholes (Gers, Schraudolph and Schmidhuber 2002).

    python benchmarks/spike_distance.py [--quick] [--out benchmarks/results/spike_distance.md]

Spikes come F or F + 1 steps apart, at random; at each a network tells which of the two it was. Nothing else is ever
said to it, and no shorter distances are shown while training. An answer is wrong if it is on the wrong side of a
half. A guess is wrong half of the time. Both also with gates begun by chrono initialisation (Tallec and Ollivier 2018).
"""

from __future__ import annotations

import torch.nn.functional as F

from proving import HEADER, Contestant, Problem, Settings, how, settings, study
from recurra.core.initialisers import chrono_
from sequence_tasks import spike_distance
from tables import write

SPIKES = 5
DISTANCES = (10, 30, 49)
QUICK = Settings(steps=4, rows=8, seeds=1, rates=(0.01,), tests=64, quick=True)
WHOLE = Settings(steps=1500, rows=32, seeds=3, rates=(0.003, 0.01), tests=1024, every=100)


def contestants(shortest: int) -> list[Contestant]:
    """Return the contestants: chrono initialisation is told the distance."""
    return [
        Contestant("LSTM", "lstm"),
        Contestant("LSTM, peepholes", "peephole_lstm"),
        Contestant("LSTM, chrono", "lstm", prepare=lambda layer: chrono_(layer, shortest)),
        Contestant("LSTM, peepholes, chrono", "peephole_lstm", prepare=lambda layer: chrono_(layer, shortest)),
    ]


def problem(shortest: int) -> Problem:
    """Return the task for spikes `shortest` or one more step apart."""
    return Problem(
        inputs=1,
        outputs=1,
        draw=lambda rows, draw: spike_distance(shortest, SPIKES, rows, draw),
        loss=lambda outputs, target: F.binary_cross_entropy_with_logits(outputs.squeeze(-1), target),
        wrong=lambda outputs, target: (outputs.squeeze(-1) > 0) != (target > 0.5),
        weights=400,
    )


def main() -> None:
    """Train all at every distance and write the table."""
    chosen, out = settings(__doc__, "spike_distance", QUICK, WHOLE)
    distances = DISTANCES[:1] if chosen.quick else DISTANCES
    rows = [
        [f"{shortest} or {shortest + 1}", *result.row()]
        for shortest in distances
        for result in study(problem(shortest), contestants(shortest), chosen)
    ]
    notes = [
        "Share of wrong answers. Published (Gers, Schraudolph and Schmidhuber 2002, abstract): with peepholes LSTM "
        "learns to tell spikes 49 steps apart from those 50 apart, without any shorter examples. Made by "
        "`benchmarks/spike_distance.py`, whose head says what was done.",
        how(chosen),
    ]
    header = ["steps apart", *HEADER]
    write(out, "Measuring the distance of spikes", notes, header, rows, only=chosen.only, keys=2)


if __name__ == "__main__":
    main()
