"""Cutting text into a training, a validation and a test part: in order, by characters or by sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from recurra.core.errors import ArgumentError, DataError
from recurra.data.text import Document

__all__ = ["Split", "in_order", "require_window", "split"]

T = TypeVar("T")


@dataclass(frozen=True)
class Split:
    """The parts of a text, each a list of documents; `test` is empty unless it was asked for."""

    train: list[Document]
    validation: list[Document]
    test: list[Document]


def split(documents: Sequence[Document], *, validation: float = 0.05, test: float = 0.0) -> Split:
    """Cut the documents, taken as one text in the order given, into training, validation and test.

    Of N characters in all, the last `round(test * N)` are for testing, the `round(validation * N)` before them
    for validation, and what comes first for training. A document that a cut goes through becomes two: the
    later part starts afresh, without the earlier one as its context. Nothing is drawn at random.

    Raises ArgumentError for shares outside of 0 <= share < 1 or that leave nothing to train on.
    """
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise ArgumentError(f"{name} must be a share of at least 0 and below 1, got {share!r}")
    if validation + test >= 1:
        raise ArgumentError(f"validation + test must stay below 1, got {validation + test:g}: leave text to train on")
    total = sum(len(document.text) for document in documents)
    end = total - round(test * total)
    middle = max(0, end - round(validation * total))
    return Split(_between(documents, 0, middle), _between(documents, middle, end), _between(documents, end, total))


def require_window(documents: Sequence[np.ndarray], window: int, part: str) -> None:
    """Raise DataError if a part (`"training"`) has fewer predictions than one window.

    documents: arrays of token ids; one of n tokens makes n - 1 predictions.
    """
    predictions = sum(max(0, len(document) - 1) for document in documents)
    if predictions < window:
        raise DataError(
            f"the {part} part has {predictions} tokens to predict, expected at least one window of {window}: "
            "give more text, a larger share for this part, or a shorter window"
        )


def _between(documents: Sequence[Document], start: int, end: int) -> list[Document]:
    """Return what lies in the characters `start:end` of all texts joined."""
    found: list[Document] = []
    position = 0
    for document in documents:
        text = document.text[max(0, start - position) : max(0, end - position)]
        position += len(document.text)
        if text:
            found.append(Document(document.name, text))
    return found


def in_order(items: Sequence[T], *, validation: float, test: float) -> dict[str, list[T]]:
    """Cut items in their order into `train`, `validation` (at least one) and `test`, by their number.

    Raises DataError where nothing is left to learn from.
    """
    total = len(items)
    end = total - round(test * total)
    middle = min(end - 1, total - round((test + validation) * total))
    if middle < 1:
        raise DataError(f"expected sentences to learn from and to validate on, got {total}: give more")
    return {"train": [*items[:middle]], "validation": [*items[middle:end]], "test": [*items[end:]]}
