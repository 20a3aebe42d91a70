"""An echo state network on the Mackey-Glass series, as in reservoirpy's README, beside the figure documented there.

    python benchmarks/echo_state.py [--out benchmarks/results/echo_state.md]

The task: 2000 steps (tau 17, Runge-Kutta of order 4, step 1), the next value from those so far; the first 80 % to fit,
100 of them to let the start fade, the rest to measure. 100 units, spectral radius 1.25, leak 0.3, ridge 1e-5, as there.
Both the series' random start and the reservoir are drawn anew for each seed. The readout is fitted in closed form, and
online by recursive least squares, whose error is measured on the same last 20 % after it has seen the first 80 %.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import recurra as rc
from recurra.learning import RecursiveLeastSquares, Ridge

PUBLISHED = "RMSE 0.0020282, R^2 0.99992"
SEEDS = range(10)
STEPS, FIT, WARMUP = 2000, 0.8, 100


def mackey_glass(steps: int, seed: int, tau: int = 17) -> Tensor:
    """Return `(steps, 1)`: x' = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x from a random past around 1.2."""

    def slope(x: float, delayed: float) -> float:
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * x

    past = list(1.2 + 0.2 * (np.random.default_rng(seed).random(tau) - 0.5))
    x = 1.2
    for _ in range(steps):
        past.append(x)
        delayed = past[-1 - tau]
        k1 = slope(x, delayed)
        k2 = slope(x + k1 / 2, delayed)
        k3 = slope(x + k2 / 2, delayed)
        x += (k1 + 2 * k2 + 2 * k3 + slope(x + k3, delayed)) / 6
    return torch.tensor(past[tau:], dtype=torch.float64).unsqueeze(-1)


def measure(seed: int) -> tuple[float, float, float, float]:
    """Return the RMSE and R^2 of ridge and the RMSE of recursive least squares on the last part, and the seconds."""
    series = mackey_glass(STEPS, seed)
    x, y = series[:-1].unsqueeze(1), series[1:].unsqueeze(1)
    cut = int(len(x) * FIT)
    torch.manual_seed(seed)
    network = rc.Recurrent("echo_state", 1, 100, spectral_radius=1.25, leak=0.3).double()
    start = time.perf_counter()
    with torch.no_grad():
        states, _ = network(x)
        readout = Ridge(1e-5).add(states[WARMUP:cut], y[WARMUP:cut]).solve()
        errors = readout(states[cut:]) - y[cut:]
    seconds = time.perf_counter() - start
    online = RecursiveLeastSquares(100, 1, penalty=1e-5)
    online.update(states[WARMUP:cut], y[WARMUP:cut])
    later = online.update(states[cut:], y[cut:])
    rmse = float(errors.square().mean().sqrt())
    r_squared = 1 - float(errors.square().sum() / (y[cut:] - y[cut:].mean()).square().sum())
    return rmse, r_squared, float(later.square().mean().sqrt()), seconds


def main() -> None:
    """Measure every seed, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "echo_state.md")
    options = parser.parse_args()
    lines = [
        "# Echo state network, Mackey-Glass, one step ahead",
        "",
        "Made by `benchmarks/echo_state.py`, whose head says what was done. Documented by reservoirpy 0.4.2 in its",
        f"README, for one unnamed seed: {PUBLISHED}.",
        "",
        "| seed | ridge: RMSE | R^2 | online: RMSE | seconds (states and ridge) |",
        "|---|---|---|---|---|",
    ]
    found = [measure(seed) for seed in SEEDS]
    for seed, (rmse, r_squared, later, seconds) in zip(SEEDS, found, strict=True):
        lines.append(f"| {seed} | {rmse:.7f} | {r_squared:.6f} | {later:.7f} | {seconds:.2f} |")
    medians = [float(np.median(column)) for column in zip(*found, strict=True)]
    lines.append(f"| median | {medians[0]:.7f} | {medians[1]:.6f} | {medians[2]:.7f} | {medians[3]:.2f} |")
    print("\n".join(lines))
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
