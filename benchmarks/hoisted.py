"""The hoisted loop beside the plain one, where nothing is compiled, on one thread.

    python benchmarks/hoisted.py [--out benchmarks/results/hoisted.md]

The two take turns; a figure is the median over the turns of hoisted time / plain time, so less than 1 is faster. Both
give the same numbers (`tests/unit/test_compiler_equals_loop.py`).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import recurra as rc
from recurra import cells

SIZES = [(1, 100, 64), (8, 100, 32), (32, 100, 128), (32, 50, 256)]
CELLS = ("elman", "gru", "lstm")


def measure(name: str, batch: int, steps: int, hidden: int, turns: int) -> tuple[float, float]:
    """Return hoisted time / plain time, forward alone and forward with backward."""
    torch.manual_seed(0)
    cell = cells.get(name)(hidden, hidden)
    x = torch.randn(steps, batch, hidden, requires_grad=True)

    def forward(backend: str) -> None:
        with torch.no_grad():
            rc.scan(cell, x, backend=backend)

    def training(backend: str) -> None:
        rc.scan(cell, x, backend=backend).y.sum().backward()

    return _ratio(forward, turns), _ratio(training, turns)


def _ratio(run: Callable[[str], None], turns: int) -> float:
    ratios: list[float] = []
    for turn in range(turns + 1):
        took: dict[str, float] = {}
        # Who goes first changes from turn to turn.
        for backend in ("hoisted", "reference")[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            run(backend)
            took[backend] = time.perf_counter() - start
        if turn:
            ratios.append(took["hoisted"] / took["reference"])
    return statistics.median(ratios)


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "hoisted.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# The hoisted loop on one CPU thread",
        "",
        f"Its time / the plain loop's, float32, I = H, medians of {options.turns} turns: `benchmarks/hoisted.py`.",
        "",
        "| cell | B, T, H | forward | forward + backward |",
        "|---|---|---|---|",
    ]
    slowest = (0.0, 0.0)
    for name in CELLS:
        for batch, steps, hidden in SIZES:
            forward, training = measure(name, batch, steps, hidden, options.turns)
            slowest = (max(slowest[0], forward), max(slowest[1], training))
            lines.append(f"| {name} | {batch}, {steps}, {hidden} | {forward:.2f} | {training:.2f} |")
            print(lines[-1], flush=True)
    lines += ["", f"At the most {slowest[0]:.2f} and {slowest[1]:.2f}; the aim is 1.05."]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
