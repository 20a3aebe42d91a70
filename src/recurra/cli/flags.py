"""Command-line flags made from the fields of option dataclasses, so that an option is declared once."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

__all__ = ["given_flags", "option_fields", "with_options"]


def option_fields(options: type[Any]) -> list[str]:
    """Return the names of a dataclass's fields."""
    return [field.name for field in dataclasses.fields(options)]


def with_options(command: Callable[..., Any], *groups: type[Any], without: tuple[str, ...] = ()) -> Callable[..., Any]:
    """Give a command a flag for every field of some dataclasses.

    command: its keyword parameters become flags as they are; the fields' values reach it as one dictionary, `values`.
    The help text of a field is its `metadata["help"]`. `without` names fields that get no flag.
    """
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "values"]
    made = [_parameter(group, f) for group in groups for f in dataclasses.fields(group) if f.name not in without]
    names = [p.name for p in made]

    def run(**given: Any) -> Any:
        values = {name: given.pop(name) for name in names}
        return command(values=values, **given)

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    run.__signature__ = inspect.Signature([*own, *made])  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {p.name: p.annotation for p in (*own, *made)}
    return run


def given_flags(context: typer.Context) -> set[str]:
    """Return the names of the parameters that stood on the command line, as against those left at their default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def _parameter(group: type[Any], field: dataclasses.Field[Any]) -> inspect.Parameter:
    annotation = get_type_hints(group)[field.name]
    panel = field.metadata.get("panel") or _panel(group)
    option = typer.Option(help=field.metadata.get("help", ""), rich_help_panel=panel)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=Annotated[annotation, option]
    )


def _panel(group: type[Any]) -> str:
    return "Training" if group.__name__ == "TrainerOptions" else "Model"
