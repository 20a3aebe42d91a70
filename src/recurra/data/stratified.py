"""Cutting labelled texts into parts that have the same share of every class; equal texts stay together."""

from __future__ import annotations

import random
from collections.abc import Sequence

from recurra.core.errors import DataError
from recurra.data.labelled_documents import LabelledText

__all__ = ["stratified"]


def stratified(
    texts: Sequence[LabelledText], *, validation: float, test: float, seed: int
) -> dict[str, list[LabelledText]]:
    """Return the parts `train`, `validation` and `test`, shuffled by the seed.

    Of each class's different texts, `validation` and `test` give the shares kept for them, each rounded, validation at
    least one. A text that is there several times is in one part alone, or the measured accuracy would be of texts that
    were learned by heart; what has several labels counts by its first.

    Raises DataError for a single class, and for a class with fewer than two different texts.
    """
    first = {t.text: t.label for t in reversed(texts)}
    classes: dict[str, list[str]] = {}
    for text in dict.fromkeys(t.text for t in texts):
        classes.setdefault(first[text], []).append(text)
    for label in {t.label for t in texts}:
        if len(classes.get(label, ())) < 2:
            raise DataError(
                f"expected at least two different texts of each class, got {len(classes.get(label, ()))} of "
                f"{label!r}: give more or remove it"
            )
    if len(classes) < 2:
        raise DataError(f"expected at least two classes, got {', '.join(classes)} alone: check the label column")
    draw = random.Random(seed)
    part: dict[str, str] = {}
    for label in sorted(classes):
        members = classes[label]
        draw.shuffle(members)
        held = max(1, round(validation * len(members)))
        last = min(round(test * len(members)), len(members) - held - 1)
        for i, text in enumerate(members):
            part[text] = "test" if i < last else "validation" if i < last + held else "train"
    return {name: [t for t in texts if part[t.text] == name] for name in ("train", "validation", "test")}
