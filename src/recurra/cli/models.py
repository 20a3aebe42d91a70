"""Loading a model folder for a verb."""

from __future__ import annotations

from pathlib import Path

from recurra import tasks
from recurra.core.errors import ArgumentError
from recurra.tasks import Task
from recurra.tasks.contract import choose_cell
from recurra.tasks.language_model import LanguageModel

__all__ = ["load_language_model", "load_model"]


def load_model(folder: Path, cell: str | None) -> Task:
    """Load a model; `cell` is `FILE.py:Class` where it was trained with the user's own, None otherwise."""
    return tasks.load(folder, cells=[choose_cell(cell).cell] if cell is not None else [])


def load_language_model(folder: Path, cell: str | None) -> LanguageModel:
    """Load a language model; another kind of model is refused."""
    model = load_model(folder, cell)
    if not isinstance(model, LanguageModel):
        raise ArgumentError(f"expected a language model, but {folder} holds a model for {model.config['task']}")
    return model
