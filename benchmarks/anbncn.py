"""The context-sensitive language a^n b^n c^n beyond the trained lengths (Gers and Schmidhuber 2001).

    python benchmarks/anbncn.py [--quick] [--out benchmarks/results/anbncn.md]

A network reads S a^n b^n c^n and tells at every step which symbols may come next. It is trained on n = 1 to 10;
measured is how far it counts: the largest N such that every n from 1 to N is right at every step (the outputs above
0.5 are those that may come). The learning rate is the one with which the seed that is not shown counts furthest, up
to 15; what lies beyond is seen by no choice.
"""

from __future__ import annotations

import statistics

import torch
import torch.nn.functional as F

from proving import TUNING_SEED, Contestant, Network, Problem, Settings, settings, taking_part, train, units
from sequence_tasks import anbncn
from tables import write

TRAINED, FURTHEST = 10, 300
QUICK = Settings(steps=4, rows=8, seeds=1, rates=(0.01,), tests=0, stop=False, quick=True)
WHOLE = Settings(steps=2000, rows=16, seeds=5, rates=(0.003, 0.01), tests=0, every=1000, stop=False)
CONTESTANTS = [
    Contestant("Elman", "elman"),
    Contestant("GRU", "gru"),
    Contestant("LSTM", "lstm"),
    Contestant("LSTM, peepholes", "peephole_lstm"),
]
PROBLEM = Problem(
    inputs=4,
    outputs=4,
    draw=lambda rows, draw: anbncn((1 + torch.randint(TRAINED, (rows,), generator=draw)).tolist()),
    loss=F.binary_cross_entropy_with_logits,
    wrong=lambda outputs, target: ((outputs > 0) != (target > 0.5)).any(-1),
    weights=500,
)


@torch.no_grad()
def counts_to(network: Network, furthest: int) -> int:
    """Return the largest N such that all strings from n = 1 to N are right at every step."""
    batch = anbncn(range(1, furthest + 1))
    wrong = torch.zeros(batch.asked.shape, dtype=torch.bool)
    wrong[batch.asked] = PROBLEM.wrong(network(batch)[0], batch.target[batch.asked])
    failed = wrong.any(0).nonzero().flatten().tolist()
    return failed[0] if failed else furthest


def main() -> None:
    """Train every contestant and write the table."""
    chosen, out = settings(__doc__, "anbncn", QUICK, WHOLE)
    rows: list[list[str]] = []
    for contestant in taking_part(CONTESTANTS, chosen):
        size = units(contestant, PROBLEM)
        tried = {rate: train(PROBLEM, contestant, size, TUNING_SEED, rate, chosen) for rate in chosen.rates}
        rate = max(tried, key=lambda r: (counts_to(tried[r].network, 15), -tried[r].loss))
        runs = [train(PROBLEM, contestant, size, seed, rate, chosen) for seed in range(chosen.seeds)]
        reached = [counts_to(run.network, FURTHEST) for run in runs]
        count = sum(p.numel() for p in runs[0].network.parameters())
        shown = ", ".join(map(str, reached)), f"{sum(run.seconds for run in runs):.0f}"
        rows.append(
            [contestant.name, str(size), str(count), f"{rate:g}", f"**{statistics.median(reached):g}**", *shown]
        )
        print(" | ".join(rows[-1]), flush=True)
    notes = [
        f"How far networks count that were trained on n = 1 to {TRAINED}: the largest N such that every n from 1 to N "
        f"is right at every step; {FURTHEST} is the most that was asked. Published: an LSTM with peepholes was the "
        "first recurrent network to learn this language (Gers and Schmidhuber 2001); trained by a Kalman filter on "
        "n = 1 to 10 it counts to 1,000 and more (Perez-Ortiz, Gers, Eck and Schmidhuber 2003), which is not tried "
        "here. Made by `benchmarks/anbncn.py`, whose head says what was done.",
        f"All contestants: about {PROBLEM.weights} weights, {chosen.steps:,} batches of {chosen.rows} strings, Adam, "
        f"gradients clipped to the norm {chosen.clip:g}, the better learning rate of "
        f"{' and '.join(f'{r:g}' for r in chosen.rates)}, seeds 0 to {chosen.seeds - 1}.",
    ]
    header = ["cell", "units", "weights", "rate", "counts to: median", "every seed", "seconds"]
    write(out, "Counting: a^n b^n c^n", notes, header, rows, only=chosen.only)


if __name__ == "__main__":
    main()
