"""Emitted code at every width of vectors: what is wider than the CPU has, g++ splits, so that all of them run."""

from __future__ import annotations

import pytest

from random_cells.check import check_random_cell
from random_cells.sanitized import shipped
from recurra.compiler import kernel
from recurra.compiler.emit_cpp import Target
from recurra.scan import cpp_compiler, programs

pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler on this machine")


@pytest.mark.parametrize("target", [Target(16, 16), Target(32, 16), Target(64, 32)], ids=["SSE2", "AVX2", "AVX-512"])
def test_a_cell_at_a_width_of_vectors(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "target", lambda: target)
    # Programs are found by their cells, whatever their kernels were built for.
    programs._programs.clear()
    try:
        check_random_cell(shipped(["elman"])[0], "cpp")
    finally:
        programs._programs.clear()
