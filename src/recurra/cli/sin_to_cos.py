"""Sine in, cosine out: the smallest task that needs a memory, and what learns it and what does not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Group
from rich.live import Live
from rich.text import Text
from torch import Tensor, nn
from torch.optim import Adam

from recurra.cli.report import console
from recurra.core.errors import ArgumentError
from recurra.drawing.raster import Raster, gif
from recurra.layers import RNN
from recurra.learning import EKF, RTRL, Carry
from recurra.learning.terminal_curve import draw_dots

__all__ = ["LEARNED_BY", "SinToCos", "Window", "learn", "show", "window"]

LEARNED_BY = ("bptt", "rtrl", "ekf", "reset", "memoryless")
"""Ways to learn; the last two are controls: the state is reset at each window, and there is no recurrence at all."""

_POINTS, _HIDDEN, _RATE = 10, 32, 0.02
_SHOWN = 3  # windows that a picture shows


@dataclass(frozen=True)
class Window:
    """A window that was learned from: its times, what was wanted, what was said before the update, and the loss."""

    number: int
    times: list[float]
    wanted: list[float]
    said: list[float]
    loss: float


class SinToCos(nn.Module):
    """o_t = V h_t + c,  h_t = tanh(U x_t + W h_{t-1} + b): one number in, one number out, 32 units."""

    def __init__(self, layer: Any = RNN) -> None:
        super().__init__()
        self.rnn = layer(1, _HIDDEN)
        self.out = nn.Linear(_HIDDEN, 1)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run a window `(T, B, 1)`."""
        y, state = self.rnn(x, state)
        return self.out(y), state

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """Run one step `(B, 1)`."""
        y, state = self.rnn.step(x, state)
        return self.out(y), state

    def initial_state(self, batch: int) -> Any:
        """Return zeros."""
        return self.rnn.initial_state(batch)


def window(number: int) -> tuple[list[float], Tensor, Tensor]:
    """Return a window's times, sine and cosine `(10, 1, 1)`: 10 points of [kπ, (k + 1)π) without its end."""
    times = np.linspace(number * np.pi, (number + 1) * np.pi, _POINTS, dtype=np.float32, endpoint=False)
    x, y = (torch.from_numpy(f(times))[:, None, None] for f in (np.sin, np.cos))
    return times.tolist(), x, y


def learn(by: str = "bptt", seed: int = 0, windows: int = 100, layer: Any = RNN) -> Iterator[Window]:
    """Learn window by window, each once, and yield what was said before each update.

    bptt: Adam of rate 0.02 on the mean squared error of a window, the state carried on and cut between windows, the
    first state zero. rtrl: the same, but that the gradient crosses the cuts. ekf: an update a point.
    """
    if by not in LEARNED_BY:
        raise ArgumentError(f"expected a way to learn from {', '.join(LEARNED_BY)}, got {by!r}")
    torch.manual_seed(seed)
    network = SinToCos(layer)
    optimizer = Adam(network.parameters(), lr=_RATE)
    rule, kalman = RTRL(), EKF("node", window=5, noise=0.1, variance=0.1, process=1e-6)
    carry: Carry | None = None
    state: Any = None
    for number in range(windows):
        times, x, y = window(number)
        before = carry.state if carry is not None else state
        with torch.no_grad():
            said, _ = network(x, before)
        if by == "ekf":
            total, carry = kalman.update(network, x, y, carry)
            loss = 2 * float(total) / _POINTS
        else:
            optimizer.zero_grad()
            if by == "rtrl":
                total, carry = rule.accumulate(network, x, y, lambda a, b: (a - b).square().sum() / _POINTS, carry)
            else:
                if by == "memoryless":
                    x, y = x.transpose(0, 1), y.transpose(0, 1)  # ten rows of one step: nothing to remember
                    said = network(x)[0].detach()
                outputs, after = network(x, state)
                total = nn.functional.mse_loss(outputs, y)
                total.backward()
                state = after.detach() if by == "bptt" else None
            optimizer.step()
            loss = float(total.detach())
        yield Window(number, times, y.flatten().tolist(), said.flatten().tolist(), loss)


