"""The ways to run a cell over time, and the choice among them.

`auto` takes the compiled kernels where the compiler takes the cell, and else the loop. It never takes `parallel`: on a
CPU core the scan is slower than the kernels (`benchmarks/parallel_scan.py`), and where it should pay, on a device with
many idle cores, it has not been measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from recurra.core.errors import BackendError
from recurra.core.registry import lookup
from recurra.scan.compiled import automatic, compiled
from recurra.scan.hoisted import hoisted
from recurra.scan.parallel import parallel
from recurra.scan.problem import Problem, Result
from recurra.scan.reference import reference

__all__ = ["BACKENDS", "Backend", "choose"]

Backend: TypeAlias = Callable[[Problem], Result]

BACKENDS = ("auto", "reference", "hoisted", "cpp", "parallel", "triton")
"""Every name that `backend=` takes."""

_RUNNERS: dict[str, Backend] = {
    "auto": automatic,
    "reference": reference,
    "hoisted": hoisted,
    "cpp": compiled,
    "parallel": parallel,
}


def choose(name: str) -> Backend:
    """Return the runner called `name`; `auto` is the fastest that supports the cell.

    Never decided by timing. Raises UnknownNameError for a name that is none, and BackendError where the
    backend is not part of this version.
    """
    lookup(dict.fromkeys(BACKENDS), name, "backend")
    if name not in _RUNNERS:
        raise BackendError(
            f"backend {name!r} is not part of this version of recurra, which runs {', '.join(_RUNNERS)}: "
            "use backend='auto'"
        )
    return _RUNNERS[name]
