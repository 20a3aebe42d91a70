"""The table: every cell in every shape, forward and forward with backward, against all contestants."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kernel_bench.timing import Budget, interleave
from kernel_contestants.handwritten import handwritten
from kernel_contestants.in_jax import in_jax
from kernel_contestants.in_onnx import in_onnx
from kernel_contestants.in_torch import eager, in_recurra, torch_nn, workload
from kernel_contestants.workload import CLASSIC, Contestant, Shape, Workload

__all__ = ["MODES", "SHAPES", "table"]

SHAPES: tuple[Shape, ...] = (
    (1, 1, 64, 64),
    (1, 100, 64, 64),
    (1, 100, 256, 256),
    (8, 100, 32, 32),
    (32, 100, 64, 64),
    (32, 100, 128, 128),
    (32, 100, 256, 256),
    (32, 50, 512, 512),
    (128, 50, 256, 256),
    (128, 784, 1, 128),
)
"""(B, T, I, H) of the table."""

MODES = ("forward", "forward + backward")

_TOLERANCE = 1e-4
"""Largest error that everybody may have, relative to the largest value: all of them compute the same thing."""


def table(
    *, cells: Sequence[str], shapes: Sequence[Sequence[int]], threads: int, quick: bool
) -> Iterator[dict[str, Any]]:
    """Yield one measurement for each cell, shape and mode, after checking that all contestants agree."""
    budget = Budget(0.3 if quick else 2.5, 3, 5 if quick else 41, rest=0.002 if threads > 1 else 0.0)
    for shape in shapes:
        for cell in cells:
            work = workload(cell, tuple(shape), threads)  # type: ignore[arg-type]
            contestants = [make(work) for make in _makers(work)]
            _verify(work, contestants)
            for mode in MODES:
                calls = _calls(contestants, mode)
                times = interleave(calls, budget)
                yield {
                    "cell": cell,
                    "shape": list(shape),
                    "threads": threads,
                    "mode": mode,
                    "turns": len(times.samples["recurra"]),
                    "seconds": {name: times.median(name) for name in calls},
                    "ratios": {name: times.ratio(name, "recurra") for name in calls if name != "recurra"},
                }


def _makers(work: Workload) -> list[Callable[[Workload], Contestant]]:
    if work.cell not in CLASSIC:
        return [in_recurra, eager]
    return [in_recurra, torch_nn, eager, in_onnx, in_jax, *([handwritten] if work.threads == 1 else [])]


def _calls(contestants: Sequence[Contestant], mode: str) -> dict[str, Callable[[], Any]]:
    if mode == "forward":
        return {c.name: c.forward for c in contestants}
    return {c.name: c.train for c in contestants if c.train is not None}


def _verify(work: Workload, contestants: Sequence[Contestant]) -> None:
    """Raise AssertionError where a contestant's output or gradient is not that of the eager loop in float64.

    Beyond the tolerance, an error may be ten times the eager loop's own largest in float32: where a step blows rounding
    up, as a layer norm of a memory that starts at zero does, no two float32 implementations agree closely, and in
    which of the results rounding happens to be small is chance.
    """
    exact, plain = (_results(eager(w)) for w in (_in_float64(work), work))
    own = max(_error(a, b) for a, b in zip(plain, exact, strict=True))
    for c in contestants:
        for k, (ours, theirs) in enumerate(zip(_results(c), exact, strict=c.train is not None)):
            what = f"{c.name}, {work.cell} {work.shape}: {f'gradient {k - 1}' if k else 'y'}"
            assert ours.shape == theirs.shape, f"{what} has shape {ours.shape}, the eager loop's {theirs.shape}"
            error, allowed = _error(ours, theirs), _TOLERANCE + 10 * own
            assert error <= allowed, f"{what} is off by {error:.1e}, not {allowed:.1e}"


def _results(c: Contestant) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(v) for v in (c.forward(), *(c.train() if c.train else ()))]


def _error(ours: np.ndarray[Any, Any], exact: np.ndarray[Any, Any]) -> float:
    return float(abs(ours - exact).max()) / max(1.0, float(abs(exact).max()))


def _in_float64(work: Workload) -> Workload:
    module = copy.deepcopy(work.module).double()
    x = work.x.detach().double().requires_grad_()
    return replace(work, module=module, x=x, d_y=work.d_y.double(), weights=tuple(module.parameters()))
