"""Compiles small C++ files against the compiler's runtime headers, for the tests of those headers."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import recurra.compiler

__all__ = ["FLAGS", "HEADERS", "WIDTHS", "build", "can_run", "load", "pointer", "width_flags"]

HEADERS = Path(recurra.compiler.__file__).parent / "runtime"
FLAGS = ["-std=c++20", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-Werror",
         "-Wno-maybe-uninitialized", "-Wno-psabi"]  # fmt: skip
"""GCC 12 takes the undefined operands of its own AVX-512 header for mistakes; and how vectors are passed matters not
where every function is inlined."""

WIDTHS = {
    16: ["-msse2"],
    32: ["-mavx2", "-mfma"],
    64: ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma"],
}
_NEEDS = {16: {"sse2"}, 32: {"avx2", "fma"}, 64: {"avx512f", "avx512dq", "avx512bw", "avx512vl"}}


def width_flags(width: int) -> list[str]:
    """Return the compiler flags of vectors of `width` bytes."""
    return [f"-DRECURRA_VECTOR_BYTES={width}", *WIDTHS[width]]


def can_run(width: int) -> bool:
    """Say whether this processor has the instructions of that width."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return width == 16
    line = next((line for line in information.read_text().splitlines() if line.startswith("flags")), "")
    return _NEEDS[width] <= set(line.split())


def build(folder: Path, source: str, flags: list[str], name: str) -> Path:
    """Compile `source` and return the file made; skip the test where there is no compiler."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler (g++ or clang++) is installed")
    cpp, made = folder / f"{name}.cpp", folder / name
    cpp.write_text(source)
    command = [compiler, *FLAGS, *flags, f"-I{HEADERS}", str(cpp), "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return made


def load(folder: Path, source: str, width: int, name: str) -> ctypes.CDLL:
    """Compile `source` for a vector width and load it; skip the test where the processor lacks that width."""
    made = build(folder, source, [*width_flags(width), "-shared", "-fPIC"], f"{name}{width}.so")
    if not can_run(width):
        pytest.skip(f"compiled, but this processor cannot run vectors of {width} bytes")
    return ctypes.CDLL(str(made))


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """Return the address of a contiguous array's first element."""
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)
