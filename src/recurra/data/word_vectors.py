"""Word vectors in files: word2vec's text and binary formats, GloVe's, and fastText's `.vec`; and who is near whom.

- word2vec's text, fastText's `.vec`: a first line `N D`, then N lines of a word and D numbers.
- GloVe's text: the same without the first line. A word may hold blanks there: the last D pieces are the numbers.
- word2vec's binary: a first line `N D`, then N times a word, a blank and D floats of four bytes, little end first; some
  writers end each with a line break.

Which of them a file is in is seen by its first two lines.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple, final

import numpy as np

from recurra.core.errors import ArgumentError, DataError

__all__ = ["Neighbour", "WordVectors", "read_vectors", "write_vectors"]

_LONGEST = 1 << 20
"""Bytes of a line: beyond that it is no line of word vectors."""


class Neighbour(NamedTuple):
    """A word and the cosine of the angle between its vector and another's."""

    word: str
    cosine: float


@final
@dataclass(frozen=True, eq=False)
class WordVectors:
    """Different words and their vectors `(words, D)`, float32."""

    words: tuple[str, ...]
    vectors: np.ndarray

    def near(self, word: str, n: int = 10) -> list[Neighbour]:
        """Return the n words whose vectors stand at the smallest angles to that of `word`, nearest first.

        Raises DataError for a word that there is not.
        """
        if n < 1:
            raise ArgumentError(f"n must be at least 1, got {n}")
        if word not in self.places:
            raise DataError(f"expected one of the {len(self.words):,} words that have a vector, got {word!r}")
        at = self.places[word]
        cosines = self._directions @ self._directions[at]
        best = np.argsort(-cosines, kind="stable")[: n + 1].tolist()
        return [Neighbour(self.words[i], float(cosines[i])) for i in best if i != at][:n]

    @cached_property
    def places(self) -> dict[str, int]:
        """Which row is whose."""
        return {word: i for i, word in enumerate(self.words)}

    @cached_property
    def _directions(self) -> np.ndarray:
        return self.vectors / np.maximum(np.linalg.norm(self.vectors, axis=1, keepdims=True), 1e-12)


def read_vectors(path: str | Path, wanted: Container[str] | None = None) -> WordVectors:
    """Read the vectors of a file, or of those words of it that are `wanted`; the file itself is never held whole.

    Of a word that is there twice, the first counts. Raises DataError, in one line, for what is of none of the formats:
    a number that is none or not finite, a line of another length, fewer words than the first line says.
    """
    try:
        with Path(path).open("rb") as file:
            kept: dict[str, np.ndarray] = {}
            size = _shape(str(path), file)[1]
            file.seek(0)
            for word, vector in _entries(str(path), file, wanted):
                kept.setdefault(word, vector)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    table = np.stack(list(kept.values())) if kept else np.zeros((0, size), np.float32)
    return WordVectors(tuple(kept), table)


def write_vectors(path: str | Path, vectors: WordVectors) -> None:
    """Write word2vec's text format, which fastText's `.vec` is too. Raises ArgumentError for a word with a blank."""
    blank = next((word for word in vectors.words if not word or any(c.isspace() for c in word)), None)
    if blank is not None:
        raise ArgumentError(f"expected words without blanks, which the format cannot hold, got {blank!r}")
    with Path(path).open("w", encoding="utf-8") as file:
        file.write(f"{len(vectors.words)} {vectors.vectors.shape[1]}\n")
        rows = zip(vectors.words, vectors.vectors.tolist(), strict=True)
        file.writelines(f"{word} {' '.join(f'{x:.7g}' for x in vector)}\n" for word, vector in rows)


def _entries(name: str, file: BinaryIO, wanted: Container[str] | None) -> Iterator[tuple[str, np.ndarray]]:
    count, size, binary = _shape(name, file)
    if binary:
        yield from _binary(name, file, count or 0, size, wanted)
        return
    first = 1 if count is None else 2
    number = first - 1
    for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), first):
        if line.strip():
            word, numbers = _cut(f"{name}:{number}", line, size)
            if wanted is None or word in wanted:
                yield word, _vector(f"{name}:{number}", numbers, size)
    if count is not None and number - first + 1 < count:
        raise _too_short(name, count, number - first + 1)


