"""Emitted code under the address and the undefined-behaviour sanitizer.

`PYTHONPATH=tests python -m random_cells.sanitized 32 --seed 3` checks the library's cells and 32 random ones. The
process starts itself again with the address sanitizer loaded before everything else, so that it watches the memory of
PyTorch's tensors too. The first wrong access ends it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from random_cells.check import check_random_cell, kernels_needed
from random_cells.many import run_many
from random_cells.together import built_together
from recurra import cells
from recurra.compiler import build, kernel
from recurra.compiler.emit_cpp import Target

__all__ = ["FLAGS", "environment", "shipped"]

FLAGS = (
    "-O1", *(f for f in build.FLAGS if not f.startswith("-O")),
    "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer",
    "-fno-sanitize=null,object-size", "--param=asan-instrumentation-with-call-threshold=0",
)  # fmt: skip
"""The flags. What the address sanitizer sees by itself is not looked for twice, and there is no -g: functions
are named all the same. Each would make the compiler several times as slow."""

_TARGET = Target(32, 16)
"""Few registers mean few sizes of tiles, the same code of each."""


def environment(cache: Path) -> Mapping[str, str] | str:
    """Return the environment of a process that runs sanitized code, or the reason why there can be none."""
    program = build.compiler()
    if program is None:
        return "there is no C++ compiler on this machine"
    found = [_library(program, name) for name in ("libasan.so", "libstdc++.so.6")]
    if not all(found):
        return f"{Path(program).name} has no address sanitizer (libasan.so) on this machine"
    return {
        **os.environ,
        # Its own C++ library comes with it: torch's exceptions are thrown through the sanitizer.
        "LD_PRELOAD": ":".join(str(f) for f in found),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        "OMP_NUM_THREADS": "1",
        "RECURRA_CACHE": str(cache),
    }


def shipped(names: Sequence[str]) -> list[str]:
    """Return sources of the library's cells, in the form of random ones, of a size that fills no vector."""
    return [
        f"import recurra as rc\nCONTEXT = []\n\n\ndef RandomCell():\n    return rc.cells.get({name!r})(3, 17)\n"
        for name in names
    ]


def _library(program: str, name: str) -> Path | None:
    """Return the compiler's library of that name, None where it has none."""
    done = subprocess.run([program, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    found = Path(done.stdout.strip())
    return found if found.is_absolute() and found.exists() else None


def _run(names: Sequence[str], count: int, seed: int, first: int) -> None:
    sources = shipped(names)
    with built_together([run for source in sources for run in kernels_needed(source, "cpp")]):
        for source in sources:
            check_random_cell(source, "cpp")
    report = run_many(count, seed, "cpp", first=first)
    print(report)
    if report.failed:
        sys.exit("\n\n".join(f"{name}: {failure}" for name, failure in report.failed.items()))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int, help="how many random cells")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first random cell")
    parser.add_argument("--cells", default=",".join(cells.names()), help="which of the library's cells")
    arguments = parser.parse_args()
    if "libasan" not in os.environ.get("LD_PRELOAD", ""):
        found = environment(build.cache_folder() / "sanitized")
        if isinstance(found, str):
            sys.exit(found)
        python = shutil.which(sys.executable) or sys.executable
        os.execve(python, [python, "-m", "random_cells.sanitized", *sys.argv[1:]], found)
    # The compiler that this process starts must not be watched: it would take ten times as long.
    del os.environ["LD_PRELOAD"]
    build.FLAGS = FLAGS
    kernel.target = lambda: _TARGET
    _run(arguments.cells.split(","), arguments.n, arguments.seed, arguments.first)


if __name__ == "__main__":
    main()
