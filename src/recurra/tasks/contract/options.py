"""Reading a dataclass of options back from a file that is not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from recurra.core.errors import ArgumentError, CorruptError

__all__ = ["read_options"]

T = TypeVar("T")


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
