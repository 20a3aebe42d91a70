"""`recurra compare TASK`: several cells side by side, over several seeds; one table and one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from recurra import tasks
from recurra.cli.flags import option_fields, with_options
from recurra.cli.progress import ProgressFlag, make_progress
from recurra.cli.report import console
from recurra.core.errors import ArgumentError
from recurra.learning import Progress, TrainerOptions
from recurra.learning.files import write_atomically
from recurra.tasks.contract import Contestant, Task, choose_cell, compare, comparison_markdown, comparison_svg

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add one command for each task."""
    group = typer.Typer(help="Train several cells side by side.", no_args_is_help=True)
    for name in tasks.names():
        task = tasks.get(name)
        if "cell" not in option_fields(task.options_type):
            continue  # Nothing to compare: it has no cell.
        group.command(name, help=f"Compare cells on the task {name}.")(_command(name, task))
    app.add_typer(group, name="compare")


def _command(name: str, task: type[Task]) -> Any:
    def command(
        cells: Annotated[str, typer.Option(help="cells, with commas between; FILE.py:Class for your own")],
        data: Annotated[list[Path], typer.Option(help="files or folders to learn from")],
        out: Annotated[Path, typer.Option(help="a folder; every run has its own model folder in it")],
        seeds: Annotated[int, typer.Option(help="runs of each cell, with seeds counted up from --seed")] = 3,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="replace models that are there")] = False,
        progress: ProgressFlag = "auto",
        *,
        values: dict[str, Any],
    ) -> None:
        names = [cell.strip() for cell in cells.split(",") if cell.strip()]
        if not names or seeds < 1:
            raise ArgumentError(f"expected at least one cell and one seed, got --cells {cells!r} --seeds {seeds}")
        for cell in names:
            choose_cell(cell)
        make_progress(progress)  # A kind that there is not is refused before anything runs.

        def announce(label: str) -> Progress:
            made = make_progress(progress)
            made.note(label)
            return made

        options = task.options_type(**{k: values[k] for k in option_fields(task.options_type) if k != "cell"})
        training = TrainerOptions(**{k: values[k] for k in option_fields(TrainerOptions)})
        found = compare(
            task,
            name,
            options,
            training,
            data,
            out,
            cells=names,
            seeds=seeds,
            overwrite=overwrite,
            progress=announce,
        )
        write_atomically(out / "comparison.md", comparison_markdown(found).encode())
        write_atomically(out / "comparison.svg", comparison_svg(found).encode())
        _print(found)
        console.print(f"table: {out}/comparison.md   picture: {out}/comparison.svg", soft_wrap=True)

    return with_options(command, task.options_type, TrainerOptions, without=("cell",))


def _print(contestants: list[Contestant]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("cell", "parameters", "tokens/s", "validation loss", "± over seeds"):
        table.add_column(column, justify="left" if column == "cell" else "right")
    for c in sorted(contestants, key=lambda c: c.mean):
        table.add_row(c.name, f"{c.parameters:,}", f"{c.tokens_a_second:,.0f}", f"{c.mean:.4f}", f"{c.spread:.4f}")
    console.print(table)
