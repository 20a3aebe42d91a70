"""Vanishing and exploding gradients: Elman networks with γ < 1 and γ > 1 and an LSTM, over lags of 10, 50 and 200.

    python benchmarks/diagnosis.py --out benchmarks/results/diagnosis.md

Nothing is trained: these are networks as they begin, and what would reach them of a loss at the end of a sequence.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import recurra as rc
from recurra.drawing import Picture, curves_svg
from recurra.learning import input_influence
from tables import report

__all__ = ["Network", "main"]

_SIZE, _INPUTS = 32, 2
_HEADER = (
    "network", "lag", "γ of the terms", "γ of the Jacobians", "‖δ_{t,t-lag}‖/‖δ_{t,t}‖", "memory", "verdict",
)  # fmt: skip


class Network(nn.Module):
    """A layer of a cell and one linear output."""

    def __init__(self, cell: str, *, gamma: float | None = None, forget: float | None = None, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = rc.Recurrent(cell, _INPUTS, _SIZE, **options)
        self.out = nn.Linear(self.rnn.output_size, 1)
        inner: Any = self.rnn.layers[0].forward
        with torch.no_grad():
            if gamma is not None:
                nn.init.orthogonal_(inner.weight_hh, gamma)
            if forget is not None:
                inner.bias_ih[_SIZE : 2 * _SIZE] = forget

    def initial_state(self, batch: int) -> Any:
        """Return zeros."""
        return self.rnn.initial_state(batch)

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """Run one step."""
        y, state = self.rnn.step(x, state)
        return self.out(y), state


def main() -> None:
    """Measure, print the tables, and write them and the picture beside `--out`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lags", type=int, nargs="+", default=[10, 50, 200])
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks = {
        "Elman, γ = 0.9": Network("elman", gamma=0.9),
        "Elman, γ = 1.5": Network("elman", gamma=1.5),
        "LSTM, forget bias 3": Network("lstm", forget=3.0),
    }
    rows: list[list[str]] = []
    for name, network in networks.items():
        for lag in options.lags:
            x = 0.1 * torch.randn(4, lag + 1, _INPUTS, generator=torch.Generator().manual_seed(1))
            found = rc.diagnose(network, rc.Batch(x, torch.ones(4, lag + 1, 1)))
            memory = f"{found.memory}" if found.memory is not None else f"> {lag}"
            numbers = [f"{found.gamma:.4f}", f"{found.gamma_of_products:.4f}", f"{found.gamma**lag:.2g}", memory]
            rows.append([name, str(lag), *numbers, found.verdict[0].split(":")[0].rstrip(".")])
    steps = max(options.lags[:2])
    x = 0.1 * torch.randn(steps + 1, 4, _INPUTS, generator=torch.Generator().manual_seed(1))
    shown = {
        "AR": Network("ar"),
        "TDNN": Network("tdnn"),
        "Elman": networks["Elman, γ = 0.9"],
        "LSTM": networks["LSTM, forget bias 3"],
    }
    curves: dict[str, list[tuple[float, float]]] = {}
    heard: list[list[str]] = []
    for name, network in shown.items():
        felt = input_influence(network, x)
        curves[name] = [(float(k), v / max(felt)) for k, v in enumerate(felt)]
        heard.append([name, str(max(k for k, v in enumerate(felt) if v > 0.01 * max(felt)))])
    report(
        options.out,
        "Vanishing and exploding gradients",
        f"{_SIZE} units, inputs of 0.1 N(0, 1), 4 rows, a loss at every step, untrained. γ of the name is that of "
        "the recurrent weights, an orthogonal matrix times γ; a tanh takes from it. Made by `benchmarks/diagnosis.py`.",
        (_HEADER, rows),
        "## How far back an output hears its inputs",
        (("", "last lag above 1 % of the largest"), heard),
        "![influence over lags](diagnosis.svg)",
    )
    if options.out is not None:
        title = "Influence of inputs on an output"
        svg = curves_svg(curves, title=title, x_label="steps back", y_label="of the largest")
        Picture(svg, 760, 440).save(options.out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
