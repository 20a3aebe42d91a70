"""How the known tasks are run: contestants of one size, trained and tuned alike, in one table.

For every contestant the best of a few learning rates is chosen by validation sequences, on a seed that is not shown;
then every seed is trained anew, until the validation sequences are all right or the steps are used up, and measured on
sequences that neither training nor choosing has seen.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import recurra as rc
from sequence_tasks import Batch

__all__ = [
    "HEADER",
    "Contestant",
    "Network",
    "Problem",
    "Result",
    "Run",
    "Settings",
    "how",
    "measure",
    "settings",
    "study",
    "taking_part",
    "train",
    "units",
]

TUNING_SEED = 100
_VALIDATION, _TEST = 10_001, 10_002


@dataclass(frozen=True)
class Contestant:
    """A cell, its options, and what is done to it before training."""

    name: str
    cell: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    layers: int = 1
    prepare: Callable[[nn.Module], None] | None = None


@dataclass(frozen=True)
class Problem:
    """A task: its batches, the loss of judged outputs `(N, outputs)`, and which of them are wrong `(N,)`."""

    inputs: int
    outputs: int
    draw: Callable[[int, torch.Generator], Batch]
    loss: Callable[[Tensor, Tensor], Tensor]
    wrong: Callable[[Tensor, Tensor], Tensor]
    weights: int
    """About how many every contestant has: the units follow from it."""
    embedded: bool = False
    """Whether inputs go through a linear layer first, so that the layer's inputs are as many as its units."""


@dataclass(frozen=True)
class Settings:
    """What all contestants have in common."""

    steps: int
    rows: int
    seeds: int
    rates: Sequence[float]
    tests: int
    every: int = 50
    clip: float = 1.0
    stop: bool = True
    """Whether training ends as soon as all validation sequences are right."""
    quick: bool = False
    """Whether it is only to be seen that everything runs."""
    only: Sequence[str] = ()
    """The contestants that are run, by their names; all if there are none."""


@dataclass(frozen=True)
class Run:
    """One training: the share of wrong answers on validation sequences, steps taken, last loss, seconds."""

    network: Network
    wrong: float
    steps: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class Result:
    """One contestant's runs, and the share of wrong answers of each on the test sequences."""

    name: str
    rate: float
    runs: Sequence[Run]
    wrong: Sequence[float]

    def row(self) -> list[str]:
        """Return a row of the table under `HEADER`."""
        network = self.runs[0].network
        count = sum(p.numel() for p in network.parameters())
        taken = [f"{run.steps:,}" if run.wrong == 0 else f"({run.steps:,})" for run in self.runs]
        return [
            self.name, str(network.units), f"{count:,}", f"{self.rate:g}", f"**{statistics.median(self.wrong):.4f}**",
            ", ".join(f"{w:.4f}" for w in self.wrong), ", ".join(taken), f"{sum(r.seconds for r in self.runs):.0f}",
        ]  # fmt: skip


HEADER = ["cell", "units", "weights", "rate", "wrong: median", "every seed", "steps until solved", "seconds"]


class Network(nn.Module):
    """A recurrent layer of any cell, and a linear readout where something is asked for."""

    def __init__(self, contestant: Contestant, problem: Problem, units: int) -> None:
        super().__init__()
        self.units = units
        inputs = units if problem.embedded else problem.inputs
        self.embedding = nn.Linear(problem.inputs, units) if problem.embedded else nn.Identity()
        self.layer = rc.Recurrent(contestant.cell, inputs, units, contestant.layers, **contestant.options)
        self.readout = nn.Linear(self.layer.output_size, problem.outputs)
        if contestant.prepare is not None:
            contestant.prepare(self.layer)

    def forward(self, batch: Batch, state: Any = None) -> tuple[Tensor, Any]:
        """Return what was asked for, `(N, outputs)`, in the order of `batch.asked`, and the last state."""
        y, state = self.layer(self.embedding(batch.x), state)
        return self.readout(y[batch.asked]), state


