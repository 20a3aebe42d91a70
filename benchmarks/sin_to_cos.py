"""Sine to cosine over ten seeds: each way to learn it, and what does without memory.

python benchmarks/sin_to_cos.py --out benchmarks/results/sin_to_cos.md
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

import recurra
from recurra.cli.sin_to_cos import LEARNED_BY, SinToCos, learn, window
from tables import report

__all__ = ["main"]

_NAMES = {
    "bptt": "state carried and cut between windows (the tutorial's)",
    "rtrl": "RTRL: the gradient crosses the cuts",
    "ekf": "extended Kalman filter by node, derivative over 5 steps",
    "reset": "control: state reset at each window",
    "memoryless": "control: no recurrence at all",
}


_LISTING = {
    'recurra.RNN, `backend="hoisted"`: torch\'s order of adding': ("hoisted", torch.float32),
    "recurra.RNN as it comes": ("auto", torch.float32),
    "recurra.RNN as it comes, beside torch, both in float64": ("auto", torch.float64),
    "torch.nn.RNN beside itself with one of its first weights a rounding larger": (None, torch.float32),
}


def losses(backend: str | None, dtype: torch.dtype, seed: int, windows: int, nudge: bool = False) -> list[float]:
    """Return the listing's losses, window by window, with torch's layer if `backend` is None, else with ours.

    nudge: whether one of the first weights is the next larger number.
    """
    torch.manual_seed(seed)
    network = SinToCos(torch.nn.RNN if backend is None else recurra.RNN).to(dtype)
    if backend is not None:
        network.rnn.backend = backend
    if nudge:
        with torch.no_grad():
            weight = network.rnn.weight_hh_l0[0, 0]
            weight.copy_(torch.nextafter(weight, torch.full_like(weight, torch.inf)))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    state, found = None, list[float]()
    for number in range(windows):
        _, x, y = window(number)
        optimizer.zero_grad()
        said, state = network(x.to(dtype), state)
        loss = torch.nn.functional.mse_loss(said, y.to(dtype))
        loss.backward()
        optimizer.step()
        state = state.detach()
        found.append(float(loss.detach()))
    return found


def main() -> None:
    """Measure, print the tables, and write them where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds, windows = range(options.seeds), options.windows
    rows: list[list[str]] = []
    for way in LEARNED_BY:
        began = time.process_time()
        errors = [sum(w.loss for w in list(learn(way, seed, windows))[-10:]) / 10 for seed in seeds]
        seconds = (time.process_time() - began) / options.seeds
        every = ", ".join(f"{e:.4f}" for e in errors)
        rows.append([_NAMES[way], f"{statistics.median(errors):.4f}", every, f"{seconds:.1f}"])
    apart: list[list[str]] = []
    for name, (backend, dtype) in _LISTING.items():
        gaps: list[float] = []
        for seed in seeds:
            theirs = losses(None, dtype, seed, windows)
            ours = losses(backend, dtype, seed, windows, nudge=backend is None)
            gaps.append(max(abs(a - b) for a, b in zip(ours, theirs, strict=True)))
        apart.append([name, f"{statistics.median(gaps):.1e}", f"{max(gaps):.1e}"])
    report(
        options.out,
        "Sine to cosine",
        f"{windows} windows of 10 points, each seen once; tanh, 32 units, Adam 0.02. Mean squared error of the last 10 "
        f"windows, before their updates, over {options.seeds} seeds (0 and up). Made by `benchmarks/sin_to_cos.py`.",
        (("", "median", "every seed", "processor seconds a run"), rows),
        "## The listing with another layer",
        "The largest difference of a window's loss from that of the same listing with `torch.nn.RNN`, both from the "
        "same weights, over the same seeds. What is above 1e-5 is float32's rounding, which a hundred updates by Adam "
        "make more of: see the row in float64, and the last, torch beside itself.",
        (("", "median", "largest"), apart),
    )


if __name__ == "__main__":
    main()
