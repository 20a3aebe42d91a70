"""How much memory BPTT takes over long sequences, with everything kept and with about sqrt(T) states kept.

    python benchmarks/bptt_memory.py --out benchmarks/results/bptt_memory.md

Each figure is that of a process of its own: the most it held during one gradient, less what it held before.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

import recurra as rc
from recurra.learning import BPTT
from tables import report

__all__ = ["main", "measure"]

_HIDDEN, _ROWS = 128, 32


def measure(steps: int, recompute: int | None) -> tuple[float, float, float]:
    """Return the MB that one gradient took, the MB that the rule told before, and the seconds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer = rc.Recurrent("elman", 1, _HIDDEN)
    x, rule = torch.randn(steps, _ROWS, 1), BPTT(recompute)

    def loss(y: Tensor, target: Tensor) -> Tensor:
        return (y - target).square().mean()

    rule.accumulate(layer, x[:4], x[:4], loss)  # what is made once
    told = rule.memory_needed(layer, x)
    before, began = _most(), time.perf_counter()
    rule.accumulate(layer, x, x, loss)
    return (_most() - before) / 1e6, told / 1e6, time.perf_counter() - began


def main() -> None:
    """Measure, print the table, and write it where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 400, 1600, 6400])
    parser.add_argument("--one", nargs=2, help="steps and all|sqrt: print this one and end")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    if options.one:
        print(*measure(int(options.one[0]), {"all": None, "sqrt": 0}[options.one[1]]))
        return
    rows: list[list[str]] = []
    for steps in options.steps:
        row = [f"{steps:,}"]
        for kept in ("all", "sqrt"):
            command = [sys.executable, __file__, "--one", str(steps), kept]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            took, told, seconds = map(float, said.split())
            row += [f"{took:,.1f}", f"{told:,.1f}", f"{seconds:.2f}"]
        rows.append(row)
    report(
        options.out,
        "Memory of BPTT",
        f"Elman, {_HIDDEN} units, {_ROWS} rows, float32, one gradient in a process of its own: MB at most, less those "
        "before; MB that `memory_needed` tells before, of tensors alone (each step's nodes of the graph come to it); "
        "seconds. Made by `benchmarks/bptt_memory.py`.",
        (("steps", "all kept", "told", "s", "`recompute=0`", "told", "s"), rows),
    )


def _most() -> int:
    """Return the most bytes that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
