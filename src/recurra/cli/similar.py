"""`recurra similar MODEL WORD`: the words whose vectors are nearest."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.models import load_model
from recurra.tasks.text import vectors_of

__all__ = ["register", "similar"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(similar)


def similar(
    model: Annotated[Path, typer.Argument(help="the folder of a model with word vectors")],
    words: Annotated[list[str], typer.Argument(help="one word or several")],
    n: Annotated[int, typer.Option("--n", "-n", help="how many neighbours")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a word")] = False,
    cell: Annotated[str | None, typer.Option(help="FILE.py:Class, if the model was trained with your own cell")] = None,
) -> None:
    """Name the words nearest to a word, by the cosine of their vectors.

    Any model with a vector for each word will do: of recurra train embeddings, of a tagger, a classifier, or a language
    model.
    """
    vectors = vectors_of(load_model(model, cell))
    for word in words:
        found = vectors.near(word, n)
        if as_json:
            content = {"word": word, "neighbours": [neighbour._asdict() for neighbour in found]}
            sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
        else:
            sys.stdout.write("".join(f"{word}\t{other}\t{cosine:.3f}\n" for other, cosine in found))
