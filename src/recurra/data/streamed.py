"""Records of files that are larger than memory: read in chunks, shuffled chunk by chunk and again in a buffer.

An index holds where chunks of whole records begin. An epoch takes the chunks in an order of its own, reads some of them
at a time, shuffles their records, and cuts them into batches: memory holds the index and one buffer.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, final

from recurra.core.errors import DataError
from recurra.data.ragged_batches import batch_order
from recurra.data.text import Document, decode_text

__all__ = ["Chunk", "Stream", "cut_lines", "read_chunk"]

T = TypeVar("T")

CHUNK = 1 << 18
"""Bytes of a chunk, to which the rest of its last record is added."""
BUFFER = 16
"""Chunks that are shuffled together."""
_LONGEST = 1 << 22


class Chunk(NamedTuple):
    """Bytes of a file that hold whole records, and the number of their first line."""

    file: str
    start: int
    size: int
    line: int


@final
class Stream(Generic[T]):
    """The records of all chunks.

    chunks: at least one; parse: the records of one, which raises DataError for what is wrong, with its place.
    """

    def __init__(self, chunks: Sequence[Chunk], parse: Callable[[Chunk], list[T]]) -> None:
        self.chunks = tuple(chunks)
        self._parse = parse

    def __iter__(self) -> Iterator[T]:
        """Yield all records in their order."""
        for chunk in self.chunks:
            yield from self._parse(chunk)

    def sample(self, most: int) -> list[T]:
        """Return the records of evenly spaced chunks, of at most so many bytes, or of one chunk."""
        count = max(1, min(len(self.chunks), most // CHUNK))
        places = sorted({i * len(self.chunks) // count for i in range(count)})
        return [record for place in places for record in self._parse(self.chunks[place])]

    def batches(
        self,
        batch_size: int,
        seed: int,
        epoch: int,
        start: int,
        *,
        size: Callable[[T], int],
        keep: Callable[[T], bool],
    ) -> Iterator[list[T]]:
        """Yield the batches of an epoch from batch `start` on: a pure function of its arguments.

        size: a record's length, so that the longer stand beside the longer; keep: whether it is learned from.
        """
        draw = random.Random(f"{seed} {epoch}")
        order = list(range(len(self.chunks)))
        draw.shuffle(order)
        for first in range(0, len(order), BUFFER):
            here = order[first : first + BUFFER]
            records = [record for i in here for record in self._parse(self.chunks[i]) if keep(record)]
            own, count = draw.getrandbits(32), math.ceil(len(records) / batch_size)
            if start < count:
                for rows in batch_order([size(record) for record in records], batch_size, own, epoch, start):
                    yield [records[i] for i in rows]
            start = max(0, start - count)


def cut_lines(file: Path, ends: Callable[[bytes], bool] = lambda line: True) -> Iterator[Chunk]:
    """Yield the chunks of a file; `ends`, asked of every line, tells whether a record ends behind it.

    Raises DataError, in one line, for a file that cannot be read and for a line of more than four million bytes.
    """
    start = at = 0
    first = number = 1
    try:
        with file.open("rb") as lines:
            while line := lines.readline(_LONGEST + 1):
                if len(line) > _LONGEST:
                    expected = f"expected at most {_LONGEST:,} bytes a line, got more"
                    raise DataError(f"{file}:{number}: {expected}: write one record a line")
                at, number, whole = at + len(line), number + 1, ends(line)
                if at - start >= CHUNK and whole:
                    yield Chunk(str(file), start, at - start, first)
                    start, first = at, number
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}): check its permissions") from error
    if at > start:
        yield Chunk(str(file), start, at - start, first)


def read_chunk(chunk: Chunk) -> Document:
    """Return the text of a chunk. Raises DataError for what is no UTF-8."""
    with open(chunk.file, "rb") as file:
        file.seek(chunk.start)
        data = file.read(chunk.size)
    if len(data) != chunk.size:
        raise DataError(f"{chunk.file} became shorter while it was read: train again when nobody writes to it")
    place = f"{chunk.file}, from byte {chunk.start:,} on" if chunk.start else chunk.file
    return Document(chunk.file, decode_text(place, data))
