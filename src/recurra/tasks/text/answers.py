"""What a classifier answers: one class of a text, or as many labels as fit; loss, probabilities and scores of each."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from recurra.core.errors import DataError
from recurra.data import LabelledText
from recurra.data.class_scores import baselines, class_scores, confusion
from recurra.data.label_scores import label_baselines, label_scores
from recurra.data.reliability import reliability_scores
from recurra.heads import fit_temperature

__all__ = ["Answers", "ClassifiedText", "ManyLabels", "ManyLabelsText", "OneLabel"]


@dataclass(frozen=True)
class ClassifiedText:
    """A text, its most probable class, and the probability of every class."""

    text: str
    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class ManyLabelsText:
    """A text, the labels that are at least as probable as the threshold, and the probability of every label."""

    text: str
    labels: tuple[str, ...]
    probabilities: dict[str, float]


class Answers(ABC):
    """The labels there are, and what the scores `(N, K)` of a network say about them."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._at = {label: i for i, label in enumerate(self.labels)}

    def number(self, label: str, place: str) -> int:
        """Return a label's number; raise DataError for one that training did not have."""
        if label not in self._at:
            raise DataError(f"{place}: the label {label!r} is unknown: expected {', '.join(self.labels[:10])}")
        return self._at[label]

    @abstractmethod
    def targets(self, texts: Sequence[LabelledText]) -> Tensor:
        """Return what the scores of some texts ought to say."""

    @abstractmethod
    def weights(self, targets: Tensor) -> Tensor:
        """Return weights under which every label counts alike, however rare it is."""

    @abstractmethod
    def losses(self, scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """Return each text's loss `(N,)`, in nats."""

    @abstractmethod
    def log_probabilities(self, scores: Tensor) -> Tensor:
        """Return log p of every label `(N, K)`."""

    @abstractmethod
    def temperature(self, scores: Tensor, targets: Tensor) -> float:
        """Return what scores of held texts are to be divided by for their probabilities to hold."""

    @abstractmethod
    def quality(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        """Return how good the answers are."""

    @abstractmethod
    def measured(self, scores: Tensor, targets: Tensor, temperature: float) -> dict[str, float]:
        """Return `quality` with all that is told of a finished model: calibration, confusion."""

    @abstractmethod
    def baselines(
        self, train: Sequence[Sequence[int]], known: Tensor, texts: Sequence[Sequence[int]], gold: Tensor
    ) -> dict[str, float]:
        """Return the scores of the majority and of naive Bayes on some texts, both after the training texts."""

    @abstractmethod
    def answer(self, text: str, probabilities: Sequence[float]) -> Any:
        """Return the answer for a text by the probabilities of its labels."""

    @abstractmethod
    def render(self, answer: Any, form: str) -> dict[str, Any] | str:
        """Return an answer as one line of text, or as an object for `jsonl`."""


@final
class OneLabel(Answers):
    """p = softmax(scores): exactly one class is right. Targets `(N,)` int64."""

    def targets(self, texts: Sequence[LabelledText]) -> Tensor:
        """See `Answers`."""
        return torch.tensor([self.number(t.label, t.place) for t in texts], dtype=torch.int64)

    def weights(self, targets: Tensor) -> Tensor:
        """Return N / (K n_c), `(K,)`."""
        counts = targets.bincount(minlength=len(self.labels))
        return len(targets) / (len(self.labels) * counts.clamp(min=1))

    def losses(self, scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """See `Answers`: cross-entropy."""
        return F.cross_entropy(scores, targets, weights, reduction="none")

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """See `Answers`."""
        return scores.log_softmax(-1)

    def temperature(self, scores: Tensor, targets: Tensor) -> float:
        """See `Answers`."""
        return fit_temperature(scores, targets)

    def quality(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        """Return accuracy and macro F1."""
        return class_scores(confusion(targets.tolist(), scores.argmax(1).tolist(), len(self.labels)))

    def measured(self, scores: Tensor, targets: Tensor, temperature: float) -> dict[str, float]:
        """Return accuracy, macro F1, calibration and, of up to ten classes, the confusion matrix `true_as_taken`."""
        gold = targets.tolist()
        table = confusion(gold, scores.argmax(1).tolist(), len(self.labels))
        metrics = class_scores(table) | reliability_scores(scores, gold, temperature)
        if len(self.labels) <= 10:
            for a, row in zip(self.labels, table, strict=True):
                metrics |= {f"{a}_as_{b}": float(n) for b, n in zip(self.labels, row, strict=True)}
        return metrics

    def baselines(
        self, train: Sequence[Sequence[int]], known: Tensor, texts: Sequence[Sequence[int]], gold: Tensor
    ) -> dict[str, float]:
        """See `Answers`."""
        return baselines(train, known.tolist(), texts, gold.tolist(), len(self.labels))

    def answer(self, text: str, probabilities: Sequence[float]) -> ClassifiedText:
        """See `Answers`."""
        p = dict(zip(self.labels, probabilities, strict=True))
        return ClassifiedText(text, max(p, key=p.__getitem__), p)

    def render(self, answer: ClassifiedText, form: str) -> dict[str, Any] | str:
        """See `Answers`: label, probability and text."""
        if form == "jsonl":
            return asdict(answer)
        return f"{answer.label}\t{answer.probabilities[answer.label]:.3f}\t{answer.text}\n"


@final
class ManyLabels(Answers):
    """p = sigmoid(scores): each label by itself fits or does not. Targets `(N, K)`, 1 where it fits.

    separator: what stands between the labels of a text; threshold: how probable a label has to be.
    """

    def __init__(self, labels: Sequence[str], separator: str, threshold: float) -> None:
        super().__init__(labels)
        self.separator = separator
        self.threshold = threshold

    def targets(self, texts: Sequence[LabelledText]) -> Tensor:
        """See `Answers`."""
        found = torch.zeros(len(texts), len(self.labels))
        for row, t in zip(found, texts, strict=True):
            row[[self.number(label, t.place) for label in t.labels(self.separator)]] = 1
        return found

    def weights(self, targets: Tensor) -> Tensor:
        """Return how many texts lack a label for each that has it, `(K,)`: the weight of those that have it."""
        having = targets.sum(0).clamp(min=1)
        return (len(targets) - having).clamp(min=1) / having

    def losses(self, scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        """See `Answers`: the sum over the labels of binary cross-entropies."""
        return F.binary_cross_entropy_with_logits(scores, targets, pos_weight=weights, reduction="none").sum(1)

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """See `Answers`."""
        return F.logsigmoid(scores)

    def temperature(self, scores: Tensor, targets: Tensor) -> float:
        """See `Answers`: one for all labels."""
        return fit_temperature(_either(scores), targets.flatten().long())

    def quality(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        """Return accuracy (all labels of a text right), micro F1 and macro F1."""
        return self._scored(scores, targets, 1.0)

    def measured(self, scores: Tensor, targets: Tensor, temperature: float) -> dict[str, float]:
        """Return `quality`, and how far the probability of a label's fitting or not is from how often it does."""
        either = reliability_scores(_either(scores), targets.flatten().long().tolist(), temperature)
        return self._scored(scores, targets, temperature) | either

    def baselines(
        self, train: Sequence[Sequence[int]], known: Tensor, texts: Sequence[Sequence[int]], gold: Tensor
    ) -> dict[str, float]:
        """See `Answers`: a naive Bayes for each label."""
        return label_baselines(train, known.bool().tolist(), texts, gold.bool().tolist())

    def answer(self, text: str, probabilities: Sequence[float]) -> ManyLabelsText:
        """See `Answers`."""
        p = dict(zip(self.labels, probabilities, strict=True))
        return ManyLabelsText(text, tuple(label for label, q in p.items() if q >= self.threshold), p)

    def render(self, answer: ManyLabelsText, form: str) -> dict[str, Any] | str:
        """See `Answers`: labels, their probabilities, and text."""
        if form == "jsonl":
            return asdict(answer)
        shares = self.separator.join(f"{answer.probabilities[label]:.3f}" for label in answer.labels)
        return f"{self.separator.join(answer.labels)}\t{shares}\t{answer.text}\n"

    def _scored(self, scores: Tensor, targets: Tensor, temperature: float) -> dict[str, float]:
        line = math.log(self.threshold / (1 - self.threshold)) * temperature
        return label_scores(targets.bool().tolist(), (scores >= line).tolist())


def _either(scores: Tensor) -> Tensor:
    """Return the scores `(N K, 2)` of a softmax that is the sigmoid of each."""
    return torch.stack([torch.zeros_like(scores), scores], -1).flatten(0, 1)
