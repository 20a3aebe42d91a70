"""Puts the verbs together, runs one, and turns every expected failure into one line."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import pkgutil
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from recurra.core.errors import RecurraError

__all__ = ["main", "make_app", "spread"]

_SEVERAL = ("--data",)
_TOO_LARGE = ("can't allocate memory", "overflow")  # What torch says where Python has MemoryError.


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; never returns.

    Exit codes: 0 done; 1 the work failed; 2 the command was wrong; 130 and 143 interrupted by Ctrl-C and SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A terminal that knows no Chinese shows question marks.
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            _run(spread(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except RecurraError as error:
        _fail(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130)
    except BrokenPipeError:
        # Whoever read the output has left (`recurra generate ... | head`); keep Python's own flush at exit quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in _TOO_LARGE):
            raise
        _fail("out of memory: try a smaller --batch-size, --window or --hidden-size", 1)
    sys.exit(0)


def make_app() -> typer.Typer:
    """Return the application with all its verbs: every module of this package that has a `register(app)`."""
    app = typer.Typer(
        name="recurra",
        help="Recurrent neural networks: train, sample, measure and compare, with any cell.",
        no_args_is_help=True,
        add_completion=False,
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


def _run(words: list[str]) -> None:
    """Parse the words and call the verb; what is wrong with the words ends the program in one line."""
    command = typer.main.get_command(make_app())
    try:
        # Not command.main(): it has its own ways with broken pipes and Ctrl-C.
        with command.make_context("recurra", words) as context:
            command.invoke(context)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except Exception as error:
        # The errors of the parser come from a click that typer brings along or that is installed beside it.
        if not hasattr(error, "format_message"):
            raise
        _refuse(error)


def _refuse(error: Any) -> NoReturn:
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.exit(error.exit_code)  # The help is on the screen already.
    message = error.format_message().rstrip(".")
    if type(error).__name__ == "NoSuchOption":
        name = str(error.option_name)
        near = difflib.get_close_matches(name, error.possibilities or (), n=1)
        message = f"no such option: {name}" + (f"; did you mean {near[0]}?" if near else "")
    context = getattr(error, "ctx", None)
    _fail(f"{message} (see {context.command_path if context else 'recurra'} --help)", error.exit_code)


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    _say(f"[bold yellow]warning:[/] {escape(_one_line(str(message)))}")


def _fail(message: str, code: int) -> NoReturn:
    _say(f"[bold red]error:[/] {escape(_one_line(message))}")
    sys.exit(code)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _say(markup: str) -> None:
    Console(stderr=True, highlight=False, emoji=False, soft_wrap=True).print(markup)
