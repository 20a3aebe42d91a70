"""Seven answers to "how does a recurrent network become more parallel?", each beside the plain one.

    python benchmarks/parallel.py [--rounds 9 --seconds 100 --out benchmarks/results/parallel.md]

The answers are those of the course of Qiu, "Neural networks and deep learning": bidirectional, more layers, skip
connections, separable, quasi-parallel (several sub-networks side by side), memory-augmented, Transformer. All have
about as many parameters as the plain GRU (64 inputs, 128 units); each is asked for an output at every step of one
sequence (B = 1) of 64 to 4096 steps, forward and backward, by the backend that `auto` takes, with one and with two
threads of torch. All contestants and both numbers of threads take turns; a comparison is the median of the ratios of
the rounds, so that other work on the machine meets both sides. For each length there are `rounds` rounds, or as many,
at least three, as fit into its share of `seconds`: the whole takes some minutes.

An answer counts as true if the network is at least a tenth faster than the plain one at 4096 steps on two threads (it
then makes the same sequence take less time), or if two threads shorten its time by at least a fifth where they do not
the plain one's (it then has work that goes side by side). What steps must come one after the other is told beside it,
and how the time grows with the length.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import recurra as rc
from recurra import wrappers
from recurra.core import Cell
from recurra.layers import cell_factory
from recurra.networks import Deep, Separable, TwoWay

INPUTS, SIZE = 64, 128
LENGTHS = (64, 256, 1024, 4096)
THREADS = (1, 2)


class Transformer(nn.Module):
    """Two blocks of torch's, no mask: every step sees all."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(INPUTS, size)
        block = nn.TransformerEncoderLayer(size, 4, 2 * size, dropout=0.0, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.blocks(self.inputs(x)), None


def groups(inputs: int, size: int) -> Cell:
    """Return four GRUs side by side."""
    return wrappers.get("parallel_subnetworks").of(cell_factory("gru"), inputs, size, groups=4)


CONTESTANTS: dict[str, tuple[str, Callable[[int], nn.Module]]] = {
    "plain": ("T", lambda n: rc.Recurrent("gru", INPUTS, n, batch_first=True)),
    "bidirectional": ("T, two of them side by side", lambda n: TwoWay("gru", INPUTS, n)),
    "more layers": ("T + 2, three side by side", lambda n: Deep("gru", INPUTS, [n] * 3)),
    "skip connections": ("T + 2, three side by side", lambda n: Deep("gru", INPUTS, [n] * 3, "skip")),
    "separable": ("T, two of them side by side", lambda n: Separable("gru", INPUTS, n)),
    "quasi-parallel": ("T, four of them side by side", lambda n: rc.Recurrent(groups, INPUTS, n, batch_first=True)),
    "memory-augmented": ("T", lambda n: rc.Recurrent("neural_turing_machine", INPUTS, n, batch_first=True)),
    "Transformer": ("1, whatever T", Transformer),
}


def sized(make: Callable[[int], nn.Module], parameters: int) -> nn.Module:
    """Return the network of the largest size, in steps of 4, that has no more parameters."""
    size = 8
    while sum(p.numel() for p in make(size + 4).parameters()) <= parameters:
        size += 4
    return make(size)


Found = dict[str, dict[int, list[float]]]
"""Each network's seconds with one and with two threads, a number for each round."""


def measure(networks: dict[str, nn.Module], steps: int, rounds: int, seconds: float) -> Found:
    """Time forward and backward, all of them taking turns; the first round, which warms up, is left out."""
    x = torch.randn(1, steps, INPUTS)
    found: Found = {name: {threads: [] for threads in THREADS} for name in networks}
    began = time.perf_counter()
    for k in range(rounds + 1):
        if k > 3 and time.perf_counter() - began > seconds:
            break
        for name, network in networks.items():
            for threads in THREADS:
                torch.set_num_threads(threads)
                network.zero_grad()
                start = time.perf_counter()
                network(x)[0].sum().backward()
                if k:
                    found[name][threads].append(time.perf_counter() - start)
    return found


@dataclass(frozen=True)
class Judged:
    """What the rounds say of one network, at the greatest length.

    faster: the plain network's time over this one's on two threads; gain: one thread's time over that of two;
    growth: its time over that of a quarter of the steps; holds: whether the answer is true.
    """

    faster: float
    gain: float
    growth: float
    holds: bool


def judge(found: dict[int, Found]) -> dict[str, Judged]:
    """Return the verdicts."""
    longest, before = found[LENGTHS[-1]], found[LENGTHS[-2]]

    def gain(name: str) -> float:
        return _ratio(longest[name][1], longest[name][2])

    verdicts: dict[str, Judged] = {}
    for name in longest:
        faster = _ratio(longest["plain"][2], longest[name][2])
        growth = statistics.median(longest[name][2]) / statistics.median(before[name][2])
        verdicts[name] = Judged(faster, gain(name), growth, faster >= 1.1 or (gain(name) >= 1.25 > gain("plain")))
    return verdicts


def _ratio(one: list[float], other: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def report(networks: dict[str, nn.Module], found: dict[int, Found], words: str) -> str:
    """Return the table, and what follows from it."""
    verdicts = judge(found)
    rows: list[str] = []
    for name, network in networks.items():
        times = " | ".join(
            " / ".join(f"{1e3 * statistics.median(found[t][name][n]):.1f}" for n in THREADS) for t in LENGTHS
        )
        v = verdicts[name]
        verdict = "" if name == "plain" else "true" if v.holds else "not"
        size = sum(p.numel() for p in network.parameters())
        rows.append(
            f"| {name} | {size:,} | {CONTESTANTS[name][0]} | {times} | "
            f"{v.growth:.1f} | {v.faster:.2f} | {v.gain:.2f} | {verdict} |"
        )
    answers = [name for name in verdicts if name != "plain"]
    rounds = ", ".join(f"{len(of['plain'][1])} at T = {t}" for t, of in found.items())
    lines = [
        '# "More parallel": seven answers measured',
        "",
        f"Made by `{words}`, whose head says what was done and when an answer counts as true, with torch",
        f"{torch.__version__} on {platform.machine()} ({os.cpu_count()} cores; rounds: {rounds}).",
        f"Milliseconds, forward and backward, on one / two threads. The last four columns are at {LENGTHS[-1]} steps:",
        f"the time over that of {LENGTHS[-2]} steps on two threads; the plain network's time over this one's on two",
        "threads; one thread's time over that of two threads; and the verdict.",
        "",
        f"| network | parameters | steps in a row | {' | '.join(f'T = {t}' for t in LENGTHS)} | "
        "growth | faster than plain | gain of a second thread | more parallel |",
        f"|---|---|---|{'---|' * len(LENGTHS)}---|---|---|---|",
        *rows,
        "",
        f"- True: {_listed(n for n in answers if verdicts[n].holds)}. "
        f"Not: {_listed(n for n in answers if not verdicts[n].holds)}.",
        f"- In less time than the plain network on two threads, by a tenth at least: "
        f"{_listed(n for n in answers if verdicts[n].faster >= 1.1)}.",
        "- Shortened by a fifth at least by a second thread (the plain one is then "
        f"{verdicts['plain'].gain:.2f} times as fast): {_listed(n for n in answers if verdicts[n].gain >= 1.25)}.",
        f"- Faster than the plain network by a tenth at fewer steps, on one thread or two: {_listed(_sooner(found))}.",
        "- Growing by more than 5 where the steps grow by 4: "
        f"{_listed(f'{n} ({v.growth:.1f})' for n, v in verdicts.items() if v.growth > 5)}.",
        "- Layers and directions that could run side by side run one after the other here, each in one call, so that",
        "  what a second thread gains is gained inside of them.",
    ]
    return "\n".join(lines) + "\n"


def _sooner(found: dict[int, Found]) -> Iterator[str]:
    """Tell who is faster than the plain network below the greatest length, and where."""
    for name in found[LENGTHS[0]]:
        plain = [max(_ratio(of["plain"][n], of[name][n]) for n in THREADS) for of in found.values()]
        where = [str(t) for t, ratio in zip(LENGTHS[:-1], plain, strict=False) if name != "plain" and ratio >= 1.1]
        if where:
            yield f"{name} (T = {' and '.join(where)})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def main(arguments: list[str] | None = None) -> None:
    """Measure, judge, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=100, help="for each length, after three rounds")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "parallel.md")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    plain = CONTESTANTS["plain"][1](SIZE)
    budget = sum(p.numel() for p in plain.parameters())
    networks = {name: plain if name == "plain" else sized(make, budget) for name, (_, make) in CONTESTANTS.items()}
    found: dict[int, Found] = {}
    for steps in LENGTHS:
        found[steps] = measure(networks, steps, options.rounds, options.seconds)
        for name, times in found[steps].items():
            print(steps, name, *(f"{1e3 * statistics.median(t):.1f}" for t in times.values()), flush=True)
    words = f"benchmarks/parallel.py --rounds {options.rounds} --seconds {options.seconds:g}"
    text = report(networks, found, words)
    print(text)
    options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
