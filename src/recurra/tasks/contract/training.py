"""A training run of any task into a model folder: fresh, or resumed."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recurra.core import Cell
from recurra.core.errors import DataError
from recurra.drawing import curves_svg
from recurra.learning import ModelFolder, Progress, Result, Trainer, TrainerOptions
from recurra.learning.files import write_atomically
from recurra.learning.penalties import Penalties
from recurra.tasks.contract.finishing import Finishing
from recurra.tasks.contract.task import Task

__all__ = ["TrainingRun", "draw_learning_curve", "train"]


@dataclass(frozen=True)
class TrainingRun:
    """What a run gave: the model with its best weights, how the run ended, and the metrics of those weights."""

    model: Task
    result: Result
    metrics: dict[str, float]


def train(
    task: type[Task],
    name: str,
    options: Any,
    training: TrainerOptions,
    data: Sequence[Path],
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    cells: Sequence[type[Cell]] = (),
    progress: Progress | None = None,
) -> TrainingRun:
    """Train a task on some files and write the model folder `out`.

    name: the task's registered name; options: an instance of `task.options_type`; resume: go on with the run in `out`;
    overwrite: replace the model in `out`. Data and options are checked before anything is written.
    """
    if not data:
        raise DataError("expected files or folders to learn from, got none: give --data")
    model = task.prepare(options, data, seed=training.seed, cells=cells)
    trainable = model.trainable()
    Penalties(trainable, training)  # refuses what does not fit before anything is written
    config = {**model.config, "training": asdict(training)}
    with _open(out, resume, overwrite) as (folder, begun):
        trainer = Trainer(
            trainable,
            folder,
            training,
            fingerprint={"task": name, **{key: value for key, value in model.config.items() if key != "files"}},
            progress=progress,
        )
        if begun:
            trainer.check()
        # Also when a run goes on: it may have been lengthened, and whoever resumes it next must find that here.
        model.save(folder)
        folder.write_config(name, config)
        result = trainer.run(resume=begun)
        draw_learning_curve(folder)
        if result.interrupted_by is not None:
            return TrainingRun(model, result, {})
        weights, _ = folder.read_model()
        model.network.load_state_dict(weights)
        model.network.eval()
        if isinstance(model, Finishing):
            model.finish()
            model.save(folder)
        metrics = model.evaluate()
        folder.write_readme(model.describe(metrics))
    return TrainingRun(model, result, metrics)


def draw_learning_curve(folder: ModelFolder) -> None:
    """Write `learning-curve.svg` from metrics.jsonl, if there is anything in it."""
    rows = folder.read_metrics()
    curves = {
        label: [(row["step"], row[key]) for row in rows if key in row]
        for label, key in (("training", "loss"), ("validation", "val_loss"))
    }
    drawn = {label: points for label, points in curves.items() if points}
    if drawn:
        picture = curves_svg(drawn, title="Learning curve", x_label="step", y_label="nats a token")
        write_atomically(folder.path / "learning-curve.svg", picture.encode())


@contextlib.contextmanager
def _open(out: Path, resume: bool, overwrite: bool) -> Generator[tuple[ModelFolder, bool]]:
    """Give the locked folder, and whether a run was begun in it that is to go on.

    config.json is the last file that the start of a run writes: a folder without it was killed before that, and its run
    begins anew.
    """
    begun = resume and not ((out / "checkpoints").is_dir() and not (out / "config.json").exists())
    with ModelFolder.resume(out) if begun else ModelFolder.create(out, overwrite=overwrite) as folder:
        yield folder, begun
