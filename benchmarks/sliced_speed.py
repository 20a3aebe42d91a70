"""How much faster a sliced network reads one long sequence than the same cell unsliced, by the same backend.

    python benchmarks/sliced_speed.py [--rounds 9 --seconds 2 --threads 1 2 --backends reference hoisted cpp]

One sequence (B = 1) of 512 steps and 64 features; the unsliced layer has the hidden size given; the sliced networks
have two or three levels of that size: slices of 8 and 8 (8 + 8 + 8 steps in a row), of 16 (16 + 32) and of 32
(32 + 16). All take turns; a ratio is the median of the rounds' ratios. Forward alone, without gradients; and forward
and backward. Each has its rounds, or as many, at least three, as fit into `seconds`: the whole takes some minutes.

Beside the kernels' forward stands what slicing could bring at most: the unsliced network's time over that which the
fewest products of the three sliced networks take at the speed of torch's product of the lowest level's size (the least
time of each).
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

import recurra as rc
from recurra.networks import Sliced

STEPS, FEATURES = 512, 64
SLICES = ((8, 8), (16,), (32,))
CELLS, SIZES, BACKENDS = ("elman", "gru", "lstm"), (64, 128, 256, 512), ("reference", "hoisted", "cpp")
AIM = 2.5


class Turns(NamedTuple):
    """What calls that take turns took: the median milliseconds of the first, its least, and of each other call the
    median ratio of the first to it."""

    median: float
    least: float
    ratios: list[float]


def take_turns(calls: Sequence[Callable[[], object]], rounds: int, seconds: float) -> Turns:
    """Time calls in turn; the first round, which warms up, is left out."""
    times: list[list[float]] = [[] for _ in calls]
    began = time.perf_counter()
    for k in range(rounds + 1):
        if k > 3 and time.perf_counter() - began > seconds:
            break
        for call, kept in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            if k:
                kept.append(time.perf_counter() - start)
    first, *others = times
    ratios = [statistics.median(a / b for a, b in zip(first, other, strict=True)) for other in others]
    return Turns(1e3 * statistics.median(first), 1e3 * min(first), ratios)


def measure(cell: str, size: int, backend: str, rounds: int, seconds: float) -> tuple[Turns, float, Turns]:
    """Return the times forward, unsliced and then sliced, the most that slicing could bring, and forward and
    backward."""
    x = torch.randn(1, STEPS, FEATURES)
    plain = rc.Recurrent(cell, FEATURES, size, batch_first=True, backend=backend)
    sliced = [Sliced(cell, FEATURES, [size] * (len(s) + 1), s, backend=backend) for s in SLICES]
    networks: list[nn.Module] = [plain, *sliced]

    def learn(network: nn.Module) -> None:
        network.zero_grad()
        y, _ = network(x)
        (y[:, -1] if y.dim() == 3 else y).sum().backward()

    with torch.no_grad():
        forward = take_turns([lambda n=n: n(x) for n in networks], rounds, seconds)
        most = forward.least / min(least_time(network, size) for network in sliced)
    return forward, most, take_turns([lambda n=n: learn(n) for n in networks], rounds, seconds)


def least_time(network: Sliced, size: int) -> float:
    """Return the milliseconds that the network's products would take at the speed of torch's, nothing else counted."""
    steps, multiplications = STEPS, 0
    for level, inside in zip(network.levels, (*network.slices, 1), strict=True):
        multiplications += steps * sum(p.numel() for p in level.parameters() if p.dim() == 2)
        steps //= inside
    rows, weights = torch.randn(STEPS // network.slices[0], size), torch.randn(size, 4 * size)
    milliseconds = take_turns([lambda: torch.mm(rows, weights)], 30, 1.0).least
    return milliseconds * multiplications / (rows.shape[0] * weights.numel())


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement, after three rounds")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sliced_speed.md")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    rows: list[str] = []
    best: dict[str, list[float]] = {}
    for threads, backend in itertools.product(options.threads, options.backends):
        if threads > 1 and backend != "cpp":
            continue  # The loops run one small operation after another, which no second thread shortens.
        torch.set_num_threads(threads)
        for cell, size in itertools.product(CELLS, options.sizes):
            forward, most, both = measure(cell, size, backend, options.rounds, options.seconds)
            found = best.setdefault(f"{backend}, {threads} thread{'s' * (threads > 1)}", [])
            found += [max(forward.ratios), max(both.ratios)]
            limit = f"{most:.1f}" if backend == "cpp" else ""
            times = f"{_shown(forward)} | {limit} | {_shown(both)}"
            rows.append(f"| {backend} | {threads} | {cell} | {size} | {times} |")
            print(rows[-1], flush=True)
    names = " | ".join(" + ".join(map(str, s)) for s in SLICES)
    lines = [
        "# Sliced networks: one sequence of 512 steps",
        "",
        f"Made by `benchmarks/sliced_speed.py --rounds {options.rounds} --seconds {options.seconds:g}`, whose head",
        "says what was done, with",
        f"torch {torch.__version__} on {platform.machine()} ({os.cpu_count()} cores). How many times",
        f"as fast as unsliced, by the slices; at least {AIM} was the aim, reached by the best slices, forward or",
        "forward and backward, in "
        + "; ".join(
            f"{sum(r >= AIM for r in v)} of {len(v)} ({name}; at most {max(v):.1f})" for name, v in best.items()
        )
        + ".",
        "A sliced network does no less work, rather more, only fewer steps in a row. The plain loop pays for every",
        "step, and gains; a compiled kernel has next to nothing between steps, so that what it gains is what a product",
        "with a matrix gains over one with a vector, and a second thread, which has no share in a single row: the",
        'column "at most" says how far that could go.',
        "",
        f"| backend | threads | cell | size | forward, ms | {names} | at most | forward and backward, ms | {names} |",
        f"|---|---|---|---|---|{'---|' * len(SLICES)}---|---|{'---|' * len(SLICES)}",
        *rows,
    ]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _shown(turns: Turns) -> str:
    return " | ".join([f"{turns.median:.2f}", *(f"{r:.1f}" for r in turns.ratios)])


if __name__ == "__main__":
    main()
