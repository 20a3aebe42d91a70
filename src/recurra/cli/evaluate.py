"""`recurra evaluate MODEL`: measure a model beside simple baselines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.models import load_model
from recurra.cli.report import print_metrics

__all__ = ["evaluate", "register"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[Path, typer.Argument(help="the model folder")],
    data: Annotated[list[Path] | None, typer.Option(help="other files to measure on, all of them")] = None,
    part: Annotated[str, typer.Option(help="without --data: validation, test or train")] = "validation",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    cell: Annotated[str | None, typer.Option(help="FILE.py:Class, if the model was trained with your own cell")] = None,
) -> None:
    """Measure a model on the part of its text that it never learned from, or on other text."""
    metrics = load_model(model, cell).evaluate(data, part=part)
    if as_json:
        sys.stdout.write(json.dumps(metrics) + "\n")
    else:
        print_metrics(metrics)
