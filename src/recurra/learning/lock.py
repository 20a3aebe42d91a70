"""One training run a folder: a lock that dies with its process."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from recurra.core.errors import BusyError
from recurra.learning.files import write_failure

__all__ = ["FolderLock"]


class FolderLock:
    """An exclusive lock on a file that holds the owner's process number.

    The operating system drops it when the process ends, however that happens, so a lock never has to be removed by
    hand; the number alone, left by a killed run, locks nothing.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock. Raises BusyError with the owner's process number, FolderError if it cannot be written."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as error:
            raise write_failure(self.path, error, 0) from error
        try:
            _lock(descriptor)
        except OSError as error:
            owner = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            who = f"process {owner}" if owner.isdecimal() else "another process"
            raise BusyError(
                f"{self.folder} is in use: {who} is training in it; wait, stop it, or choose another folder"
            ) from error
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            os.close(descriptor)
            raise write_failure(self.path, error, 20) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock up, if it is held."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        # The byte locked lies far behind the number, which others must be able to read.
        os.lseek(descriptor, 2**20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
