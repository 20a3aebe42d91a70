"""Known spans (words, names), looked up in a sentence: a token's features beside itself; and lists of them in files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast, final

from recurra.core.errors import CorruptError, DataError
from recurra.data.labelled_text import UNKNOWN_TAG, TaggedSentence
from recurra.data.tag_schemes import Scheme, spans
from recurra.data.text import read_documents

__all__ = ["SpanDictionary", "read_lexicon"]

_OFTEN = 2
"""A span is known from so many sentences on. What one sentence alone taught would always be known while learning, and
never a new sentence's: the network would come to trust the dictionary more than it is worth."""

_SHORTEST = 2
_LONGEST = 6
"""Lengths from here on are one; a single token is known by its own vector."""

_BETWEEN = "\t"


def read_lexicon(path: str | Path) -> list[str]:
    """Return the lines of a list of words or names, without empty ones.

    A span stands at the beginning of its line. What follows a tab is left out, and in a list for text that is read by
    characters what follows any blank (`TagNames.of`), since dictionaries of segmenters have counts and tags there.
    Raises DataError for a file without a line.
    """
    lines = [line for line in read_documents([path])[0].text.split("\n") if line.strip()]
    if not lines:
        raise DataError(f"{path}: expected a word or name a line, got none: name another")
    return lines


@final
@dataclass(frozen=True)
class SpanDictionary:
    """The spans of at least two tokens that are known: each with a type, if spans have types.

    Every token gets three numbers: of the longest known span that begins with it, of the longest that ends with it, and
    of the longest that goes on through it; a number tells the type and the length, 0 that there is none. Source: the
    features of Zhang, Liu and Fu (2018), "Neural Networks Incorporating Dictionaries for Chinese Word Segmentation"; of
    the longest spans alone, and of types.

    Immutable; made by `of` from the training part, by `listed` from elsewhere, or by `from_json`.
    """

    types: tuple[str, ...] = ()
    entries: Mapping[str, int] | None = None

    @classmethod
    def of(cls, sentences: Iterable[TaggedSentence], scheme: Scheme) -> SpanDictionary:
        """Collect the spans that two sentences have, each with the type it had most often.

        Sentences with unknown tags are passed over.
        """
        seen, kinds = Counter[str](), dict[str, Counter[str]]()
        for s in sentences:
            if UNKNOWN_TAG in s.tags:
                continue
            found = [(_BETWEEN.join(s.tokens[a:b]), kind) for a, b, kind in spans(s.tags, scheme) if b - a >= _SHORTEST]
            seen.update({text for text, _ in found})
            for text, kind in found:
                kinds.setdefault(text, Counter())[kind] += 1
        known = {text: min(kinds[text], key=lambda kind: (-kinds[text][kind], kind)) for text in sorted(seen)}
        types = tuple(sorted(set(known.values())))
        return cls(types, {text: types.index(kind) for text, kind in known.items() if seen[text] >= _OFTEN})

    @classmethod
    def listed(cls, spans: Iterable[Sequence[str]]) -> SpanDictionary:
        """Take spans as they are listed, each as its tokens; all of one type."""
        return cls(("",), {_BETWEEN.join(tokens): 0 for tokens in spans if len(tokens) >= _SHORTEST})

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each feature has; empty for no dictionary."""
        return () if self.entries is None else (1 + len(self.types) * _LONGEST,) * 3

    def encode(self, tokens: Sequence[str]) -> list[list[int]]:
        """Return the numbers of every feature, one list a feature, one number a token."""
        if self.entries is None:
            return []
        begins, ends, through = ([0] * len(tokens) for _ in range(3))
        lengths = [[0] * len(tokens) for _ in range(2)]  # Of what ends at a token, and of what goes through it.
        for first in range(len(tokens)):
            text, last = tokens[first], first
            while text in self._beginnings and last + 1 < len(tokens):
                last += 1
                text += _BETWEEN + tokens[last]
                kind = self.entries.get(text)
                if kind is None:
                    continue
                length = last + 1 - first
                number = 1 + kind * _LONGEST + min(length, _LONGEST) - 1
                begins[first] = number
                for row, at, where in ((ends, lengths[0], (last,)), (through, lengths[1], range(first + 1, last))):
                    for i in where:
                        if length > at[i]:
                            row[i], at[i] = number, length
        return [begins, ends, through]

    def to_json(self) -> dict[str, Any] | None:
        """Return what `from_json` reads."""
        return None if self.entries is None else {"types": list(self.types), "entries": dict(self.entries)}

    @classmethod
    def from_json(cls, data: object) -> SpanDictionary:
        """Take back what `to_json` gave; raise CorruptError for anything else."""
        if data is None:
            return cls()
        content = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
        types, entries = content.get("types"), content.get("entries")
        right = isinstance(types, list) and isinstance(entries, dict)
        right = right and all(isinstance(kind, str) for kind in cast("list[Any]", types))
        count = len(cast("list[Any]", types)) if right else 0
        if not right or not all(type(k) is int and 0 <= k < count for k in cast("dict[str, Any]", entries).values()):
            raise CorruptError("vocabulary: expected a dictionary of spans: the file is damaged or foreign")
        return cls(tuple(cast("list[str]", types)), cast("dict[str, int]", entries))

    @cached_property
    def _beginnings(self) -> frozenset[str]:
        """What a known span may begin with, in whole tokens."""
        found = set[str]()
        for text in self.entries or ():
            parts = text.split(_BETWEEN)
            found.update(_BETWEEN.join(parts[:n]) for n in range(1, len(parts)))
        return frozenset(found)