def units(contestant: Contestant, problem: Problem) -> int:
    """Return the number of units with which a contestant's weights come closest to the problem's number."""

    def distance(size: int) -> int:
        with torch.random.fork_rng(devices=[]):
            return abs(sum(p.numel() for p in Network(contestant, problem, size).parameters()) - problem.weights)

    size = 1
    while distance(size + 1) < distance(size):
        size += 1
    return size


def train(problem: Problem, contestant: Contestant, size: int, seed: int, rate: float, chosen: Settings) -> Run:
    """Train one network of `size` units."""
    torch.manual_seed(seed)
    network, draw = Network(contestant, problem, size), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    start, wrong, step, loss = time.perf_counter(), 1.0, 0, torch.tensor(0.0)
    for step in range(1, chosen.steps + 1):
        batch = problem.draw(chosen.rows, draw)
        loss = problem.loss(network(batch)[0], batch.target[batch.asked])
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), chosen.clip)
        if bool(norm.isfinite()):
            optimizer.step()
        if step % chosen.every == 0 or step == chosen.steps:
            wrong = measure(problem, network, 512, _VALIDATION)
            if wrong == 0 and chosen.stop:
                break
    return Run(network, wrong, step, float(loss.detach()), time.perf_counter() - start)


@torch.no_grad()
def measure(problem: Problem, network: Network, tests: int, seed: int = _TEST) -> float:
    """Return the share of wrong answers over some sequences."""
    draw = torch.Generator().manual_seed(seed)
    found: list[Tensor] = []
    for _ in range(0, tests, 256):
        batch = problem.draw(min(256, tests), draw)
        found.append(problem.wrong(network(batch)[0], batch.target[batch.asked]))
    return float(torch.cat(found).double().mean())


def study(problem: Problem, contestants: Sequence[Contestant], chosen: Settings) -> list[Result]:
    """Tune, train and measure every contestant."""
    results: list[Result] = []
    for contestant in taking_part(contestants, chosen):
        size = units(contestant, problem)
        tried = {rate: train(problem, contestant, size, TUNING_SEED, rate, chosen) for rate in chosen.rates}
        rate = min(tried, key=lambda r: (tried[r].wrong, tried[r].steps, tried[r].loss))
        runs = [train(problem, contestant, size, seed, rate, chosen) for seed in range(chosen.seeds)]
        wrong = [measure(problem, run.network, chosen.tests) for run in runs]
        results.append(Result(contestant.name, rate, runs, wrong))
        print(" | ".join(results[-1].row()), flush=True)
    return results


def taking_part(contestants: Sequence[Contestant], chosen: Settings) -> list[Contestant]:
    """Return the contestants that are run. Raises ValueError where a name that was given is no contestant's."""
    names = [contestant.name for contestant in contestants]
    if unknown := [name for name in chosen.only if name not in names]:
        raise ValueError(f"expected names among {names}, got {unknown}")
    return [contestant for contestant in contestants if not chosen.only or contestant.name in chosen.only]


def settings(doc: str | None, name: str, quick: Settings, whole: Settings) -> tuple[Settings, Path | None]:
    """Read the command line; return the settings, and the table's file if there is to be one."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    parser.add_argument("--out", type=Path, help="the table's file; in results/ if not given, none if quick")
    parser.add_argument("--only", nargs="+", default=[], help="the contestants to run, by their names")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.quick:
        return replace(quick, only=given.only), given.out
    return replace(whole, only=given.only), given.out or Path(__file__).parent / "results" / f"{name}.md"


def how(chosen: Settings) -> str:
    """Say in a paragraph what all contestants have in common."""
    return (
        f"All contestants: about as many weights, at most {chosen.steps:,} batches of {chosen.rows}, Adam, gradients "
        f"clipped to the norm {chosen.clip:g}, the best learning rate of {', '.join(f'{r:g}' for r in chosen.rates)} "
        f"(chosen by validation sequences on a seed that is not shown), seeds 0 to {chosen.seeds - 1}. Training ends "
        "when all of 512 validation sequences are right; steps in brackets: it never did. Measured on "
        f"{chosen.tests:,} other sequences. Seconds: of all shown seeds together, on one core of a shared machine."
    )
