"""The tasks: one file each, discovered by file name; on the command line `language_model` is `language-model`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recurra.core import Cell
from recurra.core.registry import discover, lookup
from recurra.learning import ModelFolder
from recurra.tasks.contract import Task

__all__ = ["Task", "get", "load", "names"]

_TASKS: dict[str, type[Task]] = {
    name.replace("_", "-"): task for name, task in discover(__name__, __path__, Task).items()
}


def get(name: str) -> type[Task]:
    """Return the task registered under a name; an unknown one lists the known ones."""
    return lookup(_TASKS, name, "task")


def names() -> list[str]:
    """Return the registered names in alphabetical order."""
    return sorted(_TASKS)


def load(folder: str | Path, *, cells: Sequence[type[Cell]] = ()) -> Task:
    """Load a trained model: an object with `.network`, `.config` and `.predict(inputs)`, in evaluation mode.

    cells: the classes of the user's own cells that the model was trained with; loading never runs code from the folder.
    Raises FolderError (CorruptError, MismatchError) where the folder is damaged, foreign, or of another version.
    """
    opened = ModelFolder.open(folder)
    config = opened.read_config()
    return get(str(config["task"])).restore(opened, cells=cells)
