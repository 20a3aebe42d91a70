"""Sine to cosine over ten seeds: each way to learn it, and what does without memory.

python benchmarks/sin_to_cos.py --out benchmarks/results/sin_to_cos.md
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from recurra.cli.sin_to_cos import LEARNED_BY, learn

__all__ = ["main"]

_NAMES = {
    "bptt": "state carried and cut between windows (the tutorial's)",
    "rtrl": "RTRL: the gradient crosses the cuts",
    "ekf": "extended Kalman filter by node, derivative over 5 steps",
    "reset": "control: state reset at each window",
    "memoryless": "control: no recurrence at all",
}


def main() -> None:
    """Measure, print the table, and write it where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        "# Sine to cosine",
        "",
        "100 windows of 10 points, each seen once; tanh, 32 units, Adam 0.02. Mean squared error of the last 10 "
        f"windows, before their updates, over {options.seeds} seeds (0 and up). Made by `benchmarks/sin_to_cos.py`.",
        "",
        "| | median | every seed | seconds a run |",
        "|---|---:|---|---:|",
    ]
    for way in LEARNED_BY:
        began = time.perf_counter()
        errors = [sum(w.loss for w in list(learn(way, seed))[-10:]) / 10 for seed in range(options.seeds)]
        seconds = (time.perf_counter() - began) / options.seeds
        every = ", ".join(f"{e:.4f}" for e in errors)
        lines.append(f"| {_NAMES[way]} | {statistics.median(errors):.4f} | {every} | {seconds:.1f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
