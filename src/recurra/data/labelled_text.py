"""Readers of text in which every token has a tag: CoNLL's columns, CoNLL-U, `token/tag` lines, and segmented lines.

- `columns`: one token a line, columns with blanks or tabs between, the tag in the last one; empty lines between
  sentences; `-DOCSTART-` lines are passed over.
- `conllu`: ten columns with tabs between; the token is FORM, the tag UPOS; ranges (`3-4`) and empty nodes (`3.1`) are
  passed over.
- `slash`: one sentence a line, `我/b 爱/e` or `dog/NN`; the tag stands after the last slash.
- `segmented`: one sentence a line, words with blanks between; tokens are characters, tags BMES.
- `auto`: by the first lines: CoNLL-U by its ten columns; slash where most pieces have one; columns by a tab, by
  several lines of as many columns, or by empty lines among lines that nearly all have as many; otherwise segmented.

A tag that is not known is spelled by a mark of one's own choice (`?`), and read as `UNKNOWN_TAG`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from recurra.core.errors import ArgumentError, DataError
from recurra.data.streamed import Chunk, Stream, cut_lines, read_chunk
from recurra.data.tag_schemes import Span, tags_of
from recurra.data.text import Document, read_documents, total_size

__all__ = [
    "FORMATS",
    "UNKNOWN_TAG",
    "TagFormat",
    "TaggedSentence",
    "detect_format",
    "parse_tagged",
    "read_tagged",
    "stream_tagged",
]

TagFormat = Literal["auto", "columns", "conllu", "slash", "segmented"]

FORMATS: tuple[TagFormat, ...] = get_args(TagFormat)
"""The formats there are."""

UNKNOWN_TAG = ""
"""What stands in a sentence for a tag that is not known; no format can spell it."""

_NEARLY = 0.9
_LONGEST = 1_000_000
"""Characters of a line; beyond that it is no line of a corpus."""


class TaggedSentence(NamedTuple):
    """Tokens, as many tags (`UNKNOWN_TAG` where one is not known), and where the sentence begins (`file:line`)."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    place: str = ""


def read_tagged(
    paths: Sequence[str | Path], format: TagFormat = "auto", *, unlabelled: str = ""
) -> list[TaggedSentence]:
    """Read all sentences of some files and folders (see `read_documents`), in order.

    unlabelled: the mark that stands where a tag is not known; "" for none.

    Raises DataError, in one line with the file and the line number, for what is not of the format.
    """
    documents = read_documents(paths)
    found = [sentence for document in documents for sentence in parse_tagged(document, format, unlabelled=unlabelled)]
    if not found:
        raise DataError(f"{', '.join(map(str, paths))}: expected sentences with tags, found none: name another file")
    return found


def stream_tagged(
    paths: Sequence[str | Path], format: TagFormat = "auto", *, most: int, unlabelled: str = ""
) -> Stream[TaggedSentence] | None:
    """Return the sentences of files of more than `most` bytes as a stream; None for files that are smaller."""
    _check_format(format)
    size, files = total_size(paths)
    if size <= most:
        return None
    formats: dict[str, TagFormat] = {}
    chunks: list[Chunk] = []
    for file in files:
        start = next(cut_lines(file))
        formats[str(file)] = detect_format(read_chunk(start).text.split("\n")) if format == "auto" else format
        blocks = formats[str(file)] in ("columns", "conllu")
        chunks += cut_lines(file, (lambda line: not line.strip()) if blocks else (lambda line: True))

    def parse(chunk: Chunk) -> list[TaggedSentence]:
        return parse_tagged(read_chunk(chunk), formats[chunk.file], chunk.line, unlabelled=unlabelled)

    return Stream(chunks, parse)


def parse_tagged(
    document: Document, format: TagFormat = "auto", first: int = 1, *, unlabelled: str = ""
) -> list[TaggedSentence]:
    """Return the sentences of one document, whose first line has the number `first`; unlabelled: see `read_tagged`."""
    _check_format(format)
    lines = document.text.split("\n")
    for number, line in enumerate(lines, first):
        if len(line) > _LONGEST:
            raise DataError(
                f"{document.name}:{number}: expected at most {_LONGEST:,} characters a line, got {len(line):,}: "
                "write one sentence a line"
            )
    kind = detect_format(lines) if format == "auto" else format
    found = _PARSERS[kind](document.name, lines, first)
    if not unlabelled:
        return list(found)
    if kind == "segmented":
        raise DataError(
            f"{document.name}: expected tags, some of them {unlabelled!r}, got lines of words without tags: "
            "leave out --unlabelled, or give --format"
        )
    return [s._replace(tags=tuple(UNKNOWN_TAG if tag == unlabelled else tag for tag in s.tags)) for s in found]


def detect_format(lines: Sequence[str]) -> Literal["columns", "conllu", "slash", "segmented"]:
    """Return the format that the first lines of a file seem to be in."""
    some = [line for line in lines[:200] if line.strip() and not line.startswith("#")][:50]
    if any(line.count("\t") == 9 for line in some):
        return "conllu"
    pieces = [line.split() for line in some]
    # Not all of them: where a line is wrong, it is to be told, and not the format of all others to be another one.
    slashes = [0 < p.rfind("/") < len(p) - 1 for row in pieces for p in row]
    if slashes and 2 * sum(slashes) > len(slashes):
        return "slash"
    count, often = max(Counter(map(len, pieces)).items(), key=lambda item: item[1], default=(0, 0))
    blocks = any(not line.strip() for line in lines[: len(some)])
    alike = often >= _NEARLY * len(some) if blocks else often == len(some)
    if any("\t" in line for line in some) or (len(some) > 2 and count > 1 and alike):
        return "columns"
    return "segmented"


def _columns(name: str, lines: Sequence[str], first: int) -> Iterator[TaggedSentence]:
    width = 0
    for start, block in _blocks(lines, first):
        tokens: list[str] = []
        tags: list[str] = []
        for number, line in enumerate(block, start):
            # Some write blanks of other alphabets as tokens: a tab, where there is one, is the only border.
            columns = line.rstrip("\r").split("\t") if "\t" in line else line.split()
            if columns[0] == "-DOCSTART-":
                continue
            width = width or len(columns)
            if len(columns) != width or width < 2 or not all(columns):
                expected = f"{width} columns as in the lines before" if width > 1 else "a token and its tag"
                raise DataError(f"{name}:{number}: expected {expected}, got {len(columns)} ({_shown(line)}): mend it")
            tokens.append(columns[0])
            tags.append(columns[-1])
        if tokens:
            yield TaggedSentence(tuple(tokens), tuple(tags), f"{name}:{start}")


def _conllu(name: str, lines: Sequence[str], first: int) -> Iterator[TaggedSentence]:
    for start, block in _blocks(lines, first):
        tokens: list[str] = []
        tags: list[str] = []
        for number, line in enumerate(block, start):
            if line.startswith("#"):
                continue
            columns = line.rstrip("\r").split("\t")
            if len(columns) != 10:
                raise DataError(
                    f"{name}:{number}: expected the ten columns of CoNLL-U with tabs between, got {len(columns)} "
                    f"({_shown(line)}): mend it"
                )
            if columns[0].isdigit():
                tokens.append(columns[1])
                tags.append(columns[3])
        if tokens:
            yield TaggedSentence(tuple(tokens), tuple(tags), f"{name}:{start}")


def _slash(name: str, lines: Sequence[str], first: int) -> Iterator[TaggedSentence]:
    for number, line in enumerate(lines, first):
        tokens: list[str] = []
        tags: list[str] = []
        for column, piece in enumerate(line.split(), 1):
            token, _, tag = piece.rpartition("/")
            if not token or not tag:
                raise DataError(
                    f"{name}:{number}: expected token/tag, got {_shown(piece)} as piece {column}: mend the line"
                )
            tokens.append(token)
            tags.append(tag)
        if tokens:
            yield TaggedSentence(tuple(tokens), tuple(tags), f"{name}:{number}")


def _segmented(name: str, lines: Sequence[str], first: int) -> Iterator[TaggedSentence]:
    for number, line in enumerate(lines, first):
        words = line.split()
        if words:
            tags = tuple(tag for word in words for tag in _word_tags(len(word)))
            yield TaggedSentence(tuple("".join(words)), tags, f"{name}:{number}")


@lru_cache(maxsize=64)
def _word_tags(length: int) -> list[str]:
    return tags_of([Span(0, length)], length, "bmes")


def _blocks(lines: Sequence[str], first: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the blocks between empty lines, each with the number of its first line."""
    for empty, group in groupby(enumerate(lines, first), key=lambda pair: not pair[1].strip()):
        if not empty:
            numbered = list(group)
            yield numbered[0][0], [line for _, line in numbered]


def _check_format(format: str) -> None:
    if format not in FORMATS:
        raise ArgumentError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 30 else f"{text[:27]}...")


_PARSERS: dict[str, Callable[[str, Sequence[str], int], Iterator[TaggedSentence]]] = {
    "columns": _columns,
    "conllu": _conllu,
    "slash": _slash,
    "segmented": _segmented,
}
