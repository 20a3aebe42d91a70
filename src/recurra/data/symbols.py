"""Tokens that are given, as numbers: what `Vocabulary` is for running text, for text that comes cut into tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any, cast, final

from recurra.core.errors import CorruptError

__all__ = ["SymbolTable"]


@final
@dataclass(frozen=True)
class SymbolTable:
    """Which token has which number: 0 is every unknown one, then the known ones by falling frequency. Immutable."""

    symbols: tuple[str, ...]

    @classmethod
    def build(cls, sequences: Iterable[Iterable[str]], *, min_count: int = 1) -> SymbolTable:
        """Collect the tokens that are seen at least `min_count` times: of the training part alone."""
        counts: Counter[str] = Counter()
        for sequence in sequences:
            counts.update(sequence)
        return cls.counted(counts, min_count=min_count)

    @classmethod
    def counted(cls, counts: Mapping[str, int], *, min_count: int = 1, most: int | None = None) -> SymbolTable:
        """Take the tokens that were counted at least `min_count` times, `most` of them."""
        often = [item for item in counts.items() if item[1] >= min_count]
        often.sort(key=lambda item: (-item[1], item[0]))
        return cls(tuple(symbol for symbol, _ in often[:most]))

    @property
    def size(self) -> int:
        """How many numbers there are, the unknown token's included."""
        return len(self.symbols) + 1

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Return the number of each token."""
        return list(map(self._ids.get, tokens, repeat(0)))

    def __contains__(self, token: str) -> bool:
        return token in self._ids

    def to_json(self) -> list[str]:
        """Return what `from_json` reads."""
        return list(self.symbols)

    @classmethod
    def from_json(cls, data: object) -> SymbolTable:
        """Take back what `to_json` gave; raise CorruptError for anything that it cannot have given."""
        symbols = cast("Sequence[Any]", data) if isinstance(data, list) else None
        if symbols is None or not all(isinstance(s, str) for s in symbols) or len(set(symbols)) != len(symbols):
            raise CorruptError("vocabulary: expected a list of different tokens: the file is damaged or foreign")
        return cls(tuple(symbols))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.symbols, 1)}
