"""How far probabilities can be trusted: of the answers given with about 80 %, are about 80 % right?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from recurra.core.errors import ArgumentError

__all__ = ["ConfidenceBin", "calibration_error", "reliability", "reliability_scores"]


class ConfidenceBin(NamedTuple):
    """The answers whose confidence lies above `low` and up to `high`: how many, how sure and how right on the mean."""

    low: float
    high: float
    answers: int
    confidence: float
    accuracy: float


def reliability(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> list[ConfidenceBin]:
    """Return the bins of equal width that hold an answer. confidences: from 0 to 1; right: whether each was."""
    if bins < 1:
        raise ArgumentError(f"bins must be at least 1, got {bins}")
    rows: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for confidence, correct in zip(confidences, right, strict=True):
        # A border belongs to the bin below it, as it does with Guo et al.
        place = next(i for i in range(bins) if confidence <= (i + 1) / bins or i == bins - 1)
        rows[place].append((confidence, correct))
    return [
        ConfidenceBin(
            i / bins, (i + 1) / bins, len(row), sum(c for c, _ in row) / len(row), sum(r for _, r in row) / len(row)
        )
        for i, row in enumerate(rows)
        if row
    ]


def calibration_error(table: Sequence[ConfidenceBin]) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy, each bin by its answers.

    Source: Naeini et al. (2015), as in Guo et al. (2017).
    """
    total = sum(row.answers for row in table)
    return sum(row.answers * abs(row.confidence - row.accuracy) for row in table) / max(total, 1)


def reliability_scores(scores: Tensor, gold: Sequence[int], temperature: float) -> dict[str, float]:
    """Return the calibration error of softmax(scores / temperature), that without it, and how often each bin is right.

    scores: `(N, K)` of the classes; gold: the true ones.
    """
    right = [a == b for a, b in zip(gold, scores.argmax(1).tolist(), strict=True)]
    fitted, raw = (reliability((scores / t).softmax(1).amax(1).tolist(), right) for t in (temperature, 1.0))
    found = {"calibration_error": calibration_error(fitted), "uncalibrated_error": calibration_error(raw)}
    return found | {f"right_where_sure_by_{row.low:.1f}_to_{row.high:.1f}": row.accuracy for row in fitted}
