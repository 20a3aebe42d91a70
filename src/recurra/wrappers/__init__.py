"""The wrappers: cell in, cell out; one file each, discovered by file name."""

from __future__ import annotations

from recurra.core import Wrapper
from recurra.core.registry import discover, lookup

__all__ = ["get", "names"]

_WRAPPERS: dict[str, type[Wrapper]] = discover(__name__, __path__, Wrapper)
globals().update({wrapper.__name__: wrapper for wrapper in _WRAPPERS.values()})


def get(name: str) -> type[Wrapper]:
    """Return the wrapper class registered under a file's stem; an unknown name lists the known ones."""
    return lookup(_WRAPPERS, name, "wrapper")


def names() -> list[str]:
    """Return the registered names in alphabetical order."""
    return sorted(_WRAPPERS)
