"""How good predicted classes are, beside what guessing the most frequent one and what counting words achieves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

__all__ = ["NaiveBayes", "baselines", "class_scores", "confusion"]


def confusion(gold: Sequence[int], predicted: Sequence[int], classes: int) -> list[list[int]]:
    """Return how often class i (row) was taken for class j (column)."""
    table = [[0] * classes for _ in range(classes)]
    for a, b in zip(gold, predicted, strict=True):
        table[a][b] += 1
    return table


def class_scores(table: Sequence[Sequence[int]]) -> dict[str, float]:
    """Return accuracy, and F1 averaged over the classes that occur in rows or columns, of a confusion matrix."""
    right = [row[i] for i, row in enumerate(table)]
    wanted, found = [sum(row) for row in table], [sum(column) for column in zip(*table, strict=True)]
    occurring = [(2 * r) / (w + f) for r, w, f in zip(right, wanted, found, strict=True) if w + f]
    return {
        "accuracy": sum(right) / max(sum(wanted), 1),
        "macro_f1": sum(occurring) / max(len(occurring), 1),
    }


def baselines(
    train: Sequence[Sequence[Hashable]],
    known: Sequence[int],
    texts: Sequence[Sequence[Hashable]],
    gold: Sequence[int],
    classes: int,
) -> dict[str, float]:
    """Return the scores on some texts of taking the most frequent class of training, and of a bag of words."""
    guesses = {
        "majority": [Counter(known).most_common(1)[0][0]] * len(gold),
        "naive_bayes": NaiveBayes(train, known, classes).predict(texts),
    }
    return {
        f"{name}_{key}": value
        for name, guess in guesses.items()
        for key, value in class_scores(confusion(gold, guess, classes)).items()
    }


class NaiveBayes:
    """log p(c | text) = log p(c) + sum over its tokens of log p(token | c) + const, with every count one too high.

    A bag of words: it cannot know their order. Tokens that no class had are passed over. Source: Maron (1961); counts
    raised by one after Laplace.
    """

    def __init__(self, texts: Sequence[Sequence[Hashable]], labels: Sequence[int], classes: int) -> None:
        self._prior = Counter(labels)
        self._counts: list[Counter[Hashable]] = [Counter() for _ in range(classes)]
        for tokens, label in zip(texts, labels, strict=True):
            self._counts[label].update(tokens)
        self._known = set[Hashable]().union(*self._counts)
        self._totals = [sum(c.values()) + len(self._known) for c in self._counts]

    def predict(self, texts: Iterable[Sequence[Hashable]]) -> list[int]:
        """Return the most probable class of each text."""
        return [self._best([t for t in tokens if t in self._known]) for tokens in texts]

    def _best(self, tokens: Sequence[Hashable]) -> int:
        def score(label: int) -> float:
            if not self._prior[label]:
                return -math.inf
            counts, total = self._counts[label], self._totals[label]
            return math.log(self._prior[label]) + sum(math.log((counts[t] + 1) / total) for t in tokens)

        return max(range(len(self._counts)), key=score)
