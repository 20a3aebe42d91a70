"""What the kernels must reach, and whether they do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kernel_contestants.cells import CELLS
from kernel_contestants.workload import CLASSIC

__all__ = ["Target", "geometric_mean", "ratios", "targets"]

_SMALL = ([1, 100, 64, 64], [8, 100, 32, 32])


@dataclass(frozen=True)
class Target:
    """One figure to reach: measured is None where this run did not measure it."""

    text: str
    bound: float
    measured: float | None
    at_least: bool = True
    unit: str = ""

    @property
    def reached(self) -> bool | None:
        """Tell whether the figure was reached; None if it was not measured."""
        if self.measured is None:
            return None
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean of positive numbers."""
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs))


def ratios(
    results: dict[str, Any],
    against: str,
    cells: Iterable[str],
    mode: str,
    threads: int,
    shapes: Sequence[list[int]] | None = None,
) -> list[float]:
    """Return how many times faster recurra was than `against`, in every shape of some cells that was measured."""
    cells = set(cells)
    return [
        entry["ratios"][against]
        for entry in results["table"]
        if entry["cell"] in cells
        and entry["mode"] == mode
        and entry["threads"] == threads
        and against in entry["ratios"]
        and (shapes is None or entry["shape"] in shapes)
    ]


def targets(results: dict[str, Any]) -> Iterator[Target]:
    """Yield every figure to reach, in the order of the table they come from."""
    for threads in sorted({entry["threads"] for entry in results["table"]}):
        yield from _table_targets(results, threads)
    yield from _figure_targets(results)


def _table_targets(results: dict[str, Any], threads: int) -> Iterator[Target]:
    def row(
        against: str,
        cells: Iterable[str],
        mode: str,
        least: float | None,
        mean: float | None,
        small: float | None = None,
    ) -> Iterator[Target]:
        cells = list(cells)
        what = "five own cells" if cells == list(CELLS) else ", ".join(cells)
        name = f"{threads} thread{'s' * (threads > 1)}: {against}, {what}, {mode}"
        found = ratios(results, against, cells, mode, threads)
        if least is not None:
            yield Target(f"{name}: every shape", least, min(found, default=None))
        if mean is not None:
            yield Target(f"{name}: geometric mean", mean, geometric_mean(found) if found else None)
        if small is not None:
            few = ratios(results, against, cells, mode, threads, _SMALL)
            yield Target(f"{name}: small shapes", small, min(few, default=None))

    yield from row("torch.nn", ["LSTM"], "forward", 1.0, 1.5)
    yield from row("torch.nn", ["LSTM"], "forward + backward", 1.0, 1.3)
    yield from row("torch.nn", ["GRU", "RNN"], "forward", None, 3.0, 9.0)
    yield from row("torch.nn", ["GRU", "RNN"], "forward + backward", None, 3.5, 12.0)
    yield from row("onnxruntime", CLASSIC, "forward", 0.95, 1.2)
    yield from row("JAX", CLASSIC, "forward", 1.1, 1.5)
    yield from row("JAX", CLASSIC, "forward + backward", 1.1, 1.5)
    yield from row("eager loop", CELLS, "forward", None, 5.0)
    yield from row("eager loop", CELLS, "forward + backward", None, 5.0, 15.0)
    if threads == 1:
        yield from row("hand-written", CLASSIC, "forward", 0.95, None)
        yield from row("hand-written", CLASSIC, "forward + backward", 0.95, None)


def _figure_targets(results: dict[str, Any]) -> Iterator[Target]:
    stream = results.get("streaming", {}).get("ratios", {})
    yield Target("streaming step, H = 64: times faster than nn.LSTMCell", 3.0, stream.get("LSTMCell"))
    yield Target("streaming step, H = 64: times faster than nn.LSTM", 10.0, stream.get("nn.LSTM"))
    share = results.get("gemm", {}).get("share", {})
    yield Target(
        "LSTM forward, share of the best GEMM rate, (32, 100, 128, 128)", 0.78, share.get("(32, 100, 128, 128)")
    )
    yield Target("LSTM forward, share of the best GEMM rate, (32, 50, 512, 512)", 0.88, share.get("(32, 50, 512, 512)"))
    shares = [v for entry in results.get("scaling", ()) for v in entry["share"].values()]
    yield Target("gain of two threads, relative to torch.mm's: least", 0.9, min(shares, default=None))
    peaks = [e["recurra"] / e["torch.nn"] for e in results.get("memory", ())]
    yield Target("peak memory of training, relative to nn.LSTM's: most", 1.0, max(peaks, default=None), at_least=False)
    use = results.get("first_use", {}).values()
    fresh, cached = (max((u[k] for u in use), default=None) for k in ("fresh", "cached"))
    yield Target("first use of a cell, with a compiler: most", 3.0, fresh, at_least=False, unit=" s")
    yield Target("first use of a cell, from the cache: most", 0.1, cached, at_least=False, unit=" s")
    yield Target("import recurra, after import torch", 0.15, results.get("import_time"), at_least=False, unit=" s")
