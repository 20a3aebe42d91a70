"""Training several cells side by side: same data, same options, same seeds."""

from __future__ import annotations

import signal
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recurra.core.errors import ArgumentError, FolderError
from recurra.drawing import Band, curves_svg
from recurra.learning import ModelFolder, Progress, TrainerOptions
from recurra.tasks.contract.task import Task
from recurra.tasks.contract.training import train

__all__ = ["Contestant", "compare", "comparison_markdown", "comparison_svg"]


@dataclass(frozen=True)
class Contestant:
    """One cell's runs: parameters, and for each seed the best validation loss, the speed and the validation curve."""

    name: str
    parameters: int
    scores: dict[int, float]
    tokens_a_second: float
    curves: dict[int, list[tuple[float, float]]]

    @property
    def mean(self) -> float:
        """The mean score over the seeds."""
        return statistics.fmean(self.scores.values())

    @property
    def spread(self) -> float:
        """The standard deviation of the score over the seeds; 0 for one seed."""
        return statistics.stdev(self.scores.values()) if len(self.scores) > 1 else 0.0


def compare(
    task: type[Task],
    name: str,
    options: Any,
    training: TrainerOptions,
    data: Sequence[Path],
    out: Path,
    *,
    cells: Sequence[str],
    seeds: int,
    overwrite: bool = False,
    progress: Callable[[str], Progress] | None = None,
) -> list[Contestant]:
    """Train the task once for every cell and seed, each in a folder of its own below `out`.

    Seeds are training.seed, training.seed + 1, ...; they go round in the outer loop, so that all cells have met
    the same conditions if the comparison is cut short. progress: label of a run -> where it reports.
    """
    _refuse(cells, out, overwrite)
    found: dict[str, list[tuple[int, float, float, list[tuple[float, float]], int]]] = {cell: [] for cell in cells}
    for seed in range(training.seed, training.seed + seeds):
        for cell in cells:
            label = f"{_name(cell)}-seed{seed}"
            run = train(
                task,
                name,
                replace(options, cell=cell),
                replace(training, seed=seed),
                data,
                out / label,
                overwrite=overwrite,
                progress=progress(label) if progress else None,
            )
            if run.result.interrupted_by is not None:
                # The trainer took it to save the run; the comparison ends by it all the same.
                signal.raise_signal(run.result.interrupted_by)
            rows = ModelFolder.open(out / label).read_metrics()
            curve = [(float(row["step"]), float(row["val_loss"])) for row in rows if "val_loss" in row]
            size = sum(p.numel() for p in run.model.network.parameters())
            speed = run.result.tokens / max(run.result.elapsed_seconds, 1e-9)
            found[cell].append((seed, float(run.result.best_val_loss or curve[-1][1]), speed, curve, size))
    return [
        Contestant(
            name=_name(cell),
            parameters=runs[0][4],
            scores={seed: score for seed, score, *_ in runs},
            tokens_a_second=statistics.median(speed for _, _, speed, _, _ in runs),
            curves={seed: curve for seed, _, _, curve, _ in runs},
        )
        for cell, runs in found.items()
    ]


def comparison_markdown(contestants: Sequence[Contestant]) -> str:
    """Return the table, best first, every seed shown."""
    lines = [
        "| cell | parameters | tokens a second | validation loss (nats a token) | ± over seeds | every seed |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for c in sorted(contestants, key=lambda c: c.mean):
        seeds = ", ".join(f"{seed}: {score:.4f}" for seed, score in c.scores.items())
        lines.append(
            f"| {c.name} | {c.parameters:,} | {c.tokens_a_second:,.0f} | {c.mean:.4f} | {c.spread:.4f} | {seeds} |"
        )
    return "\n".join(lines) + "\n"


def comparison_svg(contestants: Sequence[Contestant]) -> str:
    """Return the picture: the mean validation curve of each cell, in a band over its seeds."""
    return curves_svg(
        {c.name: _band(list(c.curves.values())) for c in contestants},
        title="Validation loss",
        x_label="step",
        y_label="nats a token",
    )


def _name(cell: str) -> str:
    return cell.rpartition(":")[2]


def _refuse(cells: Sequence[str], out: Path, overwrite: bool) -> None:
    """Refuse, before the first run, what the last one would fall over."""
    names = [_name(cell) for cell in cells]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ArgumentError(f"expected cells of different names, got {twice!r} twice: compare each cell once")
    there = next((path for name in names for path in sorted(out.glob(f"{name}-seed*/config.json"))), None)
    if there is not None and not overwrite:
        raise FolderError(f"{there.parent} already holds a model: give --overwrite, or another --out")


def _band(curves: Sequence[Sequence[tuple[float, float]]]) -> Band:
    """Return the mean curve of several seeds between their smallest and largest values, at the steps they share."""
    values = [dict(curve) for curve in curves]
    steps = sorted(set[float].intersection(*(set(v) for v in values)))
    columns = [(step, [v[step] for v in values]) for step in steps]
    return Band(
        middle=[(step, statistics.fmean(column)) for step, column in columns],
        low=[(step, min(column)) for step, column in columns],
        high=[(step, max(column)) for step, column in columns],
    )
