"""What word2vec learns from: words that stand near each other, beside words drawn at random.

A text is taken in blocks. Of each block, frequent words are left out at random, every word draws how far its own window
reaches, and the examples that come of it are shuffled: a pure function of seed, epoch and block, so that a run goes on
where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Examples", "WordPairs"]

_BLOCK = 50_000
"""Words whose examples are drawn and shuffled together."""


@dataclass(frozen=True, eq=False)
class Examples:
    """inputs: words `(N, C)`, -1 where there are fewer; targets: `(N, 1 + negatives)`, the true word first."""

    inputs: np.ndarray
    targets: np.ndarray


class WordPairs:
    """Examples of words and the words around them (Mikolov et al. 2013, arXiv 1301.3781v3 and 1310.4546v1).

    lines: the numbers of the words of each line; no window goes beyond one. counts: how often each word is in the
    training text. method: `skipgram` gives one word and asks for one near it; `cbow` gives all words around one and
    asks for that one. window: the farthest neighbour; each word draws its own reach from 1 to it. negatives: words
    drawn beside each true one, by counts to the power 3/4. subsample: a word of frequency f is kept with probability
    sqrt(t / f) + t / f, as in the authors' program (the paper's formula lacks the second term); 0: every word is kept.
    """

    def __init__(
        self,
        lines: Sequence[Sequence[int]],
        counts: Sequence[int],
        *,
        method: Literal["skipgram", "cbow"],
        window: int,
        negatives: int,
        subsample: float,
        batch_size: int,
    ) -> None:
        self._words = np.fromiter((word for line in lines for word in line), dtype=np.int64)
        self._lines = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
        share = np.asarray(counts, dtype=np.float64) / max(1, sum(counts))
        ratio = subsample / np.maximum(share, 1e-300)
        self._kept = np.ones_like(share) if not subsample else np.minimum(1.0, np.sqrt(ratio) + ratio)
        weights = np.asarray(counts, dtype=np.float64) ** 0.75
        self._drawn = np.cumsum(weights) / weights.sum()
        self._method, self._window, self._negatives, self._batch = method, window, negatives, batch_size

    def batches(self, seed: int, epoch: int, start: int = 0) -> Iterator[Examples]:
        """Yield the batches of an epoch from number `start` on; a block's last one may be smaller."""
        blocks = -(-len(self._words) // _BLOCK)
        order = np.random.default_rng((seed, epoch)).permutation(blocks).tolist()
        for block in order:
            draw = np.random.default_rng((seed, epoch, block + 1))  # A zero at the end would change nothing.
            inputs, true = self._examples(draw, block)
            count = -(-len(true) // self._batch)
            if start >= count:
                start -= count
                continue
            shuffled = draw.permutation(len(true))
            negatives = self._negative(draw, len(true))
            for number in range(start, count):
                rows = shuffled[number * self._batch : (number + 1) * self._batch]
                yield Examples(inputs[rows], np.concatenate([true[rows, None], negatives[rows]], 1))
            start = 0

    def _examples(self, draw: np.random.Generator, block: int) -> tuple[np.ndarray, np.ndarray]:
        words = self._words[block * _BLOCK : (block + 1) * _BLOCK]
        lines = self._lines[block * _BLOCK : (block + 1) * _BLOCK]
        kept = draw.random(len(words)) < self._kept[words]
        words, lines = words[kept], lines[kept]
        reach = draw.integers(1, self._window + 1, len(words))
        around = np.full((len(words), 2 * self._window), -1, dtype=np.int64)
        for far in range(1, min(self._window, len(words) - 1) + 1):
            together = lines[far:] == lines[:-far]
            around[far:, 2 * far - 2] = np.where(together & (reach[far:] >= far), words[:-far], -1)
            around[:-far, 2 * far - 1] = np.where(together & (reach[:-far] >= far), words[far:], -1)
        if self._method == "cbow":
            some = (around >= 0).any(1)
            return around[some], words[some]
        rows, columns = np.nonzero(around >= 0)
        return words[rows, None], around[rows, columns]

    def _negative(self, draw: np.random.Generator, count: int) -> np.ndarray:
        places = np.searchsorted(self._drawn, draw.random((count, self._negatives)), side="right")
        return np.minimum(places, len(self._drawn) - 1)
