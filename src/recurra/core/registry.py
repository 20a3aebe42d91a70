"""Finding what a folder holds: one class a file, discovered and never listed; and classes in users' own files."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from recurra.core.errors import ArgumentError, CellError, UnknownNameError

__all__ = ["class_from_file", "discover", "lookup"]

T = TypeVar("T")


def discover(package: str, folders: Iterable[str], base: type[T], *others: type) -> dict[str, type[T]]:
    """Import every module of a package and return `{file stem: the one public subclass of base it defines}`.

    Folders in the package, and modules whose name begins with an underscore, are passed over; so are those that define
    a subclass of one of the other bases instead, which are discovered apart.
    """
    found: dict[str, type[T]] = {}
    for module in sorted(pkgutil.iter_modules(folders), key=lambda m: m.name):
        if module.name.startswith("_") or module.ispkg:
            continue
        name = f"{package}.{module.name}"
        namespace = vars(importlib.import_module(name))
        classes = _subclasses_in(namespace, base, name)
        if not classes and any(_subclasses_in(namespace, other, name) for other in others):
            continue
        if len(classes) != 1:
            names = ", ".join(c.__name__ for c in classes) or "none"
            raise CellError(f"{name} must define exactly one public {base.__name__}, found {names}")
        found[module.name] = classes[0]
    return found


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return `table[name]`; an unknown name lists the known ones and suggests the nearest."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UnknownNameError(f"no {kind} is called {name!r}: {hint}the known ones are {', '.join(sorted(table))}")


def class_from_file(spec: str, base: type[T]) -> tuple[type[T], str]:
    """Load a class from `FILE.py:Class`, running that file; return it with the SHA-256 of the file's bytes."""
    path, _, name = spec.rpartition(":")
    if not path.endswith(".py") or not name:
        raise ArgumentError(f"expected FILE.py:Class, got {spec!r}")
    file = Path(path)
    if not file.is_file():
        raise ArgumentError(f"expected a Python file that defines {name}, but there is no file {path}")
    source = file.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    module_name = f"recurra_user_{file.stem}_{digest[:12]}"
    module_spec = importlib.util.spec_from_file_location(module_name, file)
    if module_spec is None or module_spec.loader is None:
        raise ArgumentError(f"{path} cannot be loaded as a Python module")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise ArgumentError(f"{path} could not be run: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        known = ", ".join(c.__name__ for c in _subclasses_in(vars(module), base, module_name)) or "none"
        raise ArgumentError(f"{path} defines no {base.__name__} called {name!r}; it defines: {known}")
    return found, digest


def _subclasses_in(namespace: Mapping[str, object], base: type[T], module: str) -> list[type[T]]:
    return [
        value
        for key, value in namespace.items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module
        and not key.startswith("_")
    ]
