"""Between text and numbers: characters, bytes or words."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast, final

import numpy as np
from torch import Tensor

from recurra.core.errors import ArgumentError, CorruptError, DataError
from recurra.data.words import split_words

__all__ = ["LEVELS", "UNKNOWN", "Level", "StreamDecoder", "Vocabulary", "utf8"]

Level = Literal["char", "byte", "word"]

LEVELS: tuple[Level, ...] = ("char", "byte", "word")
"""What one token can be."""

UNKNOWN = "\ufffd"
"""How the unknown symbol, and bytes that are no UTF-8, decode: the replacement character."""


@final
@dataclass(frozen=True)
class Vocabulary:
    """Which token has which number. Immutable; make one by `build` or `from_json`.

    - `char`: a token is a Unicode code point; 0 is the unknown one, the others go by code point.
    - `byte`: a token is a byte of UTF-8, its own number; nothing is unknown.
    - `word`: tokens are those of `split_words`; 0 is the unknown one, the others go by falling frequency.

    level: one of `LEVELS`; symbols: the known tokens in order, without the unknown one; empty for bytes.
    """

    level: Level
    symbols: tuple[str, ...]

    @classmethod
    def build(
        cls, texts: Iterable[str], level: Level = "char", *, min_count: int = 1, max_size: int | None = None
    ) -> Vocabulary:
        """Collect the tokens of texts: of the training part alone, or validation says too much.

        Tokens seen fewer than `min_count` times are left out, and then the rarest (of equally rare ones
        those that sort last) until `size`, the unknown one included, is at most `max_size`.
        """
        if level not in LEVELS:
            raise ArgumentError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
        if min_count < 1:
            raise ArgumentError(f"min_count must be at least 1, got {min_count}")
        if max_size is not None and max_size < 2:
            raise ArgumentError(f"max_size must be at least 2 (the unknown token and one other), got {max_size}")
        if level == "byte":
            return cls(level, ())
        counts: Counter[str] = Counter()
        for text in texts:
            utf8(text)
            counts.update(text if level == "char" else split_words(text))
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kept = [symbol for symbol, count in ordered if count >= min_count]
        if not kept:
            raise DataError(f"expected text with tokens seen at least {min_count} times, got none: give more text")
        kept = kept if max_size is None else kept[: max_size - 1]
        return cls(level, tuple(sorted(kept) if level == "char" else kept))

    @property
    def size(self) -> int:
        """How many tokens there are, the unknown one included."""
        return 256 if self.level == "byte" else len(self.symbols) + 1

    @property
    def unknown_id(self) -> int | None:
        """The number of the unknown token, or None for bytes."""
        return None if self.level == "byte" else 0

    def encode(self, text: str) -> np.ndarray:
        """Return the numbers of a text's tokens, `(n,)` int64.

        Raises DataError for a lone surrogate: half a character, which no UTF-8 text can hold.
        """
        if self.level == "byte":
            return np.frombuffer(utf8(text), dtype=np.uint8).astype(np.int64)
        if self.level == "char":
            points = _code_points(text)
            place = np.minimum(np.searchsorted(self._points, points), len(self.symbols) - 1)
            return np.where(self._points[place] == points, place + 1, 0)
        utf8(text)
        ids = self._ids
        return np.fromiter((ids.get(word, 0) for word in split_words(text)), dtype=np.int64)

    def decode(self, ids: Sequence[int] | np.ndarray | Tensor) -> str:
        """Return the text of token numbers; the unknown one, and bytes that are no UTF-8, become `UNKNOWN`."""
        numbers = ids.numpy(force=True) if isinstance(ids, Tensor) else np.asarray(ids)
        if numbers.size == 0:
            return ""
        low, high = numbers.min(), numbers.max()
        if numbers.dtype.kind not in "iu" or low < 0 or high >= self.size:
            raise ArgumentError(f"token numbers must be integers from 0 to {self.size - 1}, got {low} to {high}")
        if self.level == "byte":
            return numbers.astype(np.uint8).tobytes().decode("utf-8", errors="replace")
        texts = self._texts
        return "".join(texts[number] for number in numbers.tolist())

    def stream_decoder(self) -> StreamDecoder:
        """Return a decoder that takes one number at a time."""
        return StreamDecoder(self)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads: plain data for a JSON file."""
        return {"level": self.level, "size": self.size, "symbols": list(self.symbols)}

    @classmethod
    def from_json(cls, data: object) -> Vocabulary:
        """Take back what `to_json` gave; raise CorruptError for anything that it cannot have given."""
        fault = _fault(data)
        if fault is not None:
            raise CorruptError(f"vocabulary: expected {fault}: the file is damaged or foreign, take another")
        level, symbols = cast("dict[str, Any]", data)["level"], cast("dict[str, Any]", data)["symbols"]
        return cls(level, tuple(symbols))

    @cached_property
    def _points(self) -> np.ndarray:
        return np.fromiter(map(ord, self.symbols), dtype=np.int64, count=len(self.symbols))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.symbols, 1)}

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        return (UNKNOWN, *self.symbols)


