"""The precompiled headers: used by every kernel, shared by processes, and never needed."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from recurra.compiler.build import FLAGS, build, clear_cache, compiler, target
from recurra.compiler.headers import RUNTIME, headers, prepared

SOURCE = (
    f'#define RECURRA_VECTOR_BYTES {target().vector_bytes}\n#include "{RUNTIME}"\n'
    'extern "C" double twice(double x) { return 2 * x; }\n'
)

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECURRA_CACHE", str(tmp_path))
    for name in ("first.so", "second.so"):  # as if kernels had been built before
        (tmp_path / name).touch()
    return tmp_path


def twice() -> float:
    function = build(SOURCE).library.twice
    function.argtypes, function.restype = [ctypes.c_double], ctypes.c_double
    return function(21.0)


def test_the_compiler_reads_the_precompiled_header(own_cache: Path) -> None:
    assert twice() == 42.0
    (folder,) = own_cache.glob("headers-*")
    program = compiler()
    assert program is not None
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if "Free Software Foundation" not in version:
        pytest.skip("only g++ says which precompiled header it reads")
    (own_cache / "again.cpp").write_text(SOURCE)
    command = [program, *(f for f in FLAGS if f != "-w"), "-I", str(folder), "-H", "-Winvalid-pch", "-Werror"]
    told = subprocess.run([*command, "-c", "again.cpp"], cwd=own_cache, capture_output=True, text=True, check=True)
    assert told.stderr.startswith(f"! {folder}/{RUNTIME}.gch")


def test_the_first_kernel_does_not_wait_for_them(own_cache: Path) -> None:
    (own_cache / "first.so").unlink()
    assert twice() == 42.0
    assert not list(own_cache.glob("headers-*"))


def test_headers_of_other_flags_lie_elsewhere_and_the_oldest_go(own_cache: Path) -> None:
    program = compiler()
    assert program is not None
    made = [prepared(program, ["-fsyntax-only", f"-DN={n}"], "this machine", own_cache) for n in range(5)]
    assert len(set(made)) == 5
    assert len(list(own_cache.glob("headers-*"))) == 3
    assert made[-1].is_dir()
    assert prepared(program, ["-fsyntax-only", "-DN=4"], "this machine", own_cache) == made[-1]


def test_a_kernel_is_built_without_them_too(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanished(*_: object) -> Path:
        return own_cache / "cleared by another process"

    monkeypatch.setattr("recurra.compiler.build.prepared", vanished)
    assert twice() == 42.0


def test_a_damaged_one_is_passed_over(own_cache: Path) -> None:
    twice()
    (folder,) = own_cache.glob("headers-*")
    (folder / f"{RUNTIME}.gch").write_bytes(b"damaged")
    for library in own_cache.glob("*.so"):
        library.unlink()
        library.touch()
    for library in own_cache.glob("????????????*.so"):  # the kernel itself, named by a hash
        library.unlink()
    assert twice() == 42.0


def test_clearing_the_cache_takes_them_away(own_cache: Path) -> None:
    twice()
    assert clear_cache() == 3
    assert not list(own_cache.iterdir())
    shutil.rmtree(own_cache)


def test_the_one_header_includes_all_but_what_has_its_own_library() -> None:
    text = "".join(headers().values())
    assert {name for name in headers() if f'#include "{name}"' not in text} == {RUNTIME, "products.h"}
