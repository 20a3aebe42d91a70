"""Records of files that are larger than memory: read in chunks, shuffled chunk by chunk and again in a buffer.

An index holds where chunks of whole records begin, or which files of a folder are one chunk: under 200 bytes for each
256 KiB of a file, and the names of the files in a folder. An epoch takes the chunks in an order of its own, reads some
of them at a time, shuffles their records, and cuts them into batches: memory holds the index and one buffer.
"""

from __future__ import annotations

import math
import os
import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, final

from recurra.core.errors import DataError
from recurra.data.ragged_batches import batch_order
from recurra.data.text import Document, decode_text, read_documents, read_found, text_files

__all__ = ["Chunk", "ShuffledStream", "Stream", "cut_folders", "cut_lines", "read_chunk", "read_folder_chunk"]

T = TypeVar("T")

CHUNK = 1 << 18
"""Bytes of a chunk, to which the rest of its last record is added."""
BUFFER = 16
"""Chunks that are shuffled together."""
_MIXED = 16
"""Pieces of a chunk of folders."""
_BETWEEN = b"\0"
_LONGEST = 1 << 22
_RECORD = 1 << 25
"""Bytes of a record; what ends later has no ends that are known."""


class Chunk(NamedTuple):
    """Bytes of a file that hold whole records, and the number of their first line; or some files in a folder.

    names: the files' names, as bytes with NUL between, where `file` is a folder; size: their bytes.
    """

    file: str
    start: int
    size: int
    line: int
    names: bytes = b""


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

    def read(self, place: int) -> list[T]:
        """Return the records of one chunk."""
        return self._parse(self.chunks[place])

    def sample(self, most: int) -> list[T]:
        """Return the records of evenly spaced chunks, of at most so many bytes, or of one chunk."""
        count = max(1, min(len(self.chunks), most // CHUNK))
        places = sorted({(2 * i + 1) * len(self.chunks) // (2 * count) for i in range(count)})
        found = [record for place in places for record in self.read(place)]
        if not found:
            raise DataError(f"{self.chunks[0].file}: expected sentences or texts, found none: name another file")
        return found


@final
class ShuffledStream(Generic[T]):
    """A stream's records in batches, epoch by epoch: pure functions of the seed and the epoch.

    size: a record's length, so that the longer stand beside the longer; keep: whether it is learned from.
    """

    def __init__(
        self,
        stream: Stream[T],
        batch_size: int,
        seed: int,
        *,
        size: Callable[[T], int],
        keep: Callable[[T], bool],
    ) -> None:
        self._stream, self._batch_size, self._seed = stream, batch_size, seed
        self._size, self._keep = size, keep
        self._kept: array[int] | None = None

    def batches(self, epoch: int, start: int = 0) -> Iterator[list[T]]:
        """Yield the batches of an epoch from batch `start` on."""
        for places, own in self._buffers(epoch):
            if self._kept is not None and start >= (count := self._count(places)):
                start -= count
                continue
            records = [record for place in places for record in self._stream.read(place) if self._keep(record)]
            if start < (count := math.ceil(len(records) / self._batch_size)):
                lengths = [self._size(record) for record in records]
                for rows in batch_order(lengths, self._batch_size, own, epoch, start):
                    yield [records[i] for i in rows]
            start = max(0, start - count)

    def count(self, epoch: int) -> int:
        """Return how many batches an epoch has; at first everything is read for it, later nothing."""
        if self._kept is None:
            kept = (sum(map(self._keep, self._stream.read(i))) for i in range(len(self._stream.chunks)))
            self._kept = array("I", kept)
        return sum(self._count(places) for places, _ in self._buffers(epoch))

    def _buffers(self, epoch: int) -> Iterator[tuple[list[int], int]]:
        """Yield the places of the chunks that are shuffled together, and a seed of their own."""
        draw = random.Random(f"{self._seed} {epoch}")
        order = list(range(len(self._stream.chunks)))
        draw.shuffle(order)
        for first in range(0, len(order), BUFFER):
            yield order[first : first + BUFFER], draw.getrandbits(32)

    def _count(self, places: Sequence[int]) -> int:
        assert self._kept is not None
        return math.ceil(sum(self._kept[i] for i in places) / self._batch_size)


def cut_lines(file: Path, ends: Callable[[bytes], bool] = lambda line: True) -> Iterator[Chunk]:
    """Yield the chunks of a file; `ends`, asked of every line, tells whether a record ends behind it.

    Raises DataError, in one line, for a file that cannot be read, for a line of more than four million bytes, and for
    a record of more than thirty million.
    """
    start = at = ended = 0
    first = number = next_record = 1
    try:
        with file.open("rb") as lines:
            while line := lines.readline(_LONGEST + 1):
                if len(line) > _LONGEST:
                    expected = f"expected at most {_LONGEST:,} bytes a line, got more"
                    raise DataError(f"{file}:{number}: {expected}: write one record a line")
                at, number, whole = at + len(line), number + 1, ends(line)
                if whole:
                    ended, next_record = at, number
                elif at - ended > _RECORD:
                    expected = f"expected the end of what begins here within {_RECORD:,} bytes, got none"
                    what = "sentences need empty lines between, fields their quotes"
                    raise DataError(f"{file}:{next_record}: {expected}: {what}")
                if at - start >= CHUNK and whole:
                    yield Chunk(str(file), start, at - start, first)
                    start, first = at, number
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}): check its permissions") from error
    if at > start:
        yield Chunk(str(file), start, at - start, first)


def cut_folders(root: Path, folders: Sequence[Path]) -> list[Chunk]:
    """Return the chunks of some folders in `root`, whose text files, one by one, are the records (see `text_files`).

    Every chunk has files of all folders, as far as there are enough: what is sampled or shuffled together is mixed.
    """
    pieces: list[tuple[float, int, bytes]] = []
    for folder in folders:
        own = [*_cut_files(root, folder)]
        if not own:
            read_documents([folder])  # It says what is missing there.
        pieces += [((i + 0.5) / len(own), size, names) for i, (size, names) in enumerate(own)]
    chunks: list[Chunk] = []
    held, size = list[bytes](), 0
    for _, more, names in sorted(pieces):
        held.append(names)
        size += more
        if size >= CHUNK:
            chunks.append(Chunk(str(root), 0, size, 0, _BETWEEN.join(held)))
            held, size = [], 0
    return [*chunks, Chunk(str(root), 0, size, 0, _BETWEEN.join(held))] if held else chunks


def read_folder_chunk(chunk: Chunk) -> Iterator[tuple[str, Document]]:
    """Yield the texts of a chunk of folders, each with its folder's name.

    What is no text is passed over, as `read_documents` does.
    """
    for name in map(os.fsdecode, chunk.names.split(_BETWEEN)):
        document = read_found(Path(chunk.file, name))
        if document is not None:
            yield Path(name).parts[0], document


def _cut_files(root: Path, folder: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes of some files, and their names from `root` on."""
    names, size = list[bytes](), 0
    for file, _ in text_files(folder):
        here = file.stat().st_size
        if here:
            names.append(os.fsencode(file.relative_to(root)))
            size += here
        if size >= CHUNK // _MIXED:
            yield size, _BETWEEN.join(names)
            names, size = [], 0
    if names:
        yield size, _BETWEEN.join(names)


def read_chunk(chunk: Chunk) -> Document:
    """Return the text of a chunk. Raises DataError for what is no UTF-8."""
    with open(chunk.file, "rb") as file:
        file.seek(chunk.start)
        data = file.read(chunk.size)
    if len(data) != chunk.size:
        raise DataError(f"{chunk.file} became shorter while it was read: train again when nobody writes to it")
    place = f"{chunk.file}, from byte {chunk.start:,} on" if chunk.start else chunk.file
    return Document(chunk.file, decode_text(place, data))
