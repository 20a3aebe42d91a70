"""`recurra segment MODEL`: cut standard input into words, line by line, as it comes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.models import load_model
from recurra.cli.standard_input import input_lines
from recurra.core.errors import ArgumentError
from recurra.tasks.tagging import Tagging

__all__ = ["register", "segment"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(segment)


def segment(
    model: Annotated[Path, typer.Argument(help="the folder of a tagger that learned words")],
    n_best: Annotated[int, typer.Option(help="so many ways to cut a line, the most probable first")] = 1,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="say how probable each word is")] = False,
    cell: Annotated[str | None, typer.Option(help="FILE.py:Class, if the model was trained with your own cell")] = None,
) -> None:
    """Read lines from standard input and write them with blanks between words, each as soon as it was read."""
    loaded = load_model(model, cell)
    if not isinstance(loaded, Tagging) or not loaded.segments:
        raise ArgumentError(f"expected a model that cuts text into words, got {model}: train one on segmented text")
    if n_best < 1:
        raise ArgumentError(f"n_best must be at least 1, got {n_best}")
    for line in input_lines():
        if n_best == 1:
            sys.stdout.write(loaded.render(loaded.predict(line), "text", probabilities=probabilities))
        else:
            for found, p in loaded.alternatives(line, n_best):
                sys.stdout.write(f"{p:.4f}\t{loaded.render(found, 'text', probabilities=probabilities)}")
        sys.stdout.flush()
