"""What a task offers whose predictions are shown as text by `recurra predict`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

__all__ = ["Rendering"]


@runtime_checkable
class Rendering(Protocol):
    """A model that predicts from raw text and writes what it found in one of several forms, the first by default."""

    @property
    def forms(self) -> tuple[str, ...]:
        """The names of the forms."""
        ...

    def predict(self, inputs: str | Sequence[str]) -> Any:
        """Return a prediction for one string, or a list of them for several."""
        ...

    def render(self, prediction: Any, form: str) -> str:
        """Return a prediction as text, its line ends included."""
        ...
