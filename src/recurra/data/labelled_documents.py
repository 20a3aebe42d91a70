"""Readers of texts that have one label each: CSV, TSV and JSONL with named columns, and folders named after labels."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from recurra.core.errors import DataError
from recurra.data.streamed import Chunk, Stream, cut_folders, cut_lines, read_chunk, read_folder_chunk
from recurra.data.text import Document, read_documents, total_size

__all__ = ["LabelledText", "read_labelled", "stream_labelled"]


_LONGEST = 1_000_000
"""Characters of a text; a recurrent network would take a step for each."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class LabelledText(NamedTuple):
    """A text, its label, and where it was found (`file:line`)."""

    text: str
    label: str
    place: str = ""

    def labels(self, separator: str) -> tuple[str, ...]:
        """Return the labels that a separator stands between, each once; none for an empty label."""
        return tuple(dict.fromkeys(part.strip() for part in self.label.split(separator) if part.strip()))


def read_labelled(
    paths: Sequence[str | Path], *, text_column: str = "text", label_column: str = "label", separator: str = ""
) -> list[LabelledText]:
    """Read all texts of some `.csv`, `.tsv` and `.jsonl` files, or of folders with one folder of text files a label.

    CSV and TSV begin with a line that names the columns; a quoted field may go over several lines. In a folder, each
    text file below `LABEL/` is one text; a folder without folders in it is read for its tables. Where a text may have
    several labels, a `separator` stands between them, it may have none, and in JSONL they may be a list.

    Raises DataError, in one line with file and line number, for columns that are missing or named twice, for rows with
    too few or too many fields, for texts and labels that are empty, of more than a million characters, or with half a
    character in them.
    """
    found: list[LabelledText] = []
    for path in map(Path, paths):
        labels = _label_folders(path)
        if labels:
            for folder in labels:
                found += [LabelledText(d.text.strip(), folder.name, d.name) for d in read_documents([folder])]
            continue
        tables = read_documents([path], suffixes=[*_PARSERS] if path.is_dir() else None)
        for document in tables:
            kind = os.path.splitext(document.name)[1].lower()
            if kind not in _PARSERS:
                raise DataError(
                    f"{document.name}: expected a file ending in {', '.join(_PARSERS)}, or a folder with one folder a "
                    f"label, got one ending in {kind or 'nothing'!r}: rename it"
                )
            found += _PARSERS[kind](document, text_column, label_column, separator)
    for item in found:
        _check_item(item, separator)
    if not found:
        raise DataError(f"{', '.join(map(str, paths))}: expected texts with labels, found none: name another file")
    return found


def stream_labelled(
    paths: Sequence[str | Path], *, text_column: str, label_column: str, separator: str = "", most: int
) -> Stream[LabelledText] | None:
    """Return the texts of files of more than `most` bytes as a stream; else None. See `read_labelled`.

    In a folder with a folder for each label a chunk is some files of every label.
    """
    found = {path: _label_folders(path) for path in map(Path, paths)}
    size, files = total_size([path for path, labels in found.items() if not labels], suffixes=[*_PARSERS])
    if any(file.suffix.lower() not in _PARSERS for file in files):
        return None
    chunks: list[Chunk] = []
    for path, labels in found.items():
        chunks += cut_folders(path, labels)
    if size + sum(chunk.size for chunk in chunks) <= most:
        return None
    heads: dict[str, list[str]] = {}
    for file in files:
        delimiter = _delimiter(file)
        chunks += cut_lines(file, _row_ends(delimiter)) if delimiter else cut_lines(file)
        if delimiter:
            heads[str(file)] = _head(file, delimiter)

    def parse(chunk: Chunk) -> list[LabelledText]:
        if chunk.names:
            found = [LabelledText(d.text.strip(), label, d.name) for label, d in read_folder_chunk(chunk)]
        else:
            document, parser = read_chunk(chunk), _PARSERS[os.path.splitext(chunk.file)[1].lower()]
            head = heads.get(chunk.file) if chunk.start else None
            found = [*parser(document, text_column, label_column, separator, chunk.line, head)]
        for item in found:
            _check_item(item, separator)
        return found

    return Stream(chunks, parse)


def _label_folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")) if path.is_dir() else []


def _delimiter(file: Path) -> str | None:
    return {".csv": ",", ".tsv": "\t"}.get(file.suffix.lower())


def _head(file: Path, delimiter: str) -> list[str]:
    """Return the names of a table's columns."""
    with file.open("rb") as lines:
        line = lines.readline(_LONGEST).decode("utf-8-sig", "replace")
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]


