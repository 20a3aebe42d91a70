"""The command line as tests use it: in this process for the words, in one of its own for signals and pipes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from recurra.cli import main
from recurra.data import sample_path
from recurra.learning import load_tensors

__all__ = [
    "ENVIRONMENT",
    "LEAKY",
    "PROGRAM",
    "SMALL",
    "assert_same_end",
    "call",
    "refused",
    "rows",
    "spawn",
    "text_file",
]

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
PROGRAM = [sys.executable, "-c", "from recurra.cli import main; main()"]
SMALL = ["--hidden-size", "8", "--layers", "1", "--window", "10", "--batch-size", "4", "--log-every", "2"]
LEAKY = """
import torch
from torch import nn

import recurra


class Leaky(recurra.Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)
        self.leak = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x, state):
        (h,) = state
        a = torch.sigmoid(self.leak)
        h = (1 - a) * h + a * torch.tanh(self.inputs(x) + self.recurrent(h))
        return h, (h,)
"""


def call(*words: object, stdin: str | bytes = "") -> tuple[int, str, str]:
    """Run `recurra words...` in this process; return exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    given = io.TextIOWrapper(io.BytesIO(stdin if isinstance(stdin, bytes) else stdin.encode()))
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "stdin", given)
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
    return code if isinstance(code, int) else 0, out.getvalue(), err.getvalue()


def spawn(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `recurra words...` in a process of its own."""
    command = [*PROGRAM, *map(str, words)]
    return subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, encoding="utf-8", check=False, timeout=120, **options
    )


def refused(*words: object) -> str:
    """Run a command that must be refused: one line on standard error, nothing on standard output. Return the line."""
    code, out, err = call(*words)
    assert code in (1, 2), (code, out, err)
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    assert out == ""
    return err


def text_file(path: Path, characters: int = 3000, sample: str = "shakespeare") -> Path:
    """Write the beginning of a bundled text."""
    path.write_text(sample_path(sample).read_text(encoding="utf-8")[:characters], encoding="utf-8")
    return path


def rows(model: Path) -> list[dict[str, Any]]:
    """Return metrics.jsonl without what the clock measured."""
    lines = (model / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.endswith("_seconds")} for line in lines]


def assert_same_end(one: Path, other: Path) -> None:
    """Check that two runs left the same behind, bit for bit, but for what the clock measured."""
    assert rows(other) == rows(one)
    for name in ("README.md", "config.json", "vocabulary.json", "model.safetensors"):
        assert (other / name).read_bytes() == (one / name).read_bytes(), name
    checkpoints = [max((model / "checkpoints").glob("step-*.safetensors")) for model in (one, other)]
    assert checkpoints[0].name == checkpoints[1].name
    (first, _), (second, _) = map(load_tensors, checkpoints)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
