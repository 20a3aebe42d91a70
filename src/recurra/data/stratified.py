"""Cutting labelled texts into parts that have the same share of every class; equal texts stay together."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

from recurra.core.errors import DataError
from recurra.data.labelled_documents import LabelledText

__all__ = ["rarest_label", "stratified"]


def rarest_label(texts: Sequence[LabelledText], separator: str) -> Callable[[LabelledText], str]:
    """Return what tells the rarest of a text's labels, "" where it has none: what texts of many labels are cut by.

    Raises DataError for a label of fewer than two different texts, or where there are fewer than two labels.
    """
    different = {t.text: t for t in reversed(texts)}.values()
    counts = Counter(label for t in different for label in t.labels(separator))
    for label in {label for t in texts for label in t.labels(separator)}:
        _check_count(label, counts[label])
    if len(counts) < 2:
        raise DataError(f"expected at least two labels, got {', '.join(counts) or 'none'}: check the label column")
    return lambda t: min(t.labels(separator), key=lambda label: (counts[label], label), default="")


def stratified(
    texts: Sequence[LabelledText],
    *,
    validation: float,
    test: float,
    seed: int,
    key: Callable[[LabelledText], str] | None = None,
) -> dict[str, list[LabelledText]]:
    """Return the parts `train`, `validation` and `test`, shuffled by the seed.

    Of each class's different texts, `validation` and `test` give the shares kept for them, each rounded, validation at
    least one. A text that is there several times is in one part alone, or the measured accuracy would be of texts that
    were learned by heart; what has several labels counts by its first. key: what the
    classes are, if not the labels (`rarest_label`); a class of one text is then learned from.

    Raises DataError for a single class, and for a class with fewer than two different texts, where there is no key.
    """
    first = {t.text: key(t) if key else t.label for t in reversed(texts)}
    classes: dict[str, list[str]] = {}
    for text in dict.fromkeys(t.text for t in texts):
        classes.setdefault(first[text], []).append(text)
    if key is None:
        for label in {t.label for t in texts}:
            _check_count(label, len(classes.get(label, ())))
        if len(classes) < 2:
            raise DataError(f"expected at least two classes, got {', '.join(classes)} alone: check the label column")
    draw = random.Random(seed)
    part: dict[str, str] = {}
    for label in sorted(classes):
        members = classes[label]
        draw.shuffle(members)
        held = max(1, round(validation * len(members))) if len(members) > 1 else 0
        last = min(round(test * len(members)), max(len(members) - held - 1, 0))
        for i, text in enumerate(members):
            part[text] = "test" if i < last else "validation" if i < last + held else "train"
    return {name: [t for t in texts if part[t.text] == name] for name in ("train", "validation", "test")}


def _check_count(label: str, count: int) -> None:
    if count < 2:
        raise DataError(
            f"expected at least two different texts of each class, got {count} of {label!r}: give more or remove it"
        )
