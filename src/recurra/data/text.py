"""Reading text: files, folders and source trees, as UTF-8 and nothing else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from recurra.core.errors import DataError
from recurra.data.encodings import suggest_encoding

__all__ = ["Document", "decode_text", "digest", "read_documents", "read_found", "text_files", "total_size"]


@dataclass(frozen=True)
class Document:
    """One text that is read from its start to its end: a recurrent state never crosses into another.

    name: where it came from, for people; text: what it says.
    """

    name: str
    text: str


def read_documents(paths: Sequence[str | Path], *, suffixes: Sequence[str] | None = None) -> list[Document]:
    r"""Read text files and folders; every file is one document.

    A file is taken as it was named. A folder is walked to its depths, in sorted order; there, hidden files
    and folders (`.git`), empty files and binary files (NUL bytes) are passed over, links to folders are not
    followed, and `suffixes` (`[".py"]`), if given, says which files count. A file that is reached twice is
    read once.

    The bytes must be UTF-8. A byte order mark is removed and `\r\n` becomes `\n`; otherwise the text is left
    as it is, without any normalisation.

    Raises DataError, in one line, for a path that is missing, empty, binary, not UTF-8 (with the byte's
    offset and the encoding to try), and for a folder without text.
    """
    if not paths:
        raise DataError("expected at least one text file or folder, got none: name what to read")
    documents: list[Document] = []
    seen: set[str] = set()
    for path in map(Path, paths):
        for file, named in text_files(path, suffixes):
            identity = os.path.realpath(file)
            if identity in seen:
                continue
            document = read_found(file, named=named)
            if document is not None:
                seen.add(identity)
                documents.append(document)
        if os.path.isdir(path) and not any(_inside(path, file) for file in seen):
            kind = "text file" if suffixes is None else f"file ending in {' or '.join(suffixes)}"
            raise DataError(f"{path}: expected a folder with text, found no {kind} with text in it: name another")
    return documents


def read_found(file: Path, *, named: bool = False) -> Document | None:
    """Return a file of a folder as `read_documents` does; None for what it passes over, where it was not `named`."""
    data = _read_bytes(file)
    if not named and (not data or _is_binary(data)):
        return None
    return Document(str(file), decode_text(str(file), data))


def text_files(path: Path, suffixes: Sequence[str] | None = None) -> Iterator[tuple[Path, bool]]:
    """Yield the files that a path stands for, and whether the file itself was named."""
    # os.path answers False where pathlib raises: names too long, folders that may not be entered.
    if os.path.isdir(path):
        for folder, folders, names in os.walk(path, onerror=_refuse):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                file = Path(folder, name)
                wanted = suffixes is None or name.endswith(tuple(suffixes))
                if wanted and not name.startswith(".") and os.path.isfile(file):
                    yield file, False
    elif os.path.isfile(path):
        yield path, True
    elif os.path.exists(path):
        raise DataError(f"{path}: expected a text file or a folder, this is neither: copy its content to a file")
    else:
        raise DataError(f"{path}: expected a text file or a folder, but nothing is there: check the path")


def digest(documents: Sequence[Document]) -> str:
    """Return the SHA-256 of all texts and their borders (not of their names): equal for equal data."""
    whole = hashlib.sha256()
    for document in documents:
        data = document.text.encode("utf-8")
        whole.update(len(data).to_bytes(8, "big"))
        whole.update(data)
    return whole.hexdigest()


def total_size(paths: Sequence[str | Path], *, suffixes: Sequence[str] | None = None) -> tuple[int, list[Path]]:
    """Return how many bytes the files of `read_documents` have, and the files, each once and none that is empty."""
    files = {os.path.realpath(file): file for path in map(Path, paths) for file, _ in text_files(path, suffixes)}
    sizes = {file: os.path.getsize(real) for real, file in files.items()}
    return sum(sizes.values()), [file for file, size in sizes.items() if size]


def decode_text(name: str, data: bytes) -> str:
    """Return the text that UTF-8 bytes hold, as `read_documents` does; `name` is what messages call their source."""
    if not data:
        raise DataError(f"{name}: expected text, but the file is empty: name another")
    if _is_binary(data):
        offset = data.index(b"\0")
        raise DataError(f"{name}: expected text, got a NUL byte at offset {offset}: this is a binary file, name a text")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: expected UTF-8, {_what_came(data, error.start)}") from error
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if not text:
        raise DataError(f"{name}: expected text, but there is nothing after the byte order mark: name another")
    return text


def _inside(folder: Path, file: str) -> bool:
    return Path(file).is_relative_to(os.path.realpath(folder))


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read ({error.strerror}): check its permissions") from error


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}): check its permissions") from error


def _is_binary(data: bytes) -> bool:
    # UTF-16 text is full of NUL bytes, but it is text: it must be reported and not passed over.
    return b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff"))


def _what_came(data: bytes, offset: int) -> str:
    at = f"at byte offset {offset}"
    if data[offset] == 0xED and b"\xa0" <= data[offset + 1 : offset + 2] <= b"\xbf":
        return f"got a lone surrogate {at}: half a character was cut off there; write the file again as proper UTF-8"
    encoding = suggest_encoding(data, offset)
    if encoding is None:
        return f"got byte 0x{data[offset]:02X} {at}, and it reads as no other known encoding: mend the file there"
    return (
        f"got byte 0x{data[offset]:02X} {at}: it reads as {encoding}; "
        f"try iconv -f {encoding.upper()} -t UTF-8 OLD > NEW"
    )
