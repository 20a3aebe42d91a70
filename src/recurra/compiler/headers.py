"""The runtime's headers, precompiled: reading them, and the standard library's below them, is a third of a kernel's way
through the compiler."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

__all__ = ["RUNTIME", "clear_headers", "headers", "prepared"]

RUNTIME = "runtime.h"
"""The header that kernels include; it includes the others, but for `products.h`, which has a library to itself."""

_FOLDER = Path(__file__).with_name("runtime")
_MOST = 3
_PREFIX = "headers-"


@cache
def headers() -> dict[str, str]:
    """Return the runtime's headers by name."""
    return {file.name: file.read_text() for file in sorted(_FOLDER.glob("*.h"))}


def prepared(program: str, flags: Sequence[str], machine: str, cache_folder: Path) -> Path:
    """Return the folder of the headers for a compiler, its flags and a machine, precompiled where the compiler can do
    that. What it cannot use it passes over, and reads the headers themselves.

    flags: all that tell how kernels are compiled; machine: the compiler's version and the CPU's features.
    """
    identity = "\0".join((program, *flags, machine, *headers().values()))
    folder = cache_folder / f"{_PREFIX}{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    if folder.is_dir():
        with contextlib.suppress(OSError):
            os.utime(folder)
        return folder
    with tempfile.TemporaryDirectory(dir=cache_folder) as name:
        work = Path(name) / "work"
        work.mkdir()
        for header, code in headers().items():
            (work / header).write_text(code)
        command = [program, *flags, "-x", "c++-header", RUNTIME, "-o", f"{RUNTIME}.gch"]
        subprocess.run(command, cwd=work, capture_output=True, check=False)
        with contextlib.suppress(OSError):  # another process has been faster
            work.rename(folder)
    _trim(cache_folder)
    return folder


def clear_headers(cache_folder: Path) -> None:
    """Delete all precompiled headers."""
    for folder in cache_folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _trim(cache_folder: Path) -> None:
    with contextlib.suppress(OSError):
        folders = sorted(cache_folder.glob(f"{_PREFIX}*"), key=lambda f: f.stat().st_mtime)
        for old in folders[:-_MOST]:
            shutil.rmtree(old, ignore_errors=True)
