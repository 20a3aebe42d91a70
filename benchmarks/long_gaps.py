"""Long gaps, in the tutorials' own sentences: "the clouds are in the [sky]", "I grew up in France ... fluent [French]".

    python benchmarks/long_gaps.py [--quick] [--out benchmarks/results/long_gaps.md]

A network reads a sentence word by word and tells the word that ends it, one of eight. Between the clue and the last
word that is read stand `gap` words: 2 in the first sentence, more and more in the second, drawn from a small
vocabulary. Trained anew for every gap. Contestants: Elman's network, GRU, LSTM, and the last two with chrono
initialisation (Tallec and Ollivier 2018), told the gap. A guess is wrong with probability 7/8.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch.nn.functional as F
from torch import nn

from proving import Contestant, Problem, Result, Settings, how, settings, study, taking_part
from recurra.core.initialisers import chrono_
from sequence_tasks import CLUES, WORDS, long_gap
from tables import write

GAPS = (2, 5, 10, 20, 40, 80)
QUICK = Settings(steps=4, rows=8, seeds=2, rates=(0.01,), tests=64, quick=True)
WHOLE = Settings(steps=600, rows=32, seeds=5, rates=(0.003, 0.01), tests=1024)


def contestants(gap: int) -> list[Contestant]:
    """Return the contestants: chrono initialisation is told how many steps the clue has to be kept for."""

    def chrono() -> Callable[[nn.Module], None]:
        return lambda layer: chrono_(layer, max(3, gap + 1))

    return [
        Contestant("Elman", "elman"),
        Contestant("GRU", "gru"),
        Contestant("LSTM", "lstm"),
        Contestant("GRU, chrono", "gru", prepare=chrono()),
        Contestant("LSTM, chrono", "lstm", prepare=chrono()),
    ]


def problem(gap: int) -> Problem:
    """Return the task for one gap."""
    return Problem(
        inputs=len(WORDS),
        outputs=len(CLUES),
        draw=lambda rows, draw: long_gap(gap, rows, draw),
        loss=F.cross_entropy,
        wrong=lambda outputs, target: outputs.argmax(-1) != target,
        weights=8000,
    )


def main() -> None:
    """Train every contestant at every gap, and write accuracy over gap."""
    chosen, out = settings(__doc__, "long_gaps", QUICK, WHOLE)
    gaps = GAPS[:2] if chosen.quick else GAPS
    found = {gap: study(problem(gap), contestants(gap), chosen) for gap in gaps}
    rows: list[list[str]] = []
    for k, contestant in enumerate(taking_part(contestants(gaps[0]), chosen)):
        results = [found[gap][k] for gap in gaps]
        network = results[0].runs[0].network
        count = sum(p.numel() for p in network.parameters())
        seconds = sum(run.seconds for result in results for run in result.runs)
        rates = "/".join(f"{result.rate:g}" for result in results)
        cells = [accuracies(result) for result in results]
        rows.append([contestant.name, str(network.units), f"{count:,}", *cells, rates, f"{seconds:.0f}"])
    notes = [
        "Accuracy of the word that ends the sentence, one of eight (a guess: 0.125), over the number of words between "
        'the clue and the last word read; the median in bold, then every seed. Gap 2: "the clouds are in the [sky]"; '
        'the others: "I grew up in France ... I speak fluent [French]". Made by `benchmarks/long_gaps.py`, whose head '
        "says what was done. There is no published figure: the sentences are the tutorials'.",
        how(chosen),
    ]
    header = ["cell", "units", "weights", *(f"gap {gap}" for gap in gaps), "rates", "seconds"]
    write(out, "Long gaps", notes, header, rows, only=chosen.only)


def accuracies(result: Result) -> str:
    """Return the median accuracy over the seeds and each of them."""
    right = [1 - wrong for wrong in result.wrong]
    return f"**{statistics.median(right):.2f}** ({', '.join(f'{a:.2f}' for a in right)})"


if __name__ == "__main__":
    main()
