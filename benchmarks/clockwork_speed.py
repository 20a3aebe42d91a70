"""A compiled clockwork RNN beside Elman's dense cell of the same size, on one thread.

    python benchmarks/clockwork_speed.py [--out benchmarks/results/clockwork_speed.md]

Nine modules with periods 1 to 256. The two take turns; a figure is the least of its turns, in milliseconds. Modules
that sleep are copied, not computed; the gradients of the weights are sums over all steps, of the connections that
exist.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

import recurra as rc
from recurra import cells

SIZES = [(1, 256, 288), (8, 256, 288), (32, 256, 144)]
INPUTS = 16


def measure(batch: int, steps: int, hidden: int, train: bool, turns: int) -> tuple[float, float]:
    """Return the least times of the clockwork and of the dense cell, in milliseconds."""
    torch.manual_seed(0)
    contestants = [cells.get("clockwork")(INPUTS, hidden, periods=[2**k for k in range(9)])]
    contestants.append(cells.get("elman")(INPUTS, hidden))
    x = torch.randn(steps, batch, INPUTS)
    times: list[list[float]] = [[], []]
    for turn in range(turns + 2):
        for cell, found in zip(contestants, times, strict=True):
            start = time.perf_counter()
            with torch.set_grad_enabled(train):
                y = rc.scan(cell, x, backend="cpp").y
                if train:
                    y.sum().backward()
            if turn > 1:
                found.append(1e3 * (time.perf_counter() - start))
    return min(times[0]), min(times[1])


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=31)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "clockwork_speed.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# Clockwork beside a dense cell, one CPU thread",
        "",
        f"Float32, least of {options.turns} turns, milliseconds: `benchmarks/clockwork_speed.py`. Periods 1 to 256.",
        "",
        "| B, T, H | what | clockwork | dense | dense / clockwork |",
        "|---|---|---|---|---|",
    ]
    for batch, steps, hidden in SIZES:
        for train in (False, True):
            mine, dense = measure(batch, steps, hidden, train, options.turns)
            what = "forward and backward" if train else "forward"
            lines.append(f"| {batch}, {steps}, {hidden} | {what} | {mine:.2f} | {dense:.2f} | {dense / mine:.2f} |")
            print(lines[-1], flush=True)
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
