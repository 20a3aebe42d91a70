"""Puts the verbs together, runs one, and turns every expected failure into one line."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console

from recurra.core.errors import RecurraError

__all__ = ["main", "make_app", "spread"]

_SEVERAL = ("--data",)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; never returns.

    Exit codes: 0 done; 1 the work failed; 2 the command was wrong; 130 and 143 interrupted by Ctrl-C and SIGTERM.
    """
    code: object = 0
    words = spread(sys.argv[1:] if arguments is None else arguments)
    try:
        code = make_app()(words, prog_name="recurra", standalone_mode=False)
        sys.stdout.flush()
    except RecurraError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        # Whoever read the output has left (`recurra generate ... | head`); keep Python's own flush at exit quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except MemoryError:
        _fail("out of memory: try a smaller --batch-size, --window or --hidden-size", 1)
    except Exception as error:
        # Typer's own errors (a wrong flag, a missing value) come from a vendored or an installed click.
        message = getattr(error, "format_message", None)
        if message is None:
            if type(error).__name__ == "Abort":
                _fail("interrupted", 130)
            raise
        _fail(f"{message()} (see recurra --help)", int(getattr(error, "exit_code", 2)))
    sys.exit(code if isinstance(code, int) else 0)


def make_app() -> typer.Typer:
    """Return the application with all its verbs: every module of this package that has a `register(app)`."""
    app = typer.Typer(
        name="recurra",
        help="Recurrent neural networks: train, sample, measure and compare, with any cell.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    package: Any = sys.modules["recurra.cli"]
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        register = getattr(importlib.import_module(f"recurra.cli.{module.name}"), "register", None)
        if register is not None:
            register(app)
    return app


def spread(words: Sequence[str]) -> list[str]:
    """Let flags that may be repeated take several values at once: `--data a b` becomes `--data a --data b`."""
    result: list[str] = []
    flag: str | None = None
    for word in words:
        if word.startswith("-") and word != "-":
            flag = word if word in _SEVERAL else None
            result.append(word)
        elif flag is not None and result[-1] != flag:
            result += [flag, word]
        else:
            result.append(word)
    return result


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split())
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {_escape(line)}")
    sys.exit(code)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
