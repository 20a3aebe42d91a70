"""`recurra demo`: train a small language model on the bundled Shakespeare, and watch it learn to write."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.report import console
from recurra.cli.train import train_task
from recurra.data.samples import sample_path
from recurra.learning import RichProgress, TrainerOptions
from recurra.tasks.language_model import LanguageModelOptions

__all__ = ["demo", "register"]

_SHOWN = 4


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(demo)


def demo(
    out: Annotated[Path, typer.Option(help="the model folder to write")] = Path("demo-model"),
    steps: Annotated[int, typer.Option(help="updates to make")] = 800,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the model in --out")] = False,
) -> None:
    """Learn to write like Shakespeare, character by character, in about two minutes on two cores."""
    console.print(f"Learning from {sample_path('shakespeare').name}: nine plays, one character after another.")
    options = LanguageModelOptions()
    training = TrainerOptions(
        steps=steps, learning_rate=0.01, validate_every=max(steps // _SHOWN, 1), schedule="cosine"
    )
    values = {**asdict(options), **asdict(training)}
    progress = RichProgress(keep_samples=True)
    train_task("language-model", values, [sample_path("shakespeare")], out, overwrite=overwrite, progress=progress)
    console.print("Then try:")
    for line in (
        f'recurra generate {out} --prompt "ROMEO." --temperature 0.8',
        f"recurra evaluate {out}",
        f'recurra predict {out} --text "To be, or not to be" --text "be not or, be to To"',
        f"recurra train language-model --out {out} --resume --steps {2 * steps}",
    ):
        console.print(f"  {line}", soft_wrap=True)
