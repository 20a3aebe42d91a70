"""`recurra.LSTM` in place of `torch.nn.LSTM`, in a script that already has trained weights.

The script learns to say cos(t) from sin(t), which no single value of sin tells: the network must remember. It is
trained with `torch.nn.LSTM` and its weights are saved. Then `nn.LSTM` becomes `recurra.LSTM`, one word in one line; the
old weights load by their old names, the outputs are the same, and training goes on.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import recurra

__all__ = ["SineToCosine", "main", "train"]


class SineToCosine(nn.Module):
    """o_t = V y_t + c over a recurrent layer: `(B, T, 1)` -> `(B, T, 1)`."""

    def __init__(self, layer: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.recurrent = layer(1, 32, num_layers=2, batch_first=True)
        self.linear = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the prediction of every step."""
        y, _ = self.recurrent(x)
        return self.linear(y)


def train(model: nn.Module, steps: int) -> float:
    """Train on 32 curves with random phases; return the last mean squared error."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss = torch.zeros(())
    for _ in range(steps):
        sine, cosine = _curves()
        loss = nn.functional.mse_loss(model(sine), cosine)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def main() -> None:
    """Train with torch, change over to recurra, compare, and go on."""
    parser = argparse.ArgumentParser(description="torch.nn.LSTM replaced by recurra.LSTM, with its old weights")
    parser.add_argument("--steps", type=int, default=150, help="updates before, and again after the change")
    steps = parser.parse_args().steps
    torch.manual_seed(0)

    old = SineToCosine(nn.LSTM)
    print(f"torch.nn.LSTM  after {steps} steps: error {train(old, steps):.5f}")
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "weights.safetensors")
        save_file(old.state_dict(), weights)
        new = SineToCosine(recurra.LSTM)
        new.load_state_dict(load_file(weights))

    sine, _ = _curves()
    gap = float((old(sine) - new(sine)).abs().max().detach())
    print(f"recurra.LSTM with the old weights: outputs differ by at most {gap:.1e}")
    if gap > 1e-5:
        raise SystemExit("the outputs should be the same to rounding")
    print(f"recurra.LSTM   after {steps} more: error {train(new, steps):.5f}")


def _curves() -> tuple[Tensor, Tensor]:
    """Return sin and cos `(32, 40, 1)` of the same moments, from random phases on."""
    t = torch.rand(32, 1, 1) * 2 * math.pi + torch.arange(40).view(1, 40, 1) * 0.2
    return torch.sin(t), torch.cos(t)


if __name__ == "__main__":
    main()
