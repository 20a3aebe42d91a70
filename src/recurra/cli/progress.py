"""How a verb that trains shows what it does: live, in plain lines, as JSON, or not at all."""

from __future__ import annotations

import sys
from typing import Annotated, TypeAlias

import typer
from rich.console import Console

from recurra.core.errors import ArgumentError
from recurra.learning import JsonProgress, Progress, RichProgress, SilentProgress

__all__ = ["ProgressFlag", "make_progress"]

ProgressFlag: TypeAlias = Annotated[
    str, typer.Option("--progress", help="auto (live at a terminal, plain lines elsewhere), plain, json, quiet")
]


def make_progress(kind: str, *, keep_samples: bool = False) -> Progress:
    """Return what `--progress KIND` means. All of it goes to standard error."""
    match kind:
        case "auto":
            return RichProgress(keep_samples=keep_samples)
        case "plain":
            console = Console(stderr=True, force_terminal=False, no_color=True)
            return RichProgress(console, keep_samples=keep_samples)
        case "json":
            return JsonProgress(sys.stderr)
        case "quiet":
            return SilentProgress()
        case _:
            raise ArgumentError(f"expected --progress to be auto, plain, json or quiet, got {kind!r}")
