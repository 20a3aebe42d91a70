"""Which cell a task uses: a registered name, a class in the user's own file, or a class handed over in Python."""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recurra import cells
from recurra.core import Cell
from recurra.core.errors import ArgumentError, CorruptError
from recurra.core.registry import class_from_file

__all__ = ["CellChoice", "choose_cell", "recall_cell"]


@dataclass(frozen=True)
class CellChoice:
    """A cell class, and what config.json notes of it: its name, and for a user's own the file's name and SHA-256."""

    cell: type[Cell]
    record: dict[str, Any]

    @property
    def spec(self) -> str:
        """What names it on a command line."""
        file = self.record.get("file")
        return f"{file}:{self.record['name']}" if file else self.record["name"]


def choose_cell(spec: str, own: Sequence[type[Cell]] = ()) -> CellChoice:
    """Return the cell that `spec` means: a registered name, `FILE.py:Class`, or the name of a class among `own`."""
    for cell in own:
        if cell.__name__ == spec:
            return CellChoice(cell, _record(cell))
    if ".py:" in spec:
        cell, digest = class_from_file(spec, Cell)
        file = Path(spec.rpartition(":")[0]).name
        return CellChoice(cell, {"name": cell.__name__, "file": file, "sha256": digest})
    return CellChoice(cells.get(spec), {"name": spec})


def recall_cell(record: Any, own: Sequence[type[Cell]] = ()) -> CellChoice:
    """Return the cell that config.json notes. A user's own is never loaded from the folder, only taken from `own`."""
    if not isinstance(record, Mapping) or not isinstance(record.get("name"), str):
        raise CorruptError("config.json names no cell: it is damaged or foreign")
    name: str = record["name"]
    if "file" not in record:
        # Not choose_cell: a name like FILE.py:Class would run code that the folder names.
        return CellChoice(cells.get(name), {"name": name})
    found = next((cell for cell in own if cell.__name__ == name), None)
    if found is None:
        raise ArgumentError(
            f"the model uses the cell {name} from {record['file']}, and loading runs no code that a folder names: "
            f"give --cell {record['file']}:{name}, or in Python recurra.load(folder, cells=[{name}])"
        )
    now = _record(found)
    if now.get("sha256") not in (None, record.get("sha256")):
        warnings.warn(f"{now['file']} has changed since the model was trained with its cell {name}", stacklevel=3)
    return CellChoice(found, {key: record[key] for key in ("name", "file", "sha256") if key in record})


def _record(cell: type[Cell]) -> dict[str, Any]:
    try:
        source = Path(inspect.getsourcefile(cell) or "")
        return {
            "name": cell.__name__,
            "file": source.name,
            "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        }
    except (OSError, TypeError):
        return {"name": cell.__name__, "file": "<interactive>"}
