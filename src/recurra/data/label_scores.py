"""How good predicted sets of labels are, beside what the most frequent ones and what counting words achieves."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from recurra.data.class_scores import NaiveBayes

__all__ = ["label_baselines", "label_scores"]


def label_scores(gold: Sequence[Sequence[bool]], predicted: Sequence[Sequence[bool]]) -> dict[str, float]:
    """Return accuracy (texts whose labels are all right, and no other), micro F1 and macro F1.

    gold, predicted: for each text, whether each label fits. Micro F1 counts all labels of all texts together; macro F1
    is the mean over the labels that occur in either.
    """
    columns = list(zip(zip(*gold, strict=True), zip(*predicted, strict=True), strict=True))
    counts = [(sum(a and b for a, b in zip(g, p, strict=True)), sum(g) + sum(p)) for g, p in columns]
    occurring = [2 * right / both for right, both in counts if both]
    right, both = sum(r for r, _ in counts), sum(n for _, n in counts)
    return {
        "accuracy": sum(list(a) == list(b) for a, b in zip(gold, predicted, strict=True)) / max(len(gold), 1),
        "micro_f1": 2 * right / both if both else 0.0,
        "macro_f1": sum(occurring) / max(len(occurring), 1),
    }


def label_baselines(
    train: Sequence[Sequence[Hashable]],
    known: Sequence[Sequence[bool]],
    texts: Sequence[Sequence[Hashable]],
    gold: Sequence[Sequence[bool]],
) -> dict[str, float]:
    """Return the scores on some texts of the labels that most training texts have, and of a bag of words a label."""
    labels = list(zip(*known, strict=True))
    frequent = [2 * sum(column) > len(column) for column in labels]
    bags = [NaiveBayes(train, [int(fits) for fits in column], 2).predict(texts) for column in labels]
    guesses = {
        "majority": [frequent] * len(gold),
        "naive_bayes": [[bool(fits) for fits in row] for row in zip(*bags, strict=True)],
    }
    return {
        f"{name}_{key}": value for name, guess in guesses.items() for key, value in label_scores(gold, guess).items()
    }
