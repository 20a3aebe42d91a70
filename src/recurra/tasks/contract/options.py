"""The dataclasses of options: their fields, checking them, and reading them back from a file that is not trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from recurra.core.errors import ArgumentError, CorruptError

__all__ = ["check_fields", "check_values", "option", "read_options"]

T = TypeVar("T")

_MOST = 2**31


def option(default: Any, text: str, panel: str = "") -> Any:
    """Return a field of an options dataclass. text: its flag's help; panel: where `--help` lists it, if not among the
    task's own."""
    return field(default=default, metadata={"help": text, **({"panel": panel} if panel else {})})


def check_values(options: Any, counts: Sequence[str]) -> None:
    """Raise ArgumentError for a count below 1, or a word that is none of its field's.

    counts: the fields that are numbers from 1 on. Fields of a `Literal` type are checked against it.
    """
    for name in counts:
        if not 1 <= getattr(options, name) <= _MOST:
            raise ArgumentError(f"{name} must be at least 1 and at most {_MOST:,}, got {getattr(options, name)}")
    for name, hint in get_type_hints(type(options)).items():
        if get_origin(hint) is Literal and getattr(options, name) not in get_args(hint):
            raise ArgumentError(f"{name} must be one of {', '.join(get_args(hint))}, got {getattr(options, name)!r}")


def check_fields(options: Any, counts: Sequence[str]) -> None:
    """Raise ArgumentError as `check_values` does, and for `dropout`, `validation` and `test` that are no shares."""
    check_values(options, counts)
    if not 0.0 <= options.dropout < 1.0:
        raise ArgumentError(f"dropout must be at least 0 and below 1, got {options.dropout}")
    if not (options.validation > 0 and options.test >= 0 and options.validation + options.test < 1):
        raise ArgumentError(
            f"validation must be above 0, and with test below 1, got {options.validation} and {options.test}"
        )


def read_options(kind: type[T], record: Any, source: str) -> T:
    """Return the `kind` (a dataclass) that a JSON object describes; fields that it lacks have their defaults.

    source: where the object is from, for messages. Raises CorruptError for unknown fields, and for values of another
    type or outside of what `kind` takes.
    """
    if not isinstance(record, Mapping):
        raise CorruptError(f"{source}: expected an object, got {type(record).__name__}: it is damaged or foreign")
    hints = get_type_hints(kind)
    for name, value in record.items():
        if name not in hints:
            raise CorruptError(f"{source}: expected one of {', '.join(hints)}, got {name[:40]!r}: it is of no recurra")
        if not _fits(value, hints[name]):
            raise CorruptError(f"{source}: {name} cannot be {ascii(value)[:40]}: it is damaged or foreign")
    try:
        return kind(**record)
    except ArgumentError as error:
        raise CorruptError(f"{source}: {error}: it is damaged or foreign") from error


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a JSON value is of a field's type: plain types, unions of them, and literals."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if isinstance(hint, UnionType):
        return any(_fits(value, choice) for choice in get_args(hint))
    if hint in (None, NoneType):
        return value is None
    if hint is float:
        return type(value) in (float, int)
    return type(value) is hint
