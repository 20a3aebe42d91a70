"""The sanitizers' job: emitted code of the library's cells and of random ones writes and reads only what is its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from random_cells.sanitized import environment
from random_cells.strategy import OPERATIONS

_OVERFLOW = """
import ctypes, os, torch
del os.environ["LD_PRELOAD"]
from random_cells import sanitized
from recurra.compiler import build
build.FLAGS = sanitized.FLAGS
numbers = torch.zeros(10)
run = build.build('extern "C" void run(float* p, long n) { for (long k = 0; k <= n; k++) p[k] = 1; }').library.run
run(ctypes.c_void_p(numbers.data_ptr()), ctypes.c_long(20))
"""


@pytest.fixture(scope="module")
def sanitizing(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    found = environment(tmp_path_factory.mktemp("cache"))
    if isinstance(found, str):
        pytest.skip(found)
    here = Path(__file__).parents[1]
    return {**found, "PYTHONPATH": f"{here}:{here.parent / 'src'}"}


def test_emitted_code_keeps_to_its_memory_and_its_language(sanitizing: Mapping[str, str]) -> None:
    first = list(OPERATIONS).index("shared_product")
    options = ["3", "--seed", "1", "--first", str(first), "--cells", "gru"]
    command = [sys.executable, "-m", "random_cells.sanitized", *options]
    done = subprocess.run(command, env=dict(sanitizing), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "3 cells: 3 equal" in done.stdout


def test_a_write_behind_the_end_of_a_tensor_is_seen(sanitizing: Mapping[str, str]) -> None:
    command = [sys.executable, "-c", _OVERFLOW]
    done = subprocess.run(command, env=dict(sanitizing), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
