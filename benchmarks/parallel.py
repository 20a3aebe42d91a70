"""Seven answers to "how does a recurrent network become more parallel?", each beside the plain one.

    python benchmarks/parallel.py [--rounds 7 --out benchmarks/results/parallel.md]

The answers are those of the course of Qiu, "Neural networks and deep learning": bidirectional, more layers, skip
connections, separable, quasi-parallel (several sub-networks side by side), memory-augmented, Transformer. All have
about as many parameters as the plain GRU (64 inputs, 128 units); each is asked for an output at every step of one
sequence (B = 1) of 64 to 4096 steps, forward and backward, by the backend that `auto` takes, with one and with two
threads of torch. The contestants take turns; times are medians.

An answer counts as true if the network is at least a tenth faster than the plain one at 4096 steps on two threads (it
then makes the same sequence take less time), or if two threads shorten its time by at least a fifth where they do not
the plain one's (it then has work that goes side by side). Both are measured here; what steps must come one after the
other is told beside them.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
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


def measure(networks: dict[str, nn.Module], steps: int, rounds: int) -> dict[str, float]:
    """Return each network's median milliseconds, forward and backward, all of them taking turns."""
    x = torch.randn(1, steps, INPUTS)
    times: dict[str, list[float]] = {name: [] for name in networks}
    for k in range(rounds + 1):
        for name, network in networks.items():
            network.zero_grad()
            start = time.perf_counter()
            network(x)[0].sum().backward()
            if k:
                times[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(found) for name, found in times.items()}


def main() -> None:
    """Measure, judge, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "parallel.md")
    options = parser.parse_args()
    torch.manual_seed(0)
    plain = CONTESTANTS["plain"][1](SIZE)
    budget = sum(p.numel() for p in plain.parameters())
    networks = {name: plain if name == "plain" else sized(make, budget) for name, (_, make) in CONTESTANTS.items()}
    found: dict[tuple[int, int], dict[str, float]] = {}
    for steps in LENGTHS:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found[steps, threads] = measure(networks, steps, options.rounds)
            print(steps, threads, {n: f"{v:.1f}" for n, v in found[steps, threads].items()}, flush=True)
    longest = LENGTHS[-1]
    base = found[longest, 1]["plain"] / found[longest, 2]["plain"]
    rows: list[str] = []
    for name, network in networks.items():
        times = " | ".join(f"{found[t, 1][name]:.1f} / {found[t, 2][name]:.1f}" for t in LENGTHS)
        faster = found[longest, 2]["plain"] / found[longest, 2][name]
        gain = found[longest, 1][name] / found[longest, 2][name]
        holds = faster >= 1.1 or (gain >= 1.25 > base)
        verdict = "" if name == "plain" else "true" if holds else "not"
        size = sum(p.numel() for p in network.parameters())
        end = f"{faster:.2f} | {gain:.2f} | {verdict}"
        rows.append(f"| {name} | {size:,} | {CONTESTANTS[name][0]} | {times} | {end} |")
    lines = [
        '# "More parallel": seven answers measured',
        "",
        f"Made by `benchmarks/parallel.py --rounds {options.rounds}`, whose head says what was done and when an answer",
        f"counts as true, with torch {torch.__version__} on {platform.machine()} ({os.cpu_count()} cores, shared with",
        "other work). Milliseconds, forward and backward, on one / two threads; the last three columns are at",
        f"{longest} steps: the plain network's time over this one's on two threads, one thread's time over that of",
        "two threads, and the verdict.",
        "",
        f"| network | parameters | steps in a row | {' | '.join(f'T = {t}' for t in LENGTHS)} | "
        "faster than plain | gain of a second thread | more parallel |",
        f"|---|---|---|{'---|' * len(LENGTHS)}---|---|---|",
        *rows,
        "",
        "The layers and directions that could run side by side are run one after the other here, each in one call;",
        "more layers alone do not parallelise. That its work can be split over all steps",
        "is true of the Transformer alone, whose work also grows with the square of T.",
    ]
    print("\n".join(lines))
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
