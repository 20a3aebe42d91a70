"""Showing how training goes: what the trainer tells, silence, lines for programs, and a live view at a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TextIO

import torch
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBar
from rich.table import Column
from rich.text import Text

from recurra.learning.terminal_curve import History, draw_dots

__all__ = ["JsonProgress", "Progress", "RichProgress", "SilentProgress"]


class Progress(Protocol):
    """What the trainer tells while it runs. It prints nothing by itself."""

    def started(self, step: int, total: int) -> None:
        """Training begins after `step` of `total` steps."""
        ...

    def stepped(self, step: int, epoch: int, loss: float, tokens: int, norm: float) -> None:
        """One step was made, in epoch `epoch` (from 1), with this loss (nats a token) over so many tokens; norm: of the
        gradient, before it was clipped."""
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

    def stepped(self, step: int, epoch: int, loss: float, tokens: int, norm: float) -> None:
        """Say nothing."""

    def validated(self, step: int, metrics: Mapping[str, float], sample: Callable[[], str | None]) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""

    def finished(self) -> None:
        """Say nothing."""


class RichProgress:
    """A live view: the learning curve, a bar with loss, validation loss, gradient norm, speed, time left and memory,
    and the newest sample.

    Where the console is no terminal nothing moves: a plain line at each validation, and the notes.
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
            TextColumn("|g| {task.fields[norm]}"),
            _SpeedColumn(Column(no_wrap=True)),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[memory]}"),
            console=self.console,
            auto_refresh=False,
        )
        self._task = self._bar.add_task("train", total=None, epoch=1, loss="–", val="–", norm="–", memory="", speed=0.0)
        self._live: Live | None = None
        self._total = 0
        self._sample: str | None = None
        self._loss: float | None = None
        self._curve, self._validations = History(), History()
        self._tokens = 0
        self._began = time.monotonic()

    def started(self, step: int, total: int) -> None:
        """Show the bar."""
        self._total, self._tokens, self._began = total, 0, time.monotonic()
        self._bar.reset(self._task, total=total, completed=step)
        if self.console.is_terminal:
            self._live = Live(_View(self), console=self.console, refresh_per_second=4, transient=False)
            self._live.start()

    def stepped(self, step: int, epoch: int, loss: float, tokens: int, norm: float) -> None:
        """Move the bar; the loss shown is smoothed."""
        self._loss = loss if self._loss is None else 0.95 * self._loss + 0.05 * loss
        self._tokens += tokens
        self._curve.add(step, self._loss)
        self._bar.update(
            self._task, completed=step, epoch=epoch, loss=f"{self._loss:.3f}", norm=f"{norm:.2g}",
            speed=self._speed(), memory=_memory(),
        )  # fmt: skip

    def validated(self, step: int, metrics: Mapping[str, float], sample: Callable[[], str | None]) -> None:
        """Show the validation loss, and a sample under the bar."""
        val_loss = metrics["val_loss"]
        self._bar.update(self._task, val=f"{val_loss:.3f}")
        self._validations.add(step, val_loss)
        if self._live is None:
            loss = "" if self._loss is None else f"loss {self._loss:.3f}, "
            speed = f"{self._speed():,.0f} tokens/s"
            self._print(f"step {step}/{self._total}: {loss}val_loss {val_loss:.4f}, {speed}")
        if self._keep_samples:
            self._print(f"after step {step}:\n{sample() or ''}\n")
        elif self._live is not None:
            self._sample = sample()
            self._live.refresh()

    def note(self, message: str) -> None:
        """Print the message above the bar."""
        self._print(message)

    def finished(self) -> None:
        """Leave the bar as it stands."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def render(self) -> RenderableType:
        """Return what stands on the screen: the curve, the bar, the sample."""
        parts: list[RenderableType] = []
        if len(self._curve.points) > 1:
            parts.append(self._render_curve())
        parts.append(self._bar)
        if self._sample:
            parts.append(Text(self._sample, style="dim"))
        return Group(*parts)

    def _render_curve(self) -> Text:
        width, height = max(16, min(76, self.console.width - 12)), 7
        curves = [self._curve.points, self._validations.points]
        (training, validation), low, high = draw_dots(curves, width, height, self._total or self._curve.points[-1][0])
        text = Text(no_wrap=True)
        for k, (line, over) in enumerate(zip(training, validation, strict=True)):
            edge = f"{high:.3f}" if k == 0 else f"{low:.3f}" if k == height - 1 else ""
            text.append(f"{edge:>9} ", "dim")
            for own, other in zip(line, over, strict=True):
                text.append(other if other != " " else own, "magenta" if other != " " else "cyan")
            text.append("\n")
        text.append(f"{'loss':>9} ", "dim").append("training ", "cyan").append("validation", "magenta")
        return text

    def _print(self, message: str) -> None:
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def _speed(self) -> float:
        return self._tokens / max(1e-9, time.monotonic() - self._began)


class _View:
    """What the live display asks each time it draws."""

    def __init__(self, progress: RichProgress) -> None:
        self._progress = progress

    def __rich__(self) -> RenderableType:
        return self._progress.render()


class JsonProgress:
    """One JSON object a line, for programs: `{"event": "step", "step": 12, "loss": 2.31, ...}`.

    Events: started (step, total), step (step, epoch, loss, tokens, gradient_norm), validated (step, the metrics, and
    sample where there is one), note (message), finished. Steps are told `every` so many, and the last.
    """

    def __init__(self, stream: TextIO, *, every: int = 1) -> None:
        self._stream = stream
        self._every = every
        self._total = 0

    def started(self, step: int, total: int) -> None:
        """Tell where training begins and ends."""
        self._total = total
        self._tell("started", step=step, total=total)

    def stepped(self, step: int, epoch: int, loss: float, tokens: int, norm: float) -> None:
        """Tell a step."""
        if step % self._every == 0 or step == self._total:
            self._tell("step", step=step, epoch=epoch, loss=loss, tokens=tokens, gradient_norm=norm)

    def validated(self, step: int, metrics: Mapping[str, float], sample: Callable[[], str | None]) -> None:
        """Tell the metrics and a sample."""
        self._tell("validated", step=step, metrics=dict(metrics), sample=sample())

    def note(self, message: str) -> None:
        """Tell the message."""
        self._tell("note", message=message)

    def finished(self) -> None:
        """Tell that it is over."""
        self._tell("finished")

    def _tell(self, event: str, **fields: Any) -> None:
        self._stream.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")
        self._stream.flush()


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
