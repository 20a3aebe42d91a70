"""metrics.jsonl while it is being written: one JSON object a line, and a checksum of all lines so far."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from recurra.learning.files import sync_folder, write_failure

__all__ = ["MetricsFile"]


class MetricsFile:
    """Appends rows to a file that is first cut back to its first `keep` bytes.

    Fields whose name ends in `_seconds` were measured by the clock; all others are repeatable bit for bit.
    Raises FolderError where the file cannot be written.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self.path = path
        try:
            # A folder from elsewhere may hold a link here, and what it leads to must not be cut.
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            self._file = open(os.open(path, flags, 0o666), "a+b", buffering=0)  # noqa: SIM115 (closed by close)
            self._file.truncate(keep)
            self._file.seek(0)
            self._digest = hashlib.sha256(self._file.read())
            sync_folder(path.parent)
        except OSError as error:
            raise write_failure(path, error, 0) from error
        self._size = keep

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row; a number that JSON cannot hold (NaN, infinity) becomes null."""
        plain = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in row.items()}
        line = (json.dumps(plain, allow_nan=False) + "\n").encode()
        try:
            written = 0
            while written < len(line):  # A disk that fills up takes a part first and then fails.
                written += self._file.write(line[written:]) or 0
        except OSError as error:
            raise write_failure(self.path, error, len(line)) from error
        self._digest.update(line)
        self._size += len(line)

    def position(self) -> tuple[int, str]:
        """Force all rows to the disk, and return how many bytes they have and their SHA-256."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise write_failure(self.path, error, self._size) from error
        return self._size, self._digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
