"""Single figures beside the table: the streaming step, the share of the GEMM's rate, two threads, use, import."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

import recurra as rc
from kernel_bench.timing import Budget, interleave
from kernel_contestants.in_torch import in_recurra, workload
from kernel_contestants.workload import Shape

__all__ = ["first_use", "gemm", "import_time", "scaling", "streaming"]


def streaming(*, quick: bool) -> Iterator[dict[str, Any]]:
    """One step of one sequence at H = 64: recurra's `step` against torch.nn's cell and its layer with T = 1."""
    torch.manual_seed(0)
    ours, cell, layer = rc.LSTM(64, 64), nn.LSTMCell(64, 64), nn.LSTM(64, 64)
    x, h, c = torch.randn(1, 64), torch.zeros(1, 64), torch.zeros(1, 64)
    sequence, state = x[None], (h[None], c[None])

    calls: dict[str, Callable[[], Any]] = {
        "recurra": lambda: ours.step(x, state),
        "LSTMCell": lambda: cell(x, (h, c)),
        "nn.LSTM": lambda: layer(sequence, state),
    }
    with torch.no_grad():  # around the stream, not around each step
        times = interleave(calls, Budget(3.0, 5, 11 if quick else 301))
    yield {
        "seconds": {name: times.median(name) for name in calls},
        "ratios": {name: times.ratio(name, "recurra") for name in calls if name != "recurra"},
    }


def gemm(*, quick: bool) -> Iterator[dict[str, Any]]:
    """The LSTM forward's floating point operations a second, as a share of the best of some large matrix products."""
    large = {f"{m} x {k} x {n}": (torch.randn(m, k), torch.randn(k, n)) for m, k, n in _PRODUCTS}
    shapes: tuple[Shape, ...] = ((32, 100, 128, 128), (32, 50, 512, 512))
    calls: dict[str, Callable[[], Any]] = {name: _product(a, b) for name, (a, b) in large.items()}
    calls |= {str(shape): in_recurra(workload("LSTM", shape, 1)).forward for shape in shapes}
    times = interleave(calls, Budget(20.0, 3, 5 if quick else 41))
    # The best of the products at its best: a share of what this processor reached in this run, not of its datasheet.
    rates = {f"{m} x {k} x {n}": 2 * m * k * n / min(times.samples[f"{m} x {k} x {n}"]) for m, k, n in _PRODUCTS}
    ours = {str(s): 2 * s[1] * s[0] * 4 * s[3] * (s[2] + s[3]) / times.median(str(s)) for s in shapes}
    best = max(rates.values())
    yield {"gemm_gflops": best / 1e9, "lstm_gflops": {s: r / 1e9 for s, r in ours.items()},
           "share": {s: r / best for s, r in ours.items()}}  # fmt: skip


_PRODUCTS = ((1024, 1024, 1024), (2048, 1024, 2048), (1600, 512, 2048))


def scaling(*, quick: bool) -> Iterator[dict[str, Any]]:
    """How much faster two threads are than one, for the LSTM and for torch.mm, in turns in one process."""
    budget = Budget(6.0, 3, 5 if quick else 41, rest=0.002)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    for shape in ((32, 100, 128, 128), (32, 100, 256, 256), (32, 50, 512, 512), (128, 50, 256, 256)):
        ours = in_recurra(workload("LSTM", shape, 2))
        assert ours.train is not None
        calls = {"mm": _product(a, b), "forward": ours.forward, "forward + backward": ours.train}
        both = {f"{name}, {n}": _threads(n, call) for name, call in calls.items() for n in (1, 2)}
        times = interleave(both, budget)
        gain = {name: times.ratio(f"{name}, 1", f"{name}, 2") for name in calls}
        yield {"shape": list(shape), "gain": gain, "share": {m: gain[m] / gain["mm"] for m in gain if m != "mm"}}


def first_use(quick: bool) -> dict[str, Any]:
    """Seconds of a cell's first training step beyond those of its second, with an empty cache and from the cache."""
    found: dict[str, Any] = {}
    for cell in ("LSTM",) if quick else ("LSTM", "GRU", "RNN", "LayerNormLSTM", "DeltaRule"):
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "XDG_CACHE_HOME": cache, "RECURRA_CACHE": cache}
            fresh, cached = (_child(_FIRST_USE, cell, environment=environment) for _ in range(2))
        found[cell] = {"fresh": fresh, "cached": cached}
    return found


def import_time(quick: bool) -> float:
    """Return the median of the seconds that `import recurra` takes after `import torch`, in fresh processes."""
    return statistics.median(_child(_IMPORT) for _ in range(3 if quick else 9))


_FIRST_USE = """
import json, sys, time
import torch
torch.set_num_threads(1)
from kernel_contestants.in_torch import eager, in_recurra, workload
work = workload(sys.argv[1], (8, 20, 64, 64), 1)
eager(work).train()  # starts torch and autograd themselves
ours = in_recurra(work)
begin = time.perf_counter(); ours.forward(); ours.train(); first = time.perf_counter() - begin
begin = time.perf_counter(); ours.forward(); ours.train(); second = time.perf_counter() - begin
print(json.dumps(first - second))
"""

_IMPORT = """
import json, time
import torch
begin = time.perf_counter()
import recurra
print(json.dumps(time.perf_counter() - begin))
"""


def _child(code: str, *arguments: str, environment: dict[str, str] | None = None) -> float:
    run = [sys.executable, "-c", code, *arguments]
    return json.loads(subprocess.run(run, check=True, capture_output=True, text=True, env=environment).stdout)


def _product(a: torch.Tensor, b: torch.Tensor) -> Callable[[], Any]:
    return lambda: torch.mm(a, b)


def _threads(n: int, call: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        if torch.get_num_threads() != n:
            torch.set_num_threads(n)
        return call()

    return run
