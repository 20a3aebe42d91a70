"""The ladder of long memory, rung by rung: from h = f(Uh + Wx + b) to gates, in one table.

Measured untrained, over random inputs: the growth factor of gradients over 100 steps, how far h has gone after 1,000,
and the share of units that no longer hear the input then. Measured trained: the accuracy of remembering one of four
symbols, shown at the first step, over lags of 10, 50 and 200 steps of noise. All rungs get the same size, batches,
number of steps, seeds and the same two learning rates, of which the better one on other sequences is shown.

    python benchmarks/ladder.py --steps 300 --seeds 3 [--only "LSTM, chrono" "GRU, chrono"]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra import Cell, cells, scan
from recurra.core.initialisers import chrono_

__all__ = ["RUNGS", "Rung", "growth", "main", "measure", "remember"]

RESULTS = Path(__file__).with_name("results") / "ladder.md"
SYMBOLS = 4
RATES = (0.002, 0.01)


@dataclass(frozen=True)
class Rung:
    """One rung: its equation, the cell that it is, and the cell's options."""

    equation: str
    cell: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    chrono: bool = False
    """Whether its gates begin by chrono initialisation, told the lag."""

    def build(self, inputs: int, hidden: int, lag: int) -> Cell:
        """Make the cell."""
        cell = cells.get(self.cell)(inputs, hidden, **self.options)
        if self.chrono:
            chrono_(cell, max(3, lag))
        return cell


RUNGS = [
    Rung("tanh(Uh + Wx + b)", "elman"),
    Rung("Uh + Wx + b", "linear_rnn"),
    Rung("h + Wx + b", "integrator"),
    Rung("h + tanh(Wx + b)", "nonlinear_integrator"),
    Rung("h + sigmoid(Wx + b)", "nonlinear_integrator", {"nonlinearity": "sigmoid"}),
    Rung("h + tanh(Uh + Wx + b)", "residual_rnn"),
    Rung("h + sigmoid(Uh + Wx + b)", "residual_rnn", {"nonlinearity": "sigmoid"}),
    Rung("h + tanh(Uh + b)", "residual_in_time"),
    Rung("leaky", "leaky"),
    Rung("update gate only", "ugrnn"),
    Rung("minimal gated unit", "mgu"),
    Rung("GRU, reset before the product", "gru_reset_before"),
    Rung("GRU, reset after the product", "gru"),
    Rung("LSTM", "lstm"),
    Rung("GRU, chrono", "gru", chrono=True),
    Rung("LSTM, chrono", "lstm", chrono=True),
]


def growth(cell: Cell, steps: int = 100) -> float:
    """Return the mean factor of a step by which the gradient of y grows on its way back: (|d y_T / d s_0|)^(1/T)."""
    x = torch.randn(steps, 1, cell.input_size, dtype=torch.float64)
    state = tuple(s.double().requires_grad_() for s in cell.initial_state(1))
    y = scan(cell, x, state, backend="reference").y[-1]
    direction = F.normalize(torch.randn_like(y), dim=-1)
    found = torch.autograd.grad((y * direction).sum(), state)
    return float(torch.cat(found, -1).norm()) ** (1 / steps)


def measure(cell: Cell, steps: int = 1000) -> tuple[float, float | None]:
    """Return max abs h after `steps` steps, and the share of units that hardly hear the input any more.

    A unit hardly hears where its gradient by the present input is less than a hundredth of what it was at the first
    step; None where the units never heard it.
    """
    x = torch.randn(steps, 1, cell.input_size, dtype=torch.float64)
    before = scan(cell, x[:-1], backend="reference")
    first = _hearing(cell, x[:1], None)
    last = _hearing(cell, x[-1:], tuple(s.detach() for s in before.state))
    share = None if not bool(first.any()) else float((last < 0.01 * first).double().mean())
    return float(before.state[-1].detach().abs().max()), share


def _hearing(cell: Cell, x: Tensor, state: Any) -> Tensor:
    """Return for each unit of the memory the length of its gradient by the input of one step."""
    jacobian = torch.autograd.functional.jacobian(lambda x: scan(cell, x, state, backend="reference").state[-1][0], x)
    assert isinstance(jacobian, Tensor)
    return jacobian.flatten(1).norm(dim=1)


class _Classifier(nn.Module):
    """A cell over time, and a linear layer on its last output."""

    def __init__(self, rung: Rung, lag: int, hidden: int) -> None:
        super().__init__()
        self.cell = rung.build(SYMBOLS + 1, hidden, lag)
        self.linear = nn.Linear(hidden, SYMBOLS)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(scan(self.cell, x).y[-1])


