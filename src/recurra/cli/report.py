"""What the verbs print about a model: tables of metrics, a learning curve in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table

from recurra.learning import ModelFolder
from recurra.tasks.contract import TrainingRun

__all__ = ["console", "print_metrics", "print_result", "sparkline"]

console = Console(highlight=False)
"""Where results go: standard output. Progress and errors go to standard error."""

_BARS = "▁▂▃▄▅▆▇█"


def print_result(run: TrainingRun, out: Path, resume: str) -> None:
    """Say how a training run ended, and how to go on."""
    console.print(run.result.message)
    rows = ModelFolder.open(out).read_metrics()
    losses = [row["loss"] for row in rows if "loss" in row]
    if len(losses) > 1:
        console.print(f"loss  {losses[0]:.3f} {sparkline(losses)} {losses[-1]:.3f}   ({out}/learning-curve.svg)")
    if run.result.interrupted_by is not None:
        console.print(f"go on with: {resume}", soft_wrap=True)
        return
    print_metrics(run.metrics)
    verb = "generate" if hasattr(run.model, "generate") else "predict"
    console.print(f"the model is in {out}: try  recurra {verb} {out}", soft_wrap=True)


def print_metrics(metrics: Mapping[str, float]) -> None:
    """Print metrics as a table."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in metrics.items():
        table.add_row(name.replace("_", " "), f"{value:,.0f}" if value.is_integer() else f"{value:,.4f}")
    console.print(table)


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Return a curve as one line of block characters, each the mean of its share of the values."""
    if not values:
        return ""
    width = min(width, len(values))
    edges = [round(i * len(values) / width) for i in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((m - low) * scale)] for m in means)
