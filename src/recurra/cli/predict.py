"""`recurra predict MODEL`: a model's answer for each line of text, as soon as the line is there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.models import load_language_model, load_model
from recurra.cli.standard_input import check_length, input_lines
from recurra.core.errors import ArgumentError, DataError
from recurra.data.text import read_documents
from recurra.tasks.contract import Rendering

__all__ = ["predict", "register"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(predict)


def predict(
    model: Annotated[Path, typer.Argument(help="the model folder")],
    file: Annotated[Path | None, typer.Argument(help="text, one line a piece; standard input if not given")] = None,
    text: Annotated[list[str] | None, typer.Option(help="a line given here; may be repeated")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line, with every token")] = False,
    form: Annotated[str | None, typer.Option("--as", help="of a tagger: text, jsonl, conll or table")] = None,
    cell: Annotated[str | None, typer.Option(help="FILE.py:Class, if the model was trained with your own cell")] = None,
) -> None:
    """Give a model's answer for each line, as soon as it was read: tags, a class, or how likely it is.

    A language model tells the log-probability in nats, in all and a token: the likelier line is the more grammatical.
    """
    answering = load_model(model, cell)
    if isinstance(answering, Rendering):
        _answer(answering, form or ("jsonl" if as_json else answering.forms[0]), text or _lines(file))
        return
    if form is not None:
        raise ArgumentError("--as is of models for tagging and classification; a language model has --json")
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
        sys.stdout.flush()


def _answer(model: Rendering, form: str, lines: Iterable[str]) -> None:
    if form not in model.forms:
        raise ArgumentError(f"--as must be one of {', '.join(model.forms)}, got {form!r}")
    for line in lines:
        sys.stdout.write(model.render(model.predict(line), form))
        sys.stdout.flush()


def _lines(file: Path | None) -> Iterator[str]:
    """Yield the lines that are not empty: of a file, once all of it was found good; of standard input, as they come."""
    if file is None:
        empty = True
        for line in input_lines():
            empty = False
            if line:
                yield line
        if empty:
            raise DataError("standard input: expected text, got none: give a line, or name a file")
        return
    lines = "\n".join(document.text for document in read_documents([file])).split("\n")
    for number, line in enumerate(lines, 1):
        check_length(line, number)
    yield from filter(None, lines)
