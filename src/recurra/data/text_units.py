"""What a token of a whole text is: a character, several of them, a word or a piece of one; and which number it has."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, final, get_args

import numpy as np
import torch
from torch import Tensor

from recurra.core.errors import CorruptError, DataError
from recurra.data.pieces import Pieces
from recurra.data.symbols import SymbolTable
from recurra.data.token_features import TokenFeatures
from recurra.data.vocabulary import Vocabulary, utf8
from recurra.data.words import split_words

__all__ = ["LONGEST_NGRAM", "UNITS", "TextUnits", "Unit", "ngrams"]

Unit = Literal["char", "ngrams", "word", "pieces"]

UNITS: tuple[Unit, ...] = get_args(Unit)
"""What a token can be."""

LONGEST_NGRAM = 16
"""Characters of an n-gram."""
_NO_PHRASES = TokenFeatures("none", ())


@final
@dataclass(frozen=True)
class TextUnits:
    """How a text is cut into tokens, and which are known; 0 is every unknown one. Immutable.

    - `char`: a character; `word`: those of `split_words`, white space left out.
    - `ngrams`: at every character, the `length` characters from it on; fewer at the end.
    - `pieces`: what SentencePiece learned; `model` has its bytes.

    phrases: what a token says with the one and the two before it, which has numbers too, if it is wanted.

    Made by `build` from the training part, or `from_json`.
    """

    unit: Unit
    table: SymbolTable
    length: int = 1
    model: bytes = b""
    phrases: TokenFeatures = _NO_PHRASES

    @classmethod
    def build(
        cls,
        texts: Sequence[str],
        unit: Unit,
        *,
        min_count: int = 1,
        length: int = 3,
        pieces: int = 8000,
        phrases: bool = False,
    ) -> TextUnits:
        """Collect the tokens that are seen at least `min_count` times, or at most so many `pieces`, and the phrases."""
        units = cls._alone(texts, unit, min_count, length, pieces)
        return replace(units, phrases=TokenFeatures.of(map(units.tokens, texts), "phrases")) if phrases else units

    @classmethod
    def _alone(cls, texts: Sequence[str], unit: Unit, min_count: int, length: int, pieces: int) -> TextUnits:
        if unit == "pieces":
            learned = Pieces.learn(texts, pieces)
            return cls(unit, SymbolTable(learned.symbols), 1, learned.model)
        if unit != "ngrams":
            return cls(unit, SymbolTable(Vocabulary.build(texts, unit, min_count=min_count).symbols))
        table = SymbolTable.build((ngrams(text, length) for text in texts), min_count=min_count)
        if not table.symbols:
            raise DataError(f"expected text with tokens seen at least {min_count} times, got none: give more text")
        return cls(unit, table, length)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The known tokens in order, without the unknown one."""
        return self.table.symbols

    @property
    def size(self) -> int:
        """How many numbers there are, the unknown token's included."""
        return self.table.size

    def cut(self, text: str) -> list[tuple[str, str | None]]:
        """Return the pieces of a text, which joined are the text again, and the token each is looked up as.

        White space between words is no token: None. Raises DataError for a lone surrogate.
        """
        utf8(text)
        if self._pieces is not None:
            return [*self._pieces.cut(text)]
        if self.unit == "word":
            return [(word, None if word.isspace() else word) for word in split_words(text)]
        return list(zip(text, ngrams(text, self.length), strict=True))

    def tokens(self, text: str) -> list[str]:
        """Return a text's tokens."""
        return [token for _, token in self.cut(text) if token is not None]

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens; one unknown for a text without any: a sequence needs a step."""
        return self.table.encode(self.tokens(text)) or [0]

    def numbers(self, tokens: Sequence[str]) -> Tensor:
        """Return the numbers of tokens `(T,)`, or with their phrases' `(T, columns)`, int64; T is at least 1."""
        rows = [self.table.encode(tokens), *self.phrases.encode(tokens)]
        found = np.array(rows, dtype=np.int64).T if tokens else np.zeros((1, len(rows)), dtype=np.int64)
        return torch.from_numpy(found if self.phrases.tables else found[:, 0])

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads: plain data for a JSON file."""
        model = base64.b64encode(self.model).decode()
        return {
            "level": self.unit,
            "length": self.length,
            "model": model,
            "symbols": self.table.to_json(),
            "phrases": self.phrases.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TextUnits:
        """Take back what `to_json` gave; raise CorruptError for anything that it cannot have given."""
        unit, length, model = data.get("level"), data.get("length", 1), data.get("model", "")
        if (
            unit not in UNITS
            or type(length) is not int
            or not 1 <= length <= LONGEST_NGRAM
            or not isinstance(model, str)
        ):
            raise CorruptError("vocabulary: expected what a token is: the file is damaged or foreign, take another")
        try:
            raw = base64.b64decode(model, validate=True)
        except binascii.Error as error:
            raise CorruptError("vocabulary: expected a model in base64: the file is damaged or foreign") from error
        phrases = TokenFeatures.from_json(data["phrases"]) if "phrases" in data else _NO_PHRASES
        units = cls(unit, SymbolTable.from_json(data.get("symbols")), length, raw, phrases)
        if units._pieces is not None and units._pieces.symbols != units.symbols:
            raise CorruptError("vocabulary: the pieces are not those of its model: the file is damaged or foreign")
        return units

    @cached_property
    def _pieces(self) -> Pieces | None:
        return Pieces(self.model) if self.unit == "pieces" else None


def ngrams(text: str, length: int) -> list[str]:
    """Return, at every character of a text, the `length` characters from it on; fewer at the end."""
    return [text[i : i + length] for i in range(len(text))]