def remember(rung: Rung, lag: int, seed: int, rate: float, steps: int, hidden: int, batch: int) -> tuple[float, float]:
    """Train on one lag; return the accuracies on sequences to choose a learning rate by, and on others."""
    torch.manual_seed(seed)
    model = _Classifier(rung, lag, hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    draw = torch.Generator().manual_seed(1000 + seed)
    for _ in range(steps):
        x, symbols = _sequences(lag, batch, draw)
        loss = F.cross_entropy(model(x), symbols)
        optimizer.zero_grad()
        loss.backward()
        if bool(loss.isfinite()):
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    model.eval()
    return _accuracy(model, lag, 8 * batch, 1), _accuracy(model, lag, 8 * batch, 2)


@torch.no_grad()
def _accuracy(model: nn.Module, lag: int, batch: int, draw: int) -> float:
    x, symbols = _sequences(lag, batch, torch.Generator().manual_seed(draw))
    return float((model(x).argmax(-1) == symbols).double().mean())


def _sequences(lag: int, batch: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return x `(lag + 1, B, 5)`, a symbol and then noise in the fifth channel, and the symbols."""
    symbols = torch.randint(SYMBOLS, (batch,), generator=draw)
    x = torch.zeros(lag + 1, batch, SYMBOLS + 1)
    x[0, :, :SYMBOLS] = F.one_hot(symbols, SYMBOLS)
    x[1:, :, SYMBOLS] = torch.randn(lag, batch, generator=draw)
    return x, symbols


def main(arguments: list[str] | None = None) -> None:
    """Measure every rung, write the table, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="of training, for each rung, lag, seed and rate")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lags", type=int, nargs="+", default=[10, 50, 200])
    parser.add_argument("--hidden-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--only", nargs="+", help="the rungs to measure, by their equations; all if not given")
    parser.add_argument("--out", type=Path, default=RESULTS)
    chosen = parser.parse_args(arguments)
    started = time.perf_counter()
    rows: list[str] = []
    for rung in RUNGS:
        if chosen.only and rung.equation not in chosen.only:
            continue
        rows.append(_row(rung, chosen))
        print(rows[-1], flush=True)
    report = _report(rows, chosen, time.perf_counter() - started)
    chosen.out.write_text(report, encoding="utf-8")
    print(report)


def _row(rung: Rung, chosen: argparse.Namespace) -> str:
    factors: list[float] = []
    sizes: list[float] = []
    shares: list[float | None] = []
    for seed in range(chosen.seeds):
        torch.manual_seed(seed)
        cell = rung.build(SYMBOLS + 1, chosen.hidden_size, max(chosen.lags)).double()
        factors.append(growth(cell))
        size, share = measure(cell)
        sizes.append(size)
        shares.append(share)
    heard = [s for s in shares if s is not None]
    share = f"{100 * statistics.median(heard):.0f} %" if heard else "never hears"
    columns = [f"{statistics.median(factors):.4g}", f"{statistics.median(sizes):.3g}", share]
    columns += [_accuracies(rung, lag, chosen) for lag in chosen.lags]
    return f"| {rung.equation} | `{rung.cell}` | {' | '.join(columns)} |"


def _accuracies(rung: Rung, lag: int, chosen: argparse.Namespace) -> str:
    """Return the median over the seeds and every seed's accuracy, at the better learning rate."""
    tried: list[tuple[float, list[float]]] = []
    for rate in RATES:
        runs = [
            remember(rung, lag, seed, rate, chosen.steps, chosen.hidden_size, chosen.batch_size)
            for seed in range(chosen.seeds)
        ]
        tried.append((statistics.mean(run[0] for run in runs), [run[1] for run in runs]))
    best = max(tried, key=lambda found: found[0])[1]
    return f"**{statistics.median(best):.2f}** ({', '.join(f'{a:.2f}' for a in best)})"


def _report(rows: Sequence[str], chosen: argparse.Namespace, seconds: float) -> str:
    lags = " | ".join(f"lag {lag}" for lag in chosen.lags)
    return "\n".join(
        [
            "# The ladder of long memory",
            "",
            f"{chosen.hidden_size} units; {chosen.seeds} seed(s), all shown; {chosen.steps} steps of Adam in batches "
            f"of {chosen.batch_size} for each lag, gradients clipped to the norm 1, the better of the learning rates "
            f"{' and '.join(map(str, RATES))} (chosen on other sequences). Made by `benchmarks/ladder.py --steps "
            f"{chosen.steps} --seeds {chosen.seeds}` on {datetime.now(UTC):%Y-%m-%d} in {seconds:,.0f} s on one core "
            "of a shared machine.",
            "",
            f"| new h | cell | γ | max abs h | saturated | {lags} |",
            f"|---|---|---:|---:|---:|{'---|' * len(chosen.lags)}",
            *rows,
            "",
            "γ: the factor a step by which gradients grow on their way back over 100 steps, untrained; exactly 1 where "
            "dh_t/dh_k is the identity. max abs h: the largest entry of the memory after 1,000 steps of random input. "
            "saturated: the share of units that the input then moves by less than a hundredth of what it did at the "
            "first step. Medians over the seeds. The other columns: accuracy of telling which of four symbols was "
            "shown that many steps ago (a guess is right at 0.25), the median and every seed.",
            "",
            "How to read it: sums remember one symbol best, since nothing here has to be forgotten, but they grow, and "
            "what looks at a grown sum hears nothing new. Gates keep h small and the input audible; with biases that "
            "begin near zero they forget within a few steps, as γ shows, and have to learn to keep; chrono "
            "initialisation (Tallec and Ollivier 2018), told the lag (the longest one for the first three columns), "
            "begins them where they keep for about as long as is needed.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
