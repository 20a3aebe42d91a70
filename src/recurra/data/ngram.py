"""Counting instead of learning: the n-gram model, the yardstick of every recurrent one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from recurra.core.errors import ArgumentError
from recurra.data.tokens import as_tokens

__all__ = ["NGram"]


@final
class NGram:
    """An n-gram model with interpolated Witten-Bell smoothing (Witten & Bell 1991, their method C).

    With c(h w) how often token w followed the history h, c(h) their sum, and T(h) how many different
    tokens followed h,

        P(w | h) = (c(h w) + T(h) P(w | h')) / (c(h) + T(h)),

    h' being h without its oldest token; under the empty history lies the uniform 1 / V, and a history that was
    never seen says nothing: P(w | h) = P(w | h'). So every token has a probability, and they add up to 1.

    It counts and scores the predictions of `StreamReader`: all tokens but the first of each document,
    from the up to `order - 1` tokens before them in the same document.

    order: 1 for unigrams, 2 for bigrams, ...; vocabulary_size: V.
    """

    def __init__(self, order: int, vocabulary_size: int) -> None:
        for name, size in (("order", order), ("vocabulary_size", vocabulary_size)):
            if size < 1:
                raise ArgumentError(f"{name} must be at least 1, got {size}")
        self.order = order
        self.vocabulary_size = vocabulary_size
        self._levels: list[_Level] | None = None

    def fit(self, documents: Sequence[np.ndarray]) -> NGram:
        """Count the n-grams of documents (`(n,)` token numbers), in place of any counted before; return self."""
        tokens, places, distances = _predictions(documents, self.vocabulary_size)
        self._levels = levels = []
        rows = np.zeros(len(places), dtype=np.int64)
        contexts = np.zeros(1, dtype=np.int64)
        for length in range(self.order):
            reaches = distances >= length
            places, distances, rows = places[reaches], distances[reaches], rows[reaches]
            if not places.size:
                break
            if length:
                contexts, rows = np.unique(self._longer(rows, tokens, places, length), return_inverse=True)
            pairs, counts = np.unique(rows * self.vocabulary_size + tokens[places], return_counts=True)
            levels.append(_Level(contexts, pairs, counts, self.vocabulary_size))
        return self

    def nats(self, documents: Sequence[np.ndarray]) -> tuple[float, int]:
        """Return the summed negative log-probability of all predictions, in nats, and how many there are."""
        levels = self._fitted()
        tokens, places, distances = _predictions(documents, self.vocabulary_size)
        probability = np.full(len(places), 1.0 / self.vocabulary_size)
        rows = np.zeros(len(places), dtype=np.int64)
        alive = np.arange(len(places))
        for length, level in enumerate(levels):
            if length:
                alive = alive[distances[alive] >= length]
                rows[alive] = level.find_context(self._longer(rows[alive], tokens, places[alive], length))
                alive = alive[rows[alive] >= 0]
            total, kinds = level.weights(rows[alive])
            count = level.find_count(rows[alive] * self.vocabulary_size + tokens[places[alive]])
            probability[alive] = (count + kinds * probability[alive]) / (total + kinds)
        return float(-np.log(probability).sum()), len(places)

    def probabilities(self, history: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return P(w | history) for every token w, `(V,)` float64; only the last `order - 1` tokens count."""
        levels = self._fitted()
        tokens = as_tokens(np.array(history), self.vocabulary_size)
        probability = np.full(self.vocabulary_size, 1.0 / self.vocabulary_size)
        row = 0
        for length, level in enumerate(levels[: len(tokens) + 1]):
            if length:
                row = int(level.find_context(np.array([row * self.vocabulary_size + tokens[-length]]))[0])
            if row < 0:
                break
            followers, counts = level.followers(row)
            total, kinds = counts.sum(), len(counts)
            probability *= kinds / (total + kinds)
            probability[followers] += counts / (total + kinds)
        return probability

    def sample(self, prompt: Sequence[int] | np.ndarray, length: int, generator: np.random.Generator) -> np.ndarray:
        """Return `length` tokens that go on from the prompt (which may be empty), drawn from `generator`."""
        written = [int(token) for token in prompt]
        for _ in range(length):
            cumulative = self.probabilities(written[max(0, len(written) - self.order + 1) :]).cumsum()
            drawn = int(np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right"))
            written.append(min(drawn, self.vocabulary_size - 1))
        return np.array(written[len(written) - length :], dtype=np.int64)

    def _longer(self, rows: np.ndarray, tokens: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
        """Number a history of `length` tokens by the row of the shorter one and its own oldest token."""
        return rows * self.vocabulary_size + tokens[places - length]

    def _fitted(self) -> list[_Level]:
        if self._levels is None:
            raise ArgumentError("the n-gram model has counted nothing yet: call fit(documents) first")
        return self._levels


class _Level:
    """The counts after all histories of one length, as sorted arrays.

    A history is known by its row in `contexts`, whose entries are `row of the shorter history * V + oldest
    token`; a pair is `row * V + next token`. No number exceeds (tokens in the text) * V, whatever the order.
    """

    def __init__(self, contexts: np.ndarray, pairs: np.ndarray, counts: np.ndarray, size: int) -> None:
        self._contexts = contexts
        self._pairs = pairs
        self._counts = counts
        self._size = size
        rows = pairs // size
        self._kinds = np.bincount(rows, minlength=len(contexts))
        self._totals = np.bincount(rows, weights=counts, minlength=len(contexts))

    def find_context(self, keys: np.ndarray) -> np.ndarray:
        """Return the rows of histories, -1 where one was never seen."""
        return _find(self._contexts, keys)

    def find_count(self, keys: np.ndarray) -> np.ndarray:
        """Return how often each pair was seen."""
        place = _find(self._pairs, keys)
        return np.where(place >= 0, self._counts[place], 0)

    def weights(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return c(h) and T(h) of histories."""
        return self._totals[rows], self._kinds[rows]

    def followers(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens seen after one history, and how often."""
        low, high = np.searchsorted(self._pairs, [row * self._size, (row + 1) * self._size])
        return self._pairs[low:high] - row * self._size, self._counts[low:high]


def _find(ordered: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the place of each key in a sorted array that is not empty, -1 where it is not."""
    place = np.minimum(np.searchsorted(ordered, keys), ordered.size - 1)
    return np.where(ordered[place] == keys, place, -1)


def _predictions(documents: Sequence[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all tokens in one line, the places of those predicted, and each one's place in its document."""
    tokens = [as_tokens(document, size) for document in documents]
    if not tokens:
        none = np.zeros(0, dtype=np.int64)
        return none, none, none
    distances = np.concatenate([np.arange(len(document)) for document in tokens])
    places = np.flatnonzero(distances > 0)
    return np.concatenate(tokens), places, distances[places]
