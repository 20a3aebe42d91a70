"""Calls of native code from Python with as little between as possible: by built-in functions of our own (`calls.cpp`)
where Python's headers are there to compile them with; elsewhere, and until they are compiled, by Python."""

from __future__ import annotations

import ctypes
import sys
import sysconfig
import threading
from array import array
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from recurra.compiler.build import build
from recurra.compiler.errors import Unsupported
from recurra.compiler.words import Words

__all__ = ["Call", "address_of", "addresses", "python_headers", "short", "tools"]


class Call:
    """Native code and the words that it is called with, but for addresses."""

    def __init__(self, words: Words, run: Any, work: int) -> None:
        """run: a function of a loaded library that takes the words' address; work: its floating point operations."""
        self.words, self._work = words, work
        self._run = run
        self._quick: Any = None

    def __call__(self, tensors: Sequence[Tensor | None]) -> None:
        """Call it. tensors: those whose addresses the words need, by their numbers; None for an address of 0."""
        if self._quick is not None:
            self._quick(tensors)
            return
        found = tools()
        if found is not None:
            self._quick = found.make_caller(
                self.words.fixed, self.words.moves, address_of(self._run), short(self._work)
            )
        self.run(self.words(addresses(tensors)))

    def run(self, words: array[int]) -> None:
        """Call it with words that are complete."""
        self._run(words.buffer_info()[0])


def addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    """Return the addresses of tensors, 0 for none."""
    return [0 if t is None else t.data_ptr() for t in tensors]


def short(work: int) -> bool:
    """Tell whether so many floating point operations last so short that other threads need not run Python meanwhile."""
    return work < _SHORT


_SHORT = 1_000_000
"""Some twenty microseconds. Python itself lets others wait for five milliseconds."""


def address_of(function: Any) -> int:
    """Return the address of a function of a loaded library."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def tools() -> Any:
    """Return the library of built-in functions, None while it is not there. Some calls after the first, it is begun."""
    if _state.begun:
        return _state.library
    with _state.lock:
        _state.asked += 1
        if _state.asked > _FIRST and not _state.begun:
            _state.begun = True
            threading.Thread(target=_state.build).start()
    return _state.library


_FIRST = 100
"""Calls before the library is begun: the compiler is to build the first kernels first, and few calls need none."""


def python_headers() -> Path | None:
    """Return the folder of Python's headers, None where they are not installed."""
    folder = Path(sysconfig.get_path("include"))
    return folder if (folder / "Python.h").exists() else None


class _State:
    """Whether the library has been begun, and what became of it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked = 0
        self.begun = False
        self.library: Any = None

    def build(self) -> None:
        self.library = _library()


_state = _State()


@cache
def _library() -> Any:
    include = python_headers()
    if include is None or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None
    text = Path(__file__).with_suffix(".cpp").read_text()
    try:
        made = build(f"// Python {sys.version!r}\n{text}", [include])
        library: Any = ctypes.PyDLL(str(made.source.with_suffix(".so")))
    except (Unsupported, OSError):
        return None
    for name, count in (("make_caller", 4), ("make_guard", 6), ("make_stream", 8)):
        function = getattr(library, name)
        function.argtypes = [ctypes.py_object] * count
        function.restype = ctypes.py_object
    return library