def show(out: Path, seed: int, ways: Sequence[str] = ("bptt", "rtrl", "ekf")) -> dict[str, float]:
    """Learn in each way, drawn live in the terminal, and write the picture; return the last ten windows' mean loss.

    out: a file that ends in .gif, which shows the learning, or in .png, which shows its end.
    """
    if out.suffix not in (".gif", ".png"):
        raise ArgumentError(f"expected a file name that ends in .gif or .png, got {out.name!r}")
    first = [2 * math.pi * k / 99 for k in range(100)]
    console.print("sine (in) and cosine (wanted) on 0 .. 2π:")
    console.print(_dots([[(t, math.sin(t)) for t in first], [(t, math.cos(t)) for t in first]], ("blue", "red")))
    seen: dict[str, list[Window]] = {}
    for way in ways:
        done: list[Window] = []
        with Live(console=console, refresh_per_second=12, transient=False) as live:
            for made in learn(way, seed):
                done.append(made)
                live.update(Group(Text(f"{way}  window {made.number + 1:3}  loss {made.loss:.4f}"), _terminal(done)))
        seen[way] = done
    count = len(next(iter(seen.values())))
    if out.suffix == ".gif":
        frames = [_frame({w: ws[: k + 1] for w, ws in seen.items()}) for k in range(0, count, 2)]
        out.write_bytes(gif([*frames, *[frames[-1]] * 15]))
    else:
        out.write_bytes(_frame(seen).png())
    return {way: sum(w.loss for w in done[-10:]) / 10 for way, done in seen.items()}


def _terminal(done: Sequence[Window]) -> Text:
    shown = done[-_SHOWN:]
    start = shown[0].times[0]
    wanted = [(t - start, y) for w in shown for t, y in zip(w.times, w.wanted, strict=True)]
    said = [(t - start, y) for w in shown for t, y in zip(w.times, w.said, strict=True)]
    return _dots([wanted, said], ("red", "blue"))


def _dots(curves: Sequence[Sequence[tuple[float, float]]], colours: Sequence[str]) -> Text:
    """Lay curves of dots over one another, each in its colour; a letter belongs to the last curve in it."""
    drawn, _, _ = draw_dots(curves, 60, 8, max(x for curve in curves for x, _ in curve))
    text = Text()
    for lines in zip(*drawn, strict=True):
        for letters in zip(*lines, strict=True):
            which = max((k for k, letter in enumerate(letters) if letter != " "), default=None)
            text.append(" " if which is None else letters[which], None if which is None else colours[which])
        text.append("\n")
    return text


def _frame(seen: dict[str, list[Window]]) -> Raster:
    """Draw the last windows of each way, side by side: wanted in red, said in blue, the loss so far below."""
    wide, high, gap = 240, 150, 16
    raster = Raster(len(seen) * (wide + gap) + gap, 2 * (high + gap) + gap)
    for k, done in enumerate(seen.values()):
        left, shown = gap + k * (wide + gap), done[-_SHOWN:]
        start, length = shown[0].times[0], len(shown) * math.pi
        for row in (0, 1):
            top = gap + row * (high + gap)
            corners = [(left, top), (left + wide, top), (left + wide, top + high), (left, top + high), (left, top)]
            raster.curve(corners, 1, 1)
        for values, colour in (([w.wanted for w in shown], 2), ([w.said for w in shown], 3)):
            flat = [v for part in values for v in part]
            times = [t for w in shown for t in w.times]
            raster.curve(
                [
                    (left + wide * (t - start) / length, gap + high / 2 - max(-1.2, min(1.2, v)) * high / 2.5)
                    for t, v in zip(times, flat, strict=True)
                ],
                colour,
            )
        bottom = gap + 2 * high + gap
        raster.curve([(left + wide * w.number / 100, bottom - min(w.loss, 1.0) * high) for w in done], 4)
    return raster