def _row_ends(delimiter: str) -> Callable[[bytes], bool]:
    """Return what tells of every line in turn whether its table's row ends there: a quoted field may go on."""
    open_row = bytearray()

    def ends(line: bytes) -> bool:
        if not open_row and b'"' not in line:
            return True
        open_row.extend(line)
        text = bytes(open_row).decode("utf-8", "replace")
        with _long_fields():
            try:
                for _ in csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True):
                    pass
            except csv.Error as error:
                # What else is wrong is told where the row is read.
                if "unexpected end of data" in str(error) and len(open_row) <= 16 * _LONGEST:
                    return False
        open_row.clear()
        return True

    return ends


@contextlib.contextmanager
def _long_fields() -> Generator[None]:
    limit = csv.field_size_limit(16 * _LONGEST)  # Its own is a tenth of ours.
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _delimited(delimiter: str) -> Any:
    def parse(
        document: Document, text: str, label: str, separator: str, first: int = 1, head: Sequence[str] | None = None
    ) -> Iterator[LabelledText]:
        reader = csv.reader(document.text.splitlines(keepends=True), delimiter=delimiter, strict=True)
        header = list(head or [])
        before = first - 1
        try:
            with _long_fields():
                for row in reader:
                    line, before = before + 1, first - 1 + reader.line_num
                    if not row:
                        continue
                    at = f"{document.name}:{line}"
                    if not header:
                        header = [name.strip() for name in row]
                        _check_columns(document.name, header, text, label)
                    elif len(row) != len(header):
                        raise DataError(
                            f"{at}: expected {len(header)} fields as in the first line, got {len(row)}: quote fields "
                            "that hold the separator"
                        )
                    else:
                        yield LabelledText(row[header.index(text)].strip(), row[header.index(label)].strip(), at)
        except csv.Error as error:
            at = f"{document.name}:{before + 1}"
            raise DataError(f"{at}: cannot be read ({error}): mend the line") from error

    return parse


class _Fields(dict[str, Any]):
    """A JSON object, and its names as they are there: one may be there twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.names = [name for name, _ in pairs]


def _json_lines(
    document: Document, text: str, label: str, separator: str, first: int = 1, head: Sequence[str] | None = None
) -> Iterator[LabelledText]:
    for number, line in enumerate(document.text.split("\n"), first):
        if not line.strip():
            continue
        at = f"{document.name}:{number}"
        try:
            row: Any = json.loads(line, object_pairs_hook=_Fields)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(
                f"{at}: expected one JSON object, got what cannot be read ({error}): mend the line"
            ) from error
        if not isinstance(row, _Fields):
            raise DataError(f"{at}: expected a JSON object, got {type(row).__name__}: mend the line")
        fields = row
        _check_columns(at, fields.names, text, label)
        value, name = fields[text], fields[label]
        if separator and isinstance(name, list):
            name = separator.join(str(part) for part in cast("list[Any]", name))
        if not isinstance(value, str) or isinstance(name, (dict, list)) or name is None:
            raise DataError(f"{at}: expected {text!r} to be a text and {label!r} one label, got others: mend the line")
        yield LabelledText(value.strip(), str(name), at)


def _check_item(item: LabelledText, separator: str) -> None:
    for what, value in (("text", item.text), ("label", item.label)):
        if not value.strip() and not (separator and what == "label"):
            raise DataError(f"{item.place}: expected a {what}, got an empty one: fill it in or remove the row")
        if len(value) > _LONGEST:
            raise DataError(
                f"{item.place}: expected a {what} of at most {_LONGEST:,} characters, got {len(value):,}: cut it"
            )
        # JSON can spell what UTF-8 cannot.
        half = _SURROGATE.search(value)
        if half is not None:
            raise DataError(
                f"{item.place}: expected a {what} that UTF-8 can hold, got the lone surrogate "
                f"U+{ord(half.group()):04X}: half a character was cut off there, remove it"
            )


def _check_columns(place: str, header: Sequence[str], text: str, label: str) -> None:
    shown = ", ".join(header)
    for name in (text, label):
        if name not in header:
            raise DataError(
                f"{place}: expected columns {text!r} and {label!r}, got {shown}: name them with --text-column and "
                "--label-column"
            )
        if header.count(name) > 1:
            raise DataError(f"{place}: the column {name!r} is there {header.count(name)} times: rename all but one")


_PARSERS = {".csv": _delimited(","), ".tsv": _delimited("\t"), ".jsonl": _json_lines}