def _shape(name: str, file: BinaryIO) -> tuple[int | None, int, bool]:
    """Return how many words line 1 promises (None: it is no such line), the size, and whether numbers are binary.

    The file then stands before the first word.
    """
    first = file.readline(_LONGEST)
    pieces = first.split()
    if len(pieces) == 2 and all(piece.isdigit() for piece in pieces):
        count, size = int(pieces[0]), int(pieces[1])
        if not 1 <= size <= _LONGEST:
            raise DataError(f"{name}:1: expected a number of words and a size, got {_shown(first)}: no vectors")
        start = file.tell()
        second = file.readline(_LONGEST)
        file.seek(start)
        return count, size, bool(count) and not _is_text(second, size)
    numbers = 0
    while numbers < len(pieces) - 1 and _number(pieces[-1 - numbers]) is not None:
        numbers += 1
    if numbers < 2:
        raise DataError(
            f"{name}:1: expected `words size`, or a word and its numbers, got {_shown(first)}: give vectors in the "
            "format of word2vec, GloVe or fastText"
        )
    file.seek(0)
    return None, numbers, False


def _is_text(line: bytes, size: int) -> bool:
    pieces = line.split()
    return len(pieces) > size // 2 and all(_number(p) is not None for p in pieces[-1 : -min(size, 3) - 1 : -1])


def _cut(place: str, line: bytes, size: int) -> tuple[str, bytes]:
    """Return a line's word and what stands behind it. Most lines of a large file are of words that nobody asked for."""
    line = line.rstrip(b" \t\r\n")
    border = b"\t" if line.count(b"\t") == size else b" "
    # Not split(): the blanks of other alphabets are words in some files, and a word may hold blanks itself.
    word, *rest = line.split(border, 1) if line.count(border) == size else line.rsplit(border, size)
    if line.count(border) < size:
        raise DataError(f"{place}: expected a word and {size} numbers, got {len(rest)} ({_shown(line)}): mend the line")
    try:
        return word.decode("utf-8"), border.join(rest)
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: expected UTF-8, got {_shown(line)}: convert the file") from error


def _vector(place: str, numbers: bytes, size: int) -> np.ndarray:
    pieces = numbers.split()
    try:
        vector = np.array(pieces).astype(np.float32)
    except ValueError:
        vector = np.full(size, np.nan, np.float32)
    if len(pieces) != size or not np.isfinite(vector).all():
        raise DataError(f"{place}: expected {size} finite numbers after the word, got {_shown(numbers)}: mend the line")
    return vector


def _binary(
    name: str, file: BinaryIO, count: int, size: int, wanted: Container[str] | None
) -> Iterator[tuple[str, np.ndarray]]:
    for number in range(1, count + 1):
        word = bytearray()
        while (byte := file.read(1)) not in (b" ", b""):
            # A line break belongs to the entry before, never to a word.
            word += b"" if byte == b"\n" and not word else byte
            if len(word) > 10_000:
                raise DataError(f"{name}: word {number:,} does not end: these are no word vectors in binary")
        data = file.read(4 * size)
        if len(data) < 4 * size:
            raise _too_short(name, count, number - 1)
        # Some published files hold words that were cut in the middle of a character: they are no one's words.
        text = word.decode("utf-8", errors="replace")
        if wanted is not None and text not in wanted:
            continue
        vector = np.frombuffer(data, dtype="<f4").astype(np.float32)
        if not np.isfinite(vector).all():
            raise DataError(f"{name}: expected finite numbers, word {number:,} has others: the file is damaged")
        yield text, vector


def _too_short(name: str, promised: int, found: int) -> DataError:
    return DataError(
        f"{name}: expected the {promised:,} words that line 1 speaks of, got {found:,}: it was cut off, fetch it again"
    )


def _number(piece: bytes) -> float | None:
    try:
        value = float(piece)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _shown(data: bytes) -> str:
    text = data[:60].decode("utf-8", errors="replace").strip()
    return ascii(text if len(text) <= 30 else f"{text[:27]}...")
