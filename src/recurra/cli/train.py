"""`recurra train TASK`: learn from files, into a model folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from recurra import tasks
from recurra.cli.flags import given_flags, option_fields, with_options
from recurra.cli.progress import ProgressFlag, make_progress
from recurra.cli.report import print_result
from recurra.core.errors import ArgumentError
from recurra.learning import ModelFolder, Progress, RichProgress, TrainerOptions
from recurra.tasks.contract import Task, read_options, recall_cell, train

__all__ = ["register", "train_task"]


def register(app: typer.Typer) -> None:
    """Add one command for each task."""
    group = typer.Typer(help="Train a model on your files.", no_args_is_help=True)
    for name in tasks.names():
        group.command(name, help=_first_line(tasks.get(name)))(_command(name, tasks.get(name)))
    app.add_typer(group, name="train")


def train_task(
    name: str,
    values: dict[str, Any],
    data: list[Path],
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    given: Collection[str] = (),
    progress: Progress | None = None,
) -> None:
    """Train the task called `name` and say how it went; exits with 128 plus the signal where one stopped it.

    values: fields of the task's options and of `TrainerOptions`. given: the flags that the user gave; when a run is
    resumed, all others are taken from its folder.
    """
    if resume and overwrite:
        raise ArgumentError("expected --resume or --overwrite, got both: the first goes on, the second begins anew")
    task = tasks.get(name)
    if resume and ((out / "config.json").exists() or not (out / "checkpoints").is_dir()):
        values, data = _recall(out, name, values, data, given)
    options = task.options_type(**{key: values[key] for key in option_fields(task.options_type)})
    training = TrainerOptions(**{key: values[key] for key in option_fields(TrainerOptions)})
    run = train(
        task,
        name,
        options,
        training,
        data,
        out,
        resume=resume,
        overwrite=overwrite,
        progress=progress or RichProgress(),
    )
    cell = ["--cell", values["cell"]] if ".py:" in values.get("cell", "") else []
    print_result(run, out, shlex.join(["recurra", "train", name, "--out", str(out), *cell, "--resume"]))
    if run.result.interrupted_by is not None:
        sys.exit(128 + run.result.interrupted_by)


def _command(name: str, task: type[Task]) -> Any:
    def command(
        context: typer.Context,
        out: Annotated[Path, typer.Option(help="the model folder to write")],
        data: Annotated[list[Path] | None, typer.Option(help="files or folders to learn from")] = None,
        resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the model in --out")] = False,
        progress: ProgressFlag = "auto",
        *,
        values: dict[str, Any],
    ) -> None:
        train_task(
            name, values, data or [], out, resume=resume, overwrite=overwrite, given=given_flags(context),
            progress=make_progress(progress),
        )  # fmt: skip

    return with_options(command, task.options_type, TrainerOptions)


def _recall(
    out: Path, name: str, values: dict[str, Any], data: list[Path], given: Collection[str]
) -> tuple[dict[str, Any], list[Path]]:
    """Take what was not given on the command line from the run that is to go on."""
    config = ModelFolder.open(out).read_config(name)
    stored = {
        **asdict(read_options(tasks.get(name).options_type, config.get("options"), f"{out}/config.json")),
        **asdict(read_options(TrainerOptions, config.get("training"), f"{out}/config.json")),
    }
    if "cell" in values and "cell" not in given:
        # A cell of the user's own must be given again: this says so. Nothing else in the folder may name one.
        stored["cell"] = recall_cell(config.get("cell")).record["name"]
    given = set(given) | ({"steps", "epochs"} if {"steps", "epochs"} & set(given) else set())
    merged = {key: values[key] if key in given else stored.get(key, values[key]) for key in values}
    files = config.get("files")
    return merged, data or [Path(str(file)) for file in (files if isinstance(files, list) else [])]


def _first_line(task: type[Task]) -> str:
    return (sys.modules[task.__module__].__doc__ or "").strip().splitlines()[0]
