"""`recurra generate MODEL`: let a language model write, one token after another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.models import load_language_model

__all__ = ["generate", "register"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(generate)


def generate(
    model: Annotated[Path, typer.Argument(help="the model folder")],
    prompt: Annotated[str, typer.Option(help="text to go on from")] = "",
    length: Annotated[int, typer.Option(help="tokens to write at most")] = 500,
    temperature: Annotated[
        float, typer.Option(help="above 1 is wilder, below 1 is tamer, 0 takes the likeliest")
    ] = 1.0,
    top_k: Annotated[int, typer.Option(help="draw only among the k likeliest tokens; 0: all")] = 0,
    top_p: Annotated[float, typer.Option(help="draw only among the likeliest that make up this probability")] = 1.0,
    repetition_penalty: Annotated[
        float, typer.Option(help="above 1 shuns tokens that were written before or stand in the prompt; 1: off")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="seed of the draws")] = 0,
    stop: Annotated[str | None, typer.Option(help="end where this text appears")] = None,
    cell: Annotated[str | None, typer.Option(help="FILE.py:Class, if the model was trained with your own cell")] = None,
) -> None:
    """Write text, streaming to the terminal."""
    loaded = load_language_model(model, cell)
    written = loaded.generate(
        prompt, length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, stop=stop or None,
        repetition_penalty=repetition_penalty,
    )  # fmt: skip
    sys.stdout.write(prompt)
    for piece in written:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
