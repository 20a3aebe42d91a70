"""`recurra predict MODEL`: a model's answer for each line of text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.models import load_language_model
from recurra.data.text import decode_text, read_documents

__all__ = ["predict", "register"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(predict)


def predict(
    model: Annotated[Path, typer.Argument(help="the model folder")],
    file: Annotated[Path | None, typer.Argument(help="text, one line a piece; standard input if not given")] = None,
    text: Annotated[list[str] | None, typer.Option(help="a line given here; may be repeated")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line, with every token")] = False,
    cell: Annotated[str | None, typer.Option(help="FILE.py:Class, if the model was trained with your own cell")] = None,
) -> None:
    """Score lines of text: log-probability in nats, in all and a token; the likelier line is the more grammatical."""
    loaded = load_language_model(model, cell)
    lines = text or _lines(file)
    for number, line in enumerate(lines):
        score = loaded.predict(line)
        if number == 0 and not as_json:
            sys.stdout.write("     total  a token  line\n")
        if as_json:
            content = {
                "text": line,
                "total": score.total,
                "mean": score.mean,
                "tokens": score.tokens,
                "log_probabilities": score.log_probabilities,
            }
            sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
        else:
            sys.stdout.write(f"{score.total:10.3f} {score.mean:8.3f}  {line}\n")


def _lines(file: Path | None) -> list[str]:
    if file is not None:
        content = "\n".join(document.text for document in read_documents([file]))
    else:
        content = decode_text("standard input", sys.stdin.buffer.read())
    return [line for line in content.split("\n") if line]
