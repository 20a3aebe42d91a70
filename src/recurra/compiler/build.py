"""Pass 8, build: the system's C++ compiler, and the cache of what it has built.

The cache lies in `RECURRA_CACHE`, or `$XDG_CACHE_HOME/recurra`, or `~/.cache/recurra`. A library's name is the hash
of its source, the headers in `runtime/`, the flags, the compiler's version and the CPU's features, so nothing stale
is ever loaded. Libraries are written under another name and renamed, so processes never see half of one. The oldest go
when there are more than 2,048. Beside them lie the runtime's headers, precompiled (`headers`): 60 MB with g++.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from recurra.compiler.emit_cpp import Target
from recurra.compiler.errors import Unsupported
from recurra.compiler.headers import clear_headers, headers, prepared

__all__ = ["FLAGS", "Built", "build", "cache_folder", "clear_cache", "compiler", "target"]

FLAGS = (
    "-O3", "-std=c++20", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fno-semantic-interposition",  # noqa: E501
    "-fopenmp", "-shared", "-fPIC", "-w",
)  # fmt: skip
"""The compiler's flags. Never -ffast-math: it would break NaN and set flush-to-zero for the whole process."""

_FIRST = 2
"""Libraries in the cache before headers are precompiled."""

_MOST = 2048


class Built:
    """A loaded library and where its source lies."""

    def __init__(self, library: ctypes.CDLL, source: Path) -> None:
        self.library = library
        self.source = source


def build(source: str, include: Sequence[Path] = ()) -> Built:
    """Compile C++ (or take it from the cache) and load it. Raises Unsupported where that is not possible.

    include: folders of headers beside the runtime's and the system's.
    """
    program = compiler()
    if program is None:
        raise Unsupported("build", "no C++ compiler found: install g++ or clang++, or set CXX")
    identity = "\0".join((source, *map(str, include), *headers().values(), *FLAGS, _version(program), _cpu()))
    name = hashlib.sha256(identity.encode()).hexdigest()[:32]
    folder = cache_folder()
    library = folder / f"{name}.so"
    text = folder / f"{name}.cpp"
    if library.exists():
        # Another process may trim the cache between the check and the loading: then it is compiled again.
        with contextlib.suppress(OSError):
            os.utime(library)
            return Built(ctypes.CDLL(str(library)), text)
    _compile(program, source, library, text, include)
    _trim(folder)
    return Built(ctypes.CDLL(str(library)), text)


def cache_folder() -> Path:
    """Return the cache's folder, made if there is none; a private temporary one where it cannot be written."""
    given = os.environ.get("RECURRA_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(given) if given else Path(base) / "recurra"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return _temporary()


def clear_cache() -> int:
    """Delete everything in the cache; return how many libraries were in it. What is loaded stays usable."""
    removed = 0
    for file in cache_folder().glob("*"):
        if file.suffix in (".so", ".cpp"):
            removed += file.suffix == ".so"
            file.unlink(missing_ok=True)
    clear_headers(cache_folder())
    return removed


@cache
def compiler() -> str | None:
    """Return the path of the C++ compiler: `CXX`, g++ or clang++, the first that there is; None without any."""
    names = [os.environ.get("CXX", ""), "g++", "clang++"]
    return next((path for n in names if n and (path := shutil.which(n))), None)


@cache
def target() -> Target:
    """Return the vector width and registers of this CPU."""
    flags = _cpu().split()
    if "avx512f" in flags and "avx512vl" in flags:
        return Target(64, 32)
    if "avx2" in flags and "fma" in flags:
        return Target(32, 16)
    return Target(16, 32 if platform.machine() in ("arm64", "aarch64") else 16)


def _compile(program: str, source: str, library: Path, text: Path, include: Sequence[Path]) -> None:
    defined = (*FLAGS, f"-DRECURRA_VECTOR_BYTES={target().vector_bytes}")
    # The first kernels do not wait for headers that only later ones gain by.
    later = len(list(library.parent.glob("*.so"))) >= _FIRST
    included = prepared(program, defined, f"{_version(program)}\0{_cpu()}", library.parent) if later else "plain"
    with tempfile.TemporaryDirectory(dir=library.parent) as name:
        work = Path(name)
        plain = work / "plain"  # for when another process clears the cache meanwhile
        plain.mkdir()
        (work / "kernel.cpp").write_text(source)
        for header, code in headers().items():
            (plain / header).write_text(code)
        folders = [f"-I{folder}" for folder in (included, plain, *include)]
        command = [program, *FLAGS, *folders, "kernel.cpp", "-o", "kernel.so"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
            raise Unsupported("build", f"{program} failed: {first}")
        os.replace(work / "kernel.cpp", text)
        os.replace(work / "kernel.so", library)


def _trim(folder: Path) -> None:
    libraries = sorted(folder.glob("*.so"), key=_age)
    for old in libraries[:-_MOST]:
        old.unlink(missing_ok=True)
        old.with_suffix(".cpp").unlink(missing_ok=True)


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # another process has trimmed the cache
        return 0.0


@cache
def _version(program: str) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout


@cache
def _cpu() -> str:
    """Return the CPU's features, which -march=native compiles for."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    lines = [line for line in text.splitlines() if line.startswith(("flags", "Features", "model name"))]
    return " ".join(sorted(set(lines)))


@cache
def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="recurra-"))
