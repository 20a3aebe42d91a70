"""Continual embedded Reber grammar, with and without forget gates (Gers, Schmidhuber and Cummins 2000).

    python benchmarks/continual_reber.py [--quick] [--out benchmarks/results/continual_reber.md]

Strings of the embedded Reber grammar follow one another without a mark or a reset between them; a network tells at
every step which symbols may come next. Each string's last symbol but one is its second, which has to be remembered
over the whole string and then forgotten. Trained by truncated backpropagation: windows of 50 symbols, states carried
from one to the next, ten windows from the beginning of a stream (in the paper, until the first mistake), then new
streams from the first state. Measured as in the paper on ten new streams of 100,000 symbols: how many symbols pass
until the first mistake; a network that makes none in all ten is perfect. Deviations: what is taught is the set of
symbols that may come, not the one that came; Adam; every contestant sees the same number of symbols.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proving import TUNING_SEED, Contestant, Network, Problem, Settings, settings, taking_part, units
from sequence_tasks import REBER, Batch, continual_reber
from tables import write

WINDOW, WINDOWS, PIECE, STREAMS = 50, 10, 1000, 10
QUICK = Settings(steps=4, rows=4, seeds=1, rates=(0.01,), tests=2 * PIECE, quick=True)
WHOLE = Settings(steps=2000, rows=16, seeds=3, rates=(0.003, 0.01), tests=100 * PIECE)
CONTESTANTS = [
    Contestant("Elman", "elman"),
    Contestant("LSTM without forget gates", "no_forget_gate_lstm"),
    Contestant("LSTM with forget gates", "lstm"),
]
PROBLEM = Problem(
    inputs=len(REBER),
    outputs=len(REBER),
    draw=lambda rows, draw: next(continual_reber(WINDOW, rows, draw)),
    loss=F.binary_cross_entropy_with_logits,
    wrong=lambda outputs, target: ((outputs > 0) != (target > 0.5)).any(-1),
    weights=1000,
)


def learn(contestant: Contestant, size: int, seed: int, rate: float, chosen: Settings) -> tuple[Network, float]:
    """Return the network and the seconds that it took."""
    torch.manual_seed(seed)
    network = Network(contestant, PROBLEM, size)
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    start = time.perf_counter()
    for done in range(0, chosen.steps, WINDOWS):
        state = None
        for batch in islice(continual_reber(WINDOW, chosen.rows, draw), min(WINDOWS, chosen.steps - done)):
            outputs, state = network(batch, state)
            loss = PROBLEM.loss(outputs, batch.target[batch.asked])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), chosen.clip)
            optimizer.step()
            state = state.detach() if isinstance(state, Tensor) else tuple(s.detach() for s in state)
    return network, time.perf_counter() - start


@torch.no_grad()
def run(network: Network, streams: Sequence[Batch]) -> tuple[Tensor, float]:
    """Return where mistakes are, `(T, STREAMS)`, and the largest entry of the state at the end."""
    state, found = None, list[Tensor]()
    for batch in streams:
        outputs, state = network(batch, state)
        found.append(PROBLEM.wrong(outputs, batch.target[batch.asked]).view(batch.asked.shape))
    states = [state] if isinstance(state, Tensor) else list(state or ())
    return torch.cat(found), max(float(s.abs().max()) for s in states)


def until_mistake(mistakes: Tensor) -> list[int]:
    """Return for each stream how many symbols pass until the first mistake."""
    return [int(column.nonzero()[0]) if bool(column.any()) else len(mistakes) for column in mistakes.T]


def main() -> None:
    """Train every contestant and write the table."""
    chosen, out = settings(__doc__, "continual_reber", QUICK, WHOLE)
    validation, test = (
        list(islice(continual_reber(PIECE, STREAMS, torch.Generator().manual_seed(seed)), pieces))
        for seed, pieces in ((10_001, 2), (10_002, chosen.tests // PIECE))
    )
    rows: list[list[str]] = []
    for contestant in taking_part(CONTESTANTS, chosen):
        size = units(contestant, PROBLEM)
        tried = {rate: learn(contestant, size, TUNING_SEED, rate, chosen)[0] for rate in chosen.rates}
        rate = min(tried, key=lambda r: float(run(tried[r], validation)[0].double().mean()))
        learned = [learn(contestant, size, seed, rate, chosen) for seed in range(chosen.seeds)]
        measured = [run(network, test) for network, _ in learned]
        passed = [statistics.mean(until_mistake(mistakes)) for mistakes, _ in measured]
        perfect = sum(not bool(mistakes.any()) for mistakes, _ in measured)
        count = sum(p.numel() for p in learned[0][0].parameters())
        ends = [[float(part.double().mean()) for part in (m[:PIECE], m[-PIECE:])] for m, _ in measured]
        rows.append([
            contestant.name, str(size), str(count), f"{rate:g}", f"**{perfect} of {chosen.seeds}**",
            ", ".join(f"{p:,.0f}" for p in passed),
            *(f"{statistics.median(column):.4f}" for column in zip(*ends, strict=True)),
            ", ".join(f"{largest:.3g}" for _, largest in measured), f"{sum(seconds for _, seconds in learned):.0f}",
        ])  # fmt: skip
        print(" | ".join(rows[-1]), flush=True)
    notes = [
        f"Perfect: no mistake in {STREAMS} streams of {chosen.tests:,} symbols. Published (Gers, Schmidhuber and "
        "Cummins 2000): no perfect network without forget gates; with them 18 % of the networks, 62 % where the "
        "learning rate decays, of 100 each (as others quote their table 2). Made by `benchmarks/continual_reber.py`, "
        "whose head says what was done.",
        f"All contestants: about {PROBLEM.weights:,} weights, {chosen.steps:,} windows of {WINDOW} symbols in "
        f"{chosen.rows} streams, Adam, gradients clipped to the norm {chosen.clip:g}, the better learning rate of "
        f"{' and '.join(f'{r:g}' for r in chosen.rates)} (fewer mistakes on other streams, on a seed that is not "
        f"shown), seeds 0 to {chosen.seeds - 1}. Symbols until the first mistake: every seed's mean over the streams. "
        f"Wrong: the median share of mistakes in the first and the last {PIECE:,} symbols. Largest state: its largest "
        "entry at the end, every seed.",
    ]
    columns = ["symbols until the first mistake", "wrong at first", "wrong at the end", "largest state", "seconds"]
    header = ["cell", "units", "weights", "rate", "perfect", *columns]
    write(out, "Continual Reber grammar", notes, header, rows, only=chosen.only)


if __name__ == "__main__":
    main()
