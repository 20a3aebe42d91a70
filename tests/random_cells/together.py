"""Compiles the kernels of many cells as one translation unit: a compiler's start takes longer than most cells do."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from recurra.compiler import kernel
from recurra.compiler.build import Built
from recurra.compiler.errors import Unsupported
from recurra.scan import programs

__all__ = ["built_together"]

_INCLUDE = re.compile(r'#define RECURRA_VECTOR_BYTES \d+\n#include "runtime.h"\n')
_ENTRY = re.compile(r'extern "C" void (\w+)')


@contextlib.contextmanager
def built_together(runs: Sequence[Callable[[], Any]]) -> Iterator[None]:
    """Find out which kernels some runs need, build them as one library, and serve them from it inside the block.

    runs: functions that use the compiled backend; their results do not matter here, and nor do their exceptions: the
    kernels that they are given at first do nothing.
    """
    build = kernel.build
    sources: dict[str, None] = {}

    def collect(source: str) -> Built:
        sources.setdefault(source)
        return Built(_Entries(empty, lambda name: "nothing"), Path())  # type: ignore[arg-type]

    empty = build('extern "C" void nothing() {}').library
    kernel.build = collect
    try:
        for run in runs:
            with contextlib.suppress(Exception):
                run()
            programs._programs.clear()
        parts = [_part(source, number) for number, source in enumerate(sources)]
        numbers = {source: number for number, source in enumerate(sources)}
        library = empty
        if parts:
            try:
                library = build(_INCLUDE.match(next(iter(sources)))[0] + "".join(parts)).library  # type: ignore[index]
            except Unsupported:  # one of them cannot be built: each alone, so that it is seen which
                numbers = {}

        def serve(source: str) -> Built:
            if source not in numbers:
                return build(source)
            return Built(_Entries(library, lambda name: f"{name}_{numbers[source]}"), Path())  # type: ignore[arg-type]

        kernel.build = serve
        yield
    finally:
        kernel.build = build


class _Entries:
    """A library's functions under other names."""

    def __init__(self, library: ctypes.CDLL, rename: Callable[[str], str]) -> None:
        self._library = library
        self._rename = rename

    def __getattr__(self, name: str) -> Any:
        # By index, so that every caller gets a function of its own to declare arguments for.
        return self._library[self._rename(name)]


def _part(source: str, number: int) -> str:
    names = set(_ENTRY.findall(source))
    body = _INCLUDE.sub("", source, count=1)
    for name in names:
        body = re.sub(rf'(extern "C" void ){name}\b', rf"\g<1>{name}_{number}", body)
    return f"namespace part_{number} {{\n{body}\n}}\n"
