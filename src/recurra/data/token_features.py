"""What else is known of a token besides itself: the pairs it makes with its neighbours, or how it is spelled."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, final, get_args

from recurra.core.errors import CorruptError
from recurra.data.symbols import SymbolTable

__all__ = ["FEATURES", "FeatureKind", "TokenFeatures"]

FeatureKind = Literal["none", "bigrams", "phrases", "spelling"]

FEATURES: tuple[FeatureKind, ...] = get_args(FeatureKind)
"""The kinds there are."""

_RARE: dict[FeatureKind, int] = {"none": 1, "bigrams": 3, "phrases": 2, "spelling": 3}
"""What is seen less often in training is unknown: rarer pairs are learned by heart and teach nothing."""

_MOST = 150_000
"""More different values of a feature than these, the most frequent, are not known: learning them all would be slow."""

_COUNTED: dict[FeatureKind, int] = {"none": 0, "bigrams": 4_000_000, "phrases": 1_000_000, "spelling": 4_000_000}
"""Tokens whose features are counted: those of more would fill the memory. A sample of a stream is from everywhere."""


@final
@dataclass(frozen=True)
class TokenFeatures:
    """Features of every token, each numbered by a table of its own; 0 is what training did not see often enough.

    - `bigrams`: the token with the one before it, and with the one after it (Pei, Ge and Chang 2014; for characters).
    - `phrases`: the token with the one before it, and with the two before it.
    - `spelling`: the token in lower case, its first three, last two and last three letters, and its shape, in which
      runs of upper case, lower case and digits are `A`, `a` and `0` (as in Huang, Xu and Yu 2015; for words).
    - `none`.

    Immutable; made by `of` from the training part, or `from_json`.
    """

    kind: FeatureKind
    tables: tuple[SymbolTable, ...]

    @classmethod
    def of(cls, sequences: Iterable[Sequence[str]], kind: FeatureKind) -> TokenFeatures:
        """Collect the features of some sequences of tokens."""
        counts = [Counter[str]() for _ in _KINDS[kind](())]
        counted = 0
        for tokens in sequences if counts else ():
            for column, found in zip(counts, _KINDS[kind](tokens), strict=True):
                column.update(found)
            counted += len(tokens)
            if counted >= _COUNTED[kind]:
                break
        return cls(kind, tuple(SymbolTable.counted(c, min_count=_RARE[kind], most=_MOST) for c in counts))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each feature has."""
        return tuple(table.size for table in self.tables)

    def widths(self, size: int) -> list[int]:
        """How long the vector of each feature is, if together they are to be about `size` long."""
        return [max(1, size // len(self.tables)) for _ in self.tables]

    def encode(self, tokens: Sequence[str]) -> list[list[int]]:
        """Return the numbers of every feature, one list a feature, one number a token."""
        return [table.encode(found) for table, found in zip(self.tables, _KINDS[self.kind](tokens), strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"kind": self.kind, "tables": [table.to_json() for table in self.tables]}

    @classmethod
    def from_json(cls, data: object) -> TokenFeatures:
        """Take back what `to_json` gave; raise CorruptError for anything that it cannot have given."""
        content = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
        kind, tables = content.get("kind"), content.get("tables")
        if (
            kind not in FEATURES
            or not isinstance(tables, list)
            or len(cast("list[Any]", tables)) != len(_KINDS[kind](()))
        ):
            raise CorruptError("vocabulary: expected the features of tokens: the file is damaged or foreign")
        return cls(kind, tuple(SymbolTable.from_json(table) for table in cast("list[Any]", tables)))


def _bigrams(tokens: Sequence[str]) -> list[list[str]]:
    pairs = list(map("\t".join, zip(["", *tokens], [*tokens, ""], strict=True)))
    return [pairs[:-1], pairs[1:]]


def _phrases(tokens: Sequence[str]) -> list[list[str]]:
    before = ["", "", *tokens]
    return [["\t".join(before[i + 3 - n : i + 3]) for i in range(len(tokens))] for n in (2, 3)]


def _spelling(tokens: Sequence[str]) -> list[list[str]]:
    lower = [token.lower() for token in tokens]
    shapes = [re.sub(r"\d+", "0", re.sub("[a-z]+", "a", re.sub("[A-Z]+", "A", token))) for token in tokens]
    return [lower, [w[:3] for w in lower], [w[-2:] for w in lower], [w[-3:] for w in lower], shapes]


def _none(tokens: Sequence[str]) -> list[list[str]]:
    return []


_KINDS: dict[FeatureKind, Callable[[Sequence[str]], list[list[str]]]] = {
    "none": _none,
    "bigrams": _bigrams,
    "phrases": _phrases,
    "spelling": _spelling,
}
