"""Files that are whole or not there at all: atomic writing, strict reading, a checksum in every JSON file."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from recurra.core.errors import ArgumentError, CorruptError, FolderError

__all__ = [
    "JSON_LIMIT",
    "canonical_json",
    "parse_json",
    "read_bytes",
    "read_json",
    "remove_partial",
    "sync_folder",
    "write_atomically",
    "write_failure",
    "write_json",
]

JSON_LIMIT = 256 * 2**20
"""Most bytes a JSON file of a model folder may have: far above any vocabulary, far below the memory."""

_PARTIAL = ".part"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that at any instant, whatever happens, `path` holds the old bytes or the new ones, whole.

    The bytes go to a file beside it, are forced to the disk, and take its name; then the folder is forced to the
    disk. Raises FolderError; on a full disk it says how many bytes are missing, and leaves nothing behind.
    """
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    try:
        try:
            # A killed writer may have left one; a new file is made, so that no link planted there is followed.
            partial.unlink(missing_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise write_failure(path, error, len(data)) from error


def write_failure(path: Path, error: OSError, needed: int) -> FolderError:
    """Return the error to raise where writing `needed` bytes to `path` failed."""
    if error.errno in _FULL:
        missing = max(1, needed - _room(path.parent, error.errno))
        return FolderError(
            f"the disk is full: {path} needs {needed} bytes and {missing} bytes are missing; "
            "what was saved before is intact: make room, then go on with --resume"
        )
    reason = error.strerror or str(error)
    return FolderError(f"cannot write {path}: {reason}; choose a folder that can be written to")


def remove_partial(folder: Path) -> None:
    """Remove the unfinished files that a killed writer left in a folder."""
    for leftover in folder.glob(f".*{_PARTIAL}"):
        leftover.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Force a folder's list of names to the disk, so that a file made or renamed in it stays so after a power cut."""
    if sys.platform == "win32":
        return  # A folder cannot be opened there; its rename is journalled.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """Read a regular file whole. Raises FolderError if there is none, CorruptError above `limit` bytes."""
    try:
        # Opening a named pipe would wait for a writer for ever without O_NONBLOCK.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise CorruptError(f"{path} is not a regular file: copy the model folder anew")
            if limit is not None and status.st_size > limit:
                raise CorruptError(
                    f"{path} has {status.st_size} bytes, more than the {limit} it may have: it is not recurra's file"
                )
            return file.read()
    except FileNotFoundError as error:
        raise FolderError(f"there is no file {path}: is {path.parent} a complete model folder?") from error
    except OSError as error:
        raise FolderError(f"cannot read {path}: {error.strerror or error}") from error


def canonical_json(content: Any) -> bytes:
    """Return the one spelling of a JSON value that checksums are taken of: sorted keys, no spaces, UTF-8.

    Raises ArgumentError for what JSON cannot hold (NaN, infinity, lone surrogates, other types).
    """
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise ArgumentError(f"expected values that JSON can hold, but {error}") from error


def parse_json(data: bytes | str, name: str) -> dict[str, Any]:
    """Parse a JSON object from a source that is not trusted; `name` is what messages call it.

    Raises CorruptError for anything but one object, repeated keys, NaN or infinite numbers, bytes that are
    not UTF-8, lone surrogates, and nesting deeper than Python's recursion.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"the key {twice[:40]!r} stands there twice")
        return content

    try:
        text = data if isinstance(data, str) else data.decode()
        content: Any = json.loads(text, object_pairs_hook=unique, parse_constant=_no_constant, parse_float=_finite)
        if not isinstance(content, dict):
            raise ValueError(f"expected an object, got {type(content).__name__}")
        canonical_json(content)
    except RecursionError as error:
        raise CorruptError(f"{name} is damaged or foreign: it is nested too deeply") from error
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise CorruptError(f"{name} is damaged or foreign: it is not strict JSON ({reason})") from error
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object atomically as JSON that people can read, with its checksum under the key `sha256`."""
    if "sha256" in content:
        raise ArgumentError("the key 'sha256' is kept for the checksum: use another name")
    plain = dict(content)
    whole = {**plain, "sha256": hashlib.sha256(canonical_json(plain)).hexdigest()}
    write_atomically(path, (json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path, limit: int = JSON_LIMIT) -> dict[str, Any]:
    """Read what `write_json` wrote, without the checksum. Raises FolderError if missing, CorruptError if changed."""
    content = parse_json(read_bytes(path, limit), str(path))
    digest = content.pop("sha256", None)
    if digest != hashlib.sha256(canonical_json(content)).hexdigest():
        raise CorruptError(f"{path} was changed or damaged after it was written: its checksum does not fit")
    return content


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{digits[:40]} is too large a number")
    return number


def _room(folder: Path, reason: int | None) -> int:
    """Return how many bytes a new file in the folder may have."""
    if sys.platform == "win32":
        return 0
    if reason == errno.EFBIG:
        import resource

        return resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize
