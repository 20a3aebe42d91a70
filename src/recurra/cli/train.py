"""`recurra train TASK`: learn from files, into a model folder."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from recurra import tasks
from recurra.cli.flags import given_flags, option_fields, with_options
from recurra.cli.report import print_result
from recurra.core import Cell
from recurra.core.errors import ArgumentError, CorruptError
from recurra.learning import ModelFolder, RichProgress, TrainerOptions
from recurra.tasks.contract import Task, choose_cell, recall_cell, train

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
) -> None:
    """Train the task called `name` and say how it went; exits with 128 plus the signal where one stopped it.

    values: fields of the task's options and of `TrainerOptions`. given: the flags that the user gave; when a run is
    resumed, all others are taken from its folder.
    """
    if resume and overwrite:
        raise ArgumentError("expected --resume or --overwrite, got both: the first goes on, the second begins anew")
    task = tasks.get(name)
    if resume and (out / "config.json").exists():
        values, data = _recall(out, name, values, data, given)
    options = task.options_type(**{key: values[key] for key in option_fields(task.options_type)})
    training = TrainerOptions(**{key: values[key] for key in option_fields(TrainerOptions)})
    run = train(task, name, options, training, data, out, resume=resume, overwrite=overwrite, progress=RichProgress())
    print_result(run, out, f"recurra train {name} --out {out} --resume")
    if run.result.interrupted_by is not None:
        sys.exit(128 + run.result.interrupted_by)


def _command(name: str, task: type[Task]) -> Any:
    def command(
        context: typer.Context,
        out: Annotated[Path, typer.Option(help="the model folder to write")],
        data: Annotated[list[Path] | None, typer.Option(help="files or folders to learn from")] = None,
        resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the model in --out")] = False,
        *,
        values: dict[str, Any],
    ) -> None:
        train_task(name, values, data or [], out, resume=resume, overwrite=overwrite, given=given_flags(context))

    return with_options(command, task.options_type, TrainerOptions)


def _recall(
    out: Path, name: str, values: dict[str, Any], data: list[Path], given: Collection[str]
) -> tuple[dict[str, Any], list[Path]]:
    """Take what was not given on the command line from the run that is to go on."""
    config = ModelFolder.open(out).read_config(name)
    stored = {**_section(config, "options", out), **_section(config, "training", out)}
    if "cell" not in given:
        recall_cell(config.get("cell"))  # A cell of the user's own must be given again: this says so.
    given = set(given) | ({"steps", "epochs"} if {"steps", "epochs"} & set(given) else set())
    merged = {key: values[key] if key in given else stored.get(key, values[key]) for key in values}
    files = config.get("files")
    return merged, data or [Path(str(file)) for file in files if isinstance(files, list)] if files else data


def _section(config: dict[str, Any], key: str, out: Path) -> dict[str, Any]:
    section = config.get(key)
    if not isinstance(section, dict):
        raise CorruptError(f"{out}/config.json has no {key!r}: it is damaged or foreign")
    return section


def _first_line(task: type[Task]) -> str:
    return (sys.modules[task.__module__].__doc__ or "").strip().splitlines()[0]


def own_cells(spec: str | None) -> list[type[Cell]]:
    """Return the user's own cell that `--cell FILE.py:Class` names, as a list of none or one."""
    return [choose_cell(spec).cell] if spec is not None and ".py:" in spec else []