@final
class StreamDecoder:
    """Turns token numbers into text as they come: bytes of an unfinished character wait for the rest."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace") if vocabulary.level == "byte" else None

    def push(self, number: int) -> str:
        """Take one token's number; return the text that is complete by it, which may be empty."""
        if self._bytes is None:
            return self._vocabulary.decode([number])
        if not 0 <= number < 256:
            raise ArgumentError(f"token numbers must be integers from 0 to 255, got {number}")
        return self._bytes.decode(bytes([number]))

    def finish(self) -> str:
        """Return what still waits: the replacement character if a character stayed unfinished."""
        return "" if self._bytes is None else self._bytes.decode(b"", final=True)


def utf8(text: str) -> bytes:
    """Return a text as UTF-8. Raises DataError for a lone surrogate: half a character."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _surrogate(error) from error


def _code_points(text: str) -> np.ndarray:
    try:
        return np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.int64)
    except UnicodeEncodeError as error:
        raise _surrogate(error) from error


def _surrogate(error: UnicodeEncodeError) -> DataError:
    point = ord(error.object[error.start])
    return DataError(
        f"expected text that UTF-8 can hold, got a lone surrogate U+{point:04X} at character {error.start}: "
        "half a character was cut off there, remove it"
    )


def _fault(data: object) -> str | None:
    """Say what was expected and what came, if `data` is nothing that `to_json` gives."""
    if not isinstance(data, dict) or set(data) != {"level", "size", "symbols"}:
        return "an object with exactly level, size and symbols"
    level, size, symbols = data["level"], data["size"], data["symbols"]
    if level not in LEVELS:
        return f"a level of {', '.join(LEVELS)}, got {_short(level)}"
    if not isinstance(symbols, list):
        return f"symbols to be a list, got {_short(symbols)}"
    for place, symbol in enumerate(symbols):
        if not isinstance(symbol, str) or not _is_token(symbol, level):
            return f"symbol {place} to be one {level}, got {_short(symbol)}"
    if (level == "byte") != (not symbols):
        return "no symbols for bytes, and some otherwise"
    if len(set(symbols)) < len(symbols):
        return "symbols that differ, got one twice"
    if level == "char" and symbols != sorted(symbols):
        return "characters in the order of their code points"
    expected = 256 if level == "byte" else len(symbols) + 1
    if type(size) is not int or size != expected:
        return f"a size of {expected}, got {_short(size)}"
    return None


def _is_token(symbol: str, level: Level) -> bool:
    if any("\ud800" <= character <= "\udfff" for character in symbol):
        return False
    return len(symbol) == 1 if level == "char" else split_words(symbol) == [symbol]


def _short(value: object) -> str:
    # Never the whole of what a stranger's file holds, and never more than one line.
    return ascii(value)[:40] if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
