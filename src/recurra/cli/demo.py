"""`recurra demo`: watch a network learn: to write like Shakespeare, or to say the cosine of a sine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.report import console
from recurra.cli.sin_to_cos import show
from recurra.cli.train import train_task
from recurra.core.errors import ArgumentError
from recurra.data.samples import sample_path
from recurra.learning import RichProgress, TrainerOptions
from recurra.tasks.language_model import LanguageModelOptions

__all__ = ["demo", "register"]

_SHOWN = 4


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(demo)


def demo(
    what: Annotated[str, typer.Argument(help="shakespeare or sin-to-cos")] = "shakespeare",
    out: Annotated[
        Path | None, typer.Option(help="the model folder to write (demo-model), or the picture (sin-to-cos.gif, .png)")
    ] = None,
    steps: Annotated[int, typer.Option(help="updates to make")] = 800,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the model in --out")] = False,
    seed: Annotated[int, typer.Option(help="seed of the weights of sin-to-cos")] = 0,
) -> None:
    """Learn to write like Shakespeare, character by character, in about two minutes on two cores; or, with sin-to-cos,
    to say cosines from sines by three learning rules in a few seconds."""
    if what == "sin-to-cos":
        picture = out or Path("sin-to-cos.gif")
        for way, loss in show(picture, seed).items():
            console.print(f"{way:5} mean squared error of the last ten windows: {loss:.4f}")
        console.print(f"{picture}: truncated BPTT, RTRL, Kalman filter; wanted in red, said in blue, losses below")
        return
    if what != "shakespeare":
        raise ArgumentError(f"expected shakespeare or sin-to-cos, got {what!r}")
    out = out or Path("demo-model")
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
