"""A cell that is linear in its state by the parallel scan, the compiled kernels and the plain loop, on one thread.

    python benchmarks/parallel_scan.py [--out benchmarks/results/parallel_scan.md]

Contestants take turns; a figure is the median of its turns, forward and backward, in milliseconds. All three give the
same numbers (`tests/unit/test_scan_parallel.py`). Shows why `auto` never takes the scan on a CPU.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

import recurra as rc
from recurra import cells

SIZES = [(8, 128, 32), (8, 1024, 32), (1, 4096, 128), (32, 256, 128)]
BACKENDS = ("cpp", "parallel", "reference")


def measure(name: str, batch: int, steps: int, hidden: int, turns: int) -> dict[str, float]:
    """Return each backend's median time of a call with its backward, in milliseconds."""
    torch.manual_seed(0)
    cell = cells.get(name)(hidden, hidden)
    x = torch.randn(steps, batch, hidden, requires_grad=True)
    times: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
    for turn in range(turns + 1):
        for backend in BACKENDS:
            start = time.perf_counter()
            rc.scan(cell, x, backend=backend).y.sum().backward()
            if turn:
                times[backend].append(1e3 * (time.perf_counter() - start))
    return {backend: statistics.median(found) for backend, found in times.items()}


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "parallel_scan.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# The parallel scan on one CPU thread",
        "",
        f"Forward and backward, float32, median of {options.turns} turns, milliseconds: `benchmarks/parallel_scan.py`.",
        "",
        "| cell | B, T, H | compiled | scan | loop | scan / compiled |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("min_gru", "qrnn"):
        for batch, steps, hidden in SIZES:
            found = measure(name, batch, steps, hidden, options.turns)
            cpp, scan, loop = (found[b] for b in BACKENDS)
            lines.append(
                f"| {name} | {batch}, {steps}, {hidden} | {cpp:.1f} | {scan:.1f} | {loop:.1f} | {scan / cpp:.1f} |"
            )
            print(lines[-1])
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
