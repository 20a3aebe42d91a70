"""Kalman training beside Adam: samples until a task is learned, online, each seen once; and updates a second.

    python benchmarks/kalman.py --out benchmarks/results/kalman.md

Both see the same derivative, that of the last output over ten steps, and make one update a step. Each has its own three
settings, of which the best on seed 100 is taken; the five seeds that count are 0 to 4.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import recurra as rc
from recurra.learning import EKF, Annealed
from recurra.learning.output_derivatives import WindowDerivative
from recurra.learning.stepper import Stepper
from tables import report

__all__ = ["main"]

_WINDOW, _CHUNK, _LAST = 10, 50, 100


class Network(nn.Module):
    """An Elman layer and a linear output."""

    def __init__(self, hidden: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.rnn = rc.Recurrent("elman", 1, hidden)
        self.out = nn.Linear(hidden, 1)

    def initial_state(self, batch: int) -> Any:
        """Return zeros."""
        return self.rnn.initial_state(batch)

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """Run one step."""
        y, state = self.rnn.step(x, state)
        return self.out(y), state


def delayed_xor(steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Bits as ±1 in; out whether those of one and two steps ago differ, as ±1."""
    bits = torch.randint(0, 2, (steps + 2,), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    return bits[2:, None, None], -(bits[1:-1] * bits[:-2])[:, None, None]


def henon(steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """The next value of the Hénon map, of which one coordinate is seen."""
    x = [0.1 + 0.01 * (seed % 10), 0.2]
    for _ in range(steps + 200):
        x.append(1 - 1.4 * x[-1] ** 2 + 0.3 * x[-2])
    series = torch.tensor(x[-steps - 1 :])
    return series[:-1, None, None], series[1:, None, None]


TASKS: dict[str, tuple[Callable[[int, int], tuple[Tensor, Tensor]], float]] = {
    "delayed XOR": (delayed_xor, 0.05),
    "Hénon map": (henon, 0.005),
}
_VARIANCES, _RATES = (0.1, 1.0, 10.0), (0.003, 0.01, 0.03)


def by_kalman(task: str, hidden: int, variance: float, seed: int, most: int) -> int:
    """Return the samples until the mean squared error of the last hundred is below the bound; `most` if never."""
    make, bound = TASKS[task]
    x, y = make(most, seed)
    network, carry = Network(hidden, seed), None
    rule = EKF("global", window=_WINDOW, noise=Annealed(0.5, 0.01, 500), process=1e-5, variance=variance)
    errors: list[float] = []
    for start in range(0, most, _CHUNK):
        total, carry = rule.update(network, x[start : start + _CHUNK], y[start : start + _CHUNK], carry)
        errors.append(2 * float(total) / _CHUNK)
        if start >= _CHUNK and statistics.fmean(errors[-_LAST // _CHUNK :]) < bound:
            return start + _CHUNK
    return most


def by_adam(task: str, hidden: int, rate: float, seed: int, most: int) -> int:
    """Return the same for Adam, an update a step by the same derivative."""
    make, bound = TASKS[task]
    x, y = make(most, seed)
    network = Network(hidden, seed)
    weights = list(network.parameters())
    # Adam steps on copies, which are written past the version counters, as the Kalman filter's weights are.
    copies = [nn.Parameter(p.detach().clone()) for p in weights]
    optimizer = torch.optim.Adam(copies, lr=rate)
    stepper = Stepper(network, "benchmark")
    derivative = WindowDerivative(stepper, _WINDOW, 1, None)
    errors: list[float] = []
    for start in range(0, most, _CHUNK):
        squared = 0.0
        with stepper.plainly():
            for t in range(start, min(start + _CHUNK, most)):
                error = (derivative.step(x[t]) - y[t]).flatten()
                squared += float(error.square().sum())
                gradient = (error @ derivative.derivative()).split([p.numel() for p in weights])
                for copy, g in zip(copies, gradient, strict=True):
                    copy.grad = g.view_as(copy).clone()
                optimizer.step()
                for p, copy in zip(weights, copies, strict=True):
                    p.data.copy_(copy.detach())
        errors.append(squared / _CHUNK)
        if start >= _CHUNK and statistics.fmean(errors[-_LAST // _CHUNK :]) < bound:
            return start + _CHUNK
    return most


def speed(hidden: int, updates: int) -> dict[int, float]:
    """Return updates a second of the filter decoupled by node, for windows of several lengths."""
    found: dict[int, float] = {}
    for window in (1, 3, 5, 10):
        network = Network(hidden, 0)
        x, y = delayed_xor(updates, 0)
        rule = EKF("node", window=window)
        rule.update(network, x[:20], y[:20])
        rates: list[float] = []
        for _ in range(5):
            began = time.perf_counter()
            rule.update(network, x, y)
            rates.append(updates / (time.perf_counter() - began))
        found[window] = max(rates)
    return found


def main() -> None:
    """Measure, print the tables, and write them where `--out` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--most", type=int, default=4000, help="samples after which a run has failed")
    parser.add_argument("--hidden-size", type=int, default=6)
    parser.add_argument("--updates", type=int, default=200, help="of each run whose speed is measured")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[list[str]] = []
    for task in TASKS:
        for name, run, settings in (("EKF, global", by_kalman, _VARIANCES), ("Adam", by_adam, _RATES)):
            tried = {s: run(task, options.hidden_size, s, 100, options.most) for s in settings}
            best = min(tried, key=lambda s: tried[s])
            counts = [run(task, options.hidden_size, best, seed, options.most) for seed in range(options.seeds)]
            search = ", ".join(f"{s:g}: {n:,}" for s, n in tried.items())
            every = ", ".join(f"{n:,}" for n in counts)
            rows.append([task, name, f"{best:g}", search, f"{statistics.median(counts):,.0f}", every])
            print(rows[-1], flush=True)
    report(
        options.out,
        "Kalman training beside Adam",
        f"Elman, {options.hidden_size} units, one pass online, one update a step, the same derivative over {_WINDOW} "
        "steps for both. Samples until the mean squared error of the last 100 is below 0.05 (XOR) and 0.005 (Hénon); a "
        f"run that is not there after {options.most:,} counts as that. Settings (first variance of the weights; "
        "learning rate) by the best of three on seed 100. Made by `benchmarks/kalman.py`.",
        (("task", "by", "setting", "tried: samples on seed 100", "median", "every seed"), rows),
        "## Updates a second",
        "Decoupled by node, 32 units, one row and output, one thread, best of five.",
        (
            ("derivative over", "updates a second"),
            [[f"{window} steps", f"{rate:,.0f}"] for window, rate in speed(32, options.updates).items()],
        ),
    )


if __name__ == "__main__":
    main()
