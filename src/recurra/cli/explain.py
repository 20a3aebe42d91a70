"""`recurra explain MODEL TEXT`: what each word contributed to the class a text was taken for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from recurra.cli.models import load_model
from recurra.cli.report import console
from recurra.core.errors import ArgumentError
from recurra.learning.files import write_atomically
from recurra.tasks.text.explanation import Explanation, explain, explanations_html
from recurra.tasks.text_classification import TextClassification

__all__ = ["explain_texts", "register"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("explain")(explain_texts)


def explain_texts(
    model: Annotated[Path, typer.Argument(help="the folder of a text classifier")],
    texts: Annotated[list[str], typer.Argument(help="one text or several")],
    method: Annotated[
        Literal["occlusion", "gradients"], typer.Option(help="occlusion: without the word; gradients: integrated ones")
    ] = "occlusion",
    label: Annotated[str | None, typer.Option(help="explain this class instead of the most probable one")] = None,
    html: Annotated[Path | None, typer.Option(help="write a page to this file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a text")] = False,
    cell: Annotated[str | None, typer.Option(help="FILE.py:Class, if the model was trained with your own cell")] = None,
) -> None:
    """Mark in each text what speaks for its class (green) and against it (red), with numbers in nats."""
    loaded = load_model(model, cell)
    if not isinstance(loaded, TextClassification):
        raise ArgumentError(f"expected a text classifier, but {model} holds a model for {loaded.config['task']}")
    found = [explain(loaded, text, method=method, label=label) for text in texts]
    if html is not None:
        write_atomically(html, explanations_html(found).encode())
    for explanation in found:
        if as_json:
            sys.stdout.write(explanation.to_json() + "\n")
        else:
            _print(explanation)


def _print(explanation: Explanation) -> None:
    line = Text(f"{explanation.label} {explanation.probability:.3f}  ")
    for text, contribution in explanation.pieces:
        share = 0.0 if contribution is None else abs(contribution) / (explanation.strongest or 1.0)
        colour = "green" if (contribution or 0) > 0 else "red"
        line.append(text, style="" if share < 0.1 else f"bold {colour}" if share > 0.5 else colour)
    console.print(line, soft_wrap=True)
    for text, contribution in sorted(explanation.pieces, key=lambda p: -abs(p.contribution or 0))[:5]:
        if contribution is not None:
            console.print(Text(f"  {contribution:+8.3f}  {text}"))
