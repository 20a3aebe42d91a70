"""Showing how training goes: what the trainer tells, silence, and a bar for people at a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBar
from rich.table import Column
from rich.text import Text

__all__ = ["Progress", "RichProgress", "SilentProgress"]


class Progress(Protocol):
    """What the trainer tells while it runs. It prints nothing by itself."""

    def started(self, step: int, total: int) -> None:
        """Training begins after `step` of `total` steps."""
        ...

    def stepped(self, step: int, epoch: int, loss: float, tokens: int) -> None:
        """One step was made, in epoch `epoch` (from 1), with this loss (nats a token) over so many tokens."""
        ...

    def validated(self, step: int, metrics: Mapping[str, float], sample: Callable[[], str | None]) -> None:
        """The model was validated; `sample()` makes something to look at, and costs time only if called."""
        ...

    def note(self, message: str) -> None:
        """Something that the user should know, in one line."""
        ...

    def finished(self) -> None:
        """Training is over, for whatever reason."""
        ...


class SilentProgress:
    """Tells nobody."""

    def started(self, step: int, total: int) -> None:
        """Say nothing."""

    def stepped(self, step: int, epoch: int, loss: float, tokens: int) -> None:
        """Say nothing."""

    def validated(self, step: int, metrics: Mapping[str, float], sample: Callable[[], str | None]) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""

    def finished(self) -> None:
        """Say nothing."""


class RichProgress:
    """A bar with loss, validation loss, speed, time left and memory, and the newest sample under it.

    Where the console is no terminal there is no bar: a plain line at each validation, and the notes.
    keep_samples: print every sample, so that one sees them improve, terminal or not.
    """

    def __init__(self, console: Console | None = None, *, keep_samples: bool = False) -> None:
        self.console = console or Console(stderr=True)
        self._keep_samples = keep_samples
        self._bar = RichBar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("val {task.fields[val]}"),
            _SpeedColumn(Column(no_wrap=True)),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[memory]}"),
            console=self.console,
            auto_refresh=False,
        )
        self._task = self._bar.add_task("train", total=None, epoch=1, loss="–", val="–", memory="", speed=0.0)
        self._live: Live | None = None
        self._total = 0
        self._loss: float | None = None
        self._tokens = 0
        self._began = time.monotonic()

    def started(self, step: int, total: int) -> None:
        """Show the bar."""
        self._total, self._tokens, self._began = total, 0, time.monotonic()
        self._bar.reset(self._task, total=total, completed=step)
        if self.console.is_terminal:
            self._live = Live(self._render(None), console=self.console, refresh_per_second=8, transient=False)
            self._live.start()

    def stepped(self, step: int, epoch: int, loss: float, tokens: int) -> None:
        """Move the bar; the loss shown is smoothed."""
        self._loss = loss if self._loss is None else 0.95 * self._loss + 0.05 * loss
        self._tokens += tokens
        self._bar.update(
            self._task, completed=step, epoch=epoch, loss=f"{self._loss:.3f}", speed=self._speed(), memory=_memory()
        )

    def validated(self, step: int, metrics: Mapping[str, float], sample: Callable[[], str | None]) -> None:
        """Show the validation loss, and a sample under the bar."""
        val_loss = metrics["val_loss"]
        self._bar.update(self._task, val=f"{val_loss:.3f}")
        if self._live is None:
            loss = "" if self._loss is None else f"loss {self._loss:.3f}, "
            speed = f"{self._speed():,.0f} tokens/s"
            self._print(f"step {step}/{self._total}: {loss}val_loss {val_loss:.4f}, {speed}")
        if self._keep_samples:
            self._print(f"after step {step}:\n{sample() or ''}\n")
        elif self._live is not None:
            self._live.update(self._render(sample()), refresh=True)

    def note(self, message: str) -> None:
        """Print the message above the bar."""
        self._print(message)

    def finished(self) -> None:
        """Leave the bar as it stands."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _render(self, sample: str | None) -> RenderableType:
        if not sample:
            return self._bar
        return Group(self._bar, Text(sample, style="dim"))

    def _print(self, message: str) -> None:
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def _speed(self) -> float:
        return self._tokens / max(1e-9, time.monotonic() - self._began)


class _SpeedColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.fields['speed']:,.0f} tokens/s")


def _memory() -> str:
    """Return the memory in use: the GPU's if there is one in use, the process's otherwise."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return f"{torch.cuda.memory_allocated() / 2**20:,.0f} MiB"
    if sys.platform == "linux":
        with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/statm") as file:
            return f"{int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20:,.0f} MiB"
    return ""
