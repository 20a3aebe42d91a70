"""Sine in, cosine out: a network that must remember, learned window by window.

No single value of the sine tells the cosine: at sin = 0 it may be 1 or -1. What came before tells it. A hundred windows
of ten points are seen once each; the state is carried from one to the next, and cut from its past. Replace
`recurra.RNN` by `torch.nn.RNN`, and the losses are the same (bit for bit with `layer.backend = "hoisted"`, which adds
in torch's order; in another, float32 rounds otherwise, by some 1e-5 in the end).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import recurra
from recurra.drawing import Picture, curves_svg

__all__ = ["Network", "main", "train"]

TIME_STEP = 10
LEARNING_RATE = 0.02


class Network(nn.Module):
    """A recurrent layer of 32 units and a linear output."""

    def __init__(self, layer: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.rnn = layer(input_size=1, hidden_size=32, num_layers=1, batch_first=True)
        self.out = nn.Linear(32, 1)

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return outputs `(1, T, 1)` and the state."""
        y, state = self.rnn(x, state)
        return self.out(y), state


def train(layer: Callable[..., nn.Module] = recurra.RNN, seed: int = 0, windows: int = 100) -> tuple[list[float], dict]:
    """Learn from each window once; return the losses, and the last windows' curves by name."""
    torch.manual_seed(seed)
    network = Network(layer)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    loss_function = nn.MSELoss()
    state = None  # the first state is zero
    losses: list[float] = []
    curves: dict[str, list[tuple[float, float]]] = {"output": [], "cos (wanted)": [], "sin (input)": []}
    for k in range(windows):
        steps = np.linspace(k * np.pi, (k + 1) * np.pi, TIME_STEP, dtype=np.float32, endpoint=False)
        x = torch.from_numpy(np.sin(steps)[np.newaxis, :, np.newaxis])
        y = torch.from_numpy(np.cos(steps)[np.newaxis, :, np.newaxis])
        prediction, state = network(x, state)
        state = state.detach()  # cut from its past, so that no gradient crosses the window's border
        loss = loss_function(prediction, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if k >= windows - 4:
            for name, values in zip(curves, (prediction.detach(), y, x), strict=True):
                curves[name] += zip(steps.tolist(), values.flatten().tolist(), strict=True)
    return losses, curves


def main() -> None:
    """Train, say how good it is, and draw the last windows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="an .svg file for the last four windows")
    options = parser.parse_args()
    losses, curves = train(seed=options.seed)
    print(f"mean squared error: first window {losses[0]:.3f}, mean of the last ten {sum(losses[-10:]) / 10:.4f}")
    if options.out is not None:
        picture = Picture(curves_svg(curves, title="sine in, cosine out", x_label="t"), 760, 440, "sine to cosine")
        print(f"drawn to {picture.save(options.out)}")


if __name__ == "__main__":
    main()
