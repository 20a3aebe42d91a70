"""Compares a backend with the reference loop on one random cell: values, states and gradients."""

from __future__ import annotations

import linecache
import random
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

import recurra as rc
from recurra.core import Cell, split_shape

__all__ = ["DifferenceError", "Scan", "check_random_cell", "kernels_needed", "load"]

Scan: TypeAlias = Callable[..., Any]
"""`recurra.scan`, or what is to be tested in its place."""

_EXACT = 1e-9
"""float64: the largest difference from the reference loop, relative to the tensor's largest value."""

_ABSOLUTE = 1e-12
"""float64: and relative to the largest value of all tensors compared, for those in which everything cancels."""

_TWICE = 2.0
"""float32: the error against the float64 loop may be so many times the float32 reference loop's own ..."""

_FLOOR = 1.5e-6
"""... plus this, relative to the tensor's length (the compiled functions are good to 4e-7, torch's to 1e-7) ..."""

_NOISE = 4e-7
"""... plus this, relative to the longest of all gradients, or of all values, for those in which everything cancels."""


class DifferenceError(AssertionError):
    """A backend's result is not the reference loop's; the message ends with the cell's source."""


@dataclass
class _Case:
    """Everything that a cell is run on: float64 numbers that float32 holds exactly."""

    cell: Cell
    x: Tensor
    state: tuple[Tensor, ...]
    context: tuple[Tensor, ...]
    lengths: list[int] | None
    reverse: bool
    frozen: bool
    random: random.Random

    def leaves(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the tensors that gradients are taken of, by name."""
        named = {"x": self.x} | {f"state {k}": s for k, s in enumerate(self.state)}
        named |= {f"context {k}": c for k, c in enumerate(self.context)}
        return {k: v.to(dtype).requires_grad_() if v.is_floating_point() else v for k, v in named.items()}


def load(source: str) -> tuple[Cell, list[tuple[str, tuple[int, ...]]]]:
    """Run a source; return its cell, with weights that depend on nothing but the source, and its `CONTEXT`."""
    key = zlib.crc32(source.encode())
    name = f"<random cell {key:08x}>"
    # The lines can be shown where an operation is refused.
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space: dict[str, Any] = {"__name__": f"random_cell_{key:08x}"}
    exec(compile(source, name, "exec"), space)
    torch.manual_seed(key)
    return space["RandomCell"](), space["CONTEXT"]


def check_random_cell(source: str, backend: str, *, scan: Scan = rc.scan) -> None:
    """Raise DifferenceError unless the backend equals the reference loop on this cell; a refusal is a BackendError.

    Compared are y, the final states, all states, and the gradients of x, the initial states, the context and the
    parameters, with lengths, direction and frozen parameters at random (from the source). float32 fails only if it is
    too far off for two draws of the numbers: near a comparison's threshold or a maximum's tie, rounding decides.
    """
    for dtype in (torch.float64, torch.float32):
        _check(source, backend, dtype, scan, draw=0)


def kernels_needed(source: str, backend: str) -> list[Callable[[], Any]]:
    """Return runs that need every kernel that `check_random_cell` needs."""
    return [
        lambda dtype=dtype, train=train: _run(_case(source, 0), backend, dtype, rc.scan, only=train)
        for dtype in (torch.float64, torch.float32)
        for train in (True, False)
    ]


def _check(source: str, backend: str, dtype: torch.dtype, scan: Scan, draw: int) -> None:
    case = _case(source, draw)
    truth = _run(case, "reference", torch.float64, rc.scan)
    if not all(v.isfinite().all() for v in truth.values()):
        raise AssertionError(f"the reference loop itself gives infinities or NaN:\n{source}")
    ours = _run(case, backend, dtype, scan)
    theirs = truth if dtype == torch.float64 else _run(case, "reference", dtype, rc.scan)
    failures = list(_failures(truth, theirs, ours, dtype))
    if failures and dtype == torch.float32 and draw < 1:
        return _check(source, backend, dtype, scan, draw + 1)
    if failures:
        sizes = f"x {tuple(case.x.shape)}, lengths {case.lengths}, reverse {case.reverse}, frozen {case.frozen}"
        raise DifferenceError(f"{backend}, {dtype}, draw {draw}, {sizes}:\n" + "\n".join(failures) + f"\n\n{source}")
    return None


def _case(source: str, draw: int) -> _Case:
    cell, declared = load(source)
    choose = random.Random(zlib.crc32(source.encode()) + draw)
    torch.manual_seed(choose.randrange(2**32))
    steps, batch = choose.choice((1, 2, 3, 5, 7, 20)), choose.choice((1, 2, 3, 4, 5, 9))
    lengths = [choose.randint(0, steps) for _ in range(batch)] if choose.random() < 0.4 else None

    def numbers(*shape: int) -> Tensor:
        return (2 * torch.rand(shape) - 1).double()

    x = 1.5 * numbers(steps, batch, *cell.input_shape)
    if choose.random() < 0.3:
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    state = []
    for entry in cell.state_shapes():
        shape, dtype = split_shape(entry)
        state.append(0.9 * numbers(batch, *shape) if dtype is None else torch.randint(0, 6, (batch, *shape)))
    leading = {"rows": (batch,), "shared": (), "steps": (steps, batch)}
    context = [0.9 * numbers(*leading[sort], *shape) for sort, shape in declared]
    if lengths is not None and choose.random() < 0.5:
        # What lies in the padding must reach nothing.
        for over_time in (x, *(c for c, (sort, _) in zip(context, declared, strict=True) if sort == "steps")):
            for row, n in enumerate(lengths):
                over_time[n:, row] = float("nan")
    frozen = choose.random() < 0.2
    for k, p in enumerate(cell.parameters()):
        p.requires_grad_(not (frozen and k % 2 == 0))
    return _Case(cell, x, tuple(state), tuple(context), lengths, choose.random() < 0.4, frozen, choose)


def _run(case: _Case, backend: str, dtype: torch.dtype, scan: Scan, only: bool | None = None) -> dict[str, Tensor]:
    """Return every result by name: outputs, states, and gradients of a weighted sum of all of them.

    only: True to stop before inference, False to do nothing else.
    """
    cell = case.cell.to(dtype)
    leaves = case.leaves(dtype)
    count = len(case.state)
    state = tuple(leaves[f"state {k}"] for k in range(count))
    context = tuple(leaves[f"context {k}"] for k in range(len(case.context)))
    run: Callable[[], Any] = lambda: scan(  # noqa: E731
        cell, leaves["x"], state, context=context, lengths=case.lengths, reverse=case.reverse, backend=backend,
        keep_states=True,
    )  # fmt: skip
    with warnings.catch_warnings():
        # torch warns of a variance over a batch without rows, which is what a step with no running sequence gets.
        warnings.filterwarnings("ignore", r"(var|std)\(\): degrees of freedom")
        results = {} if only is False else _outputs(run())
        with torch.no_grad():
            inference = {} if only else _outputs(run())
    weights = torch.Generator().manual_seed(1)
    # Drawn for every result, whether this backend lets it require a gradient or not.
    weighted = [(v, (torch.rand(v.shape, generator=weights) + 0.5).to(v.dtype)) for v in results.values()]
    loss = sum((v * weight).sum() for v, weight in weighted if v.requires_grad)
    wanted = {k: v for k, v in leaves.items() if v.requires_grad}
    wanted |= {f"parameter {n}": p for n, p in cell.named_parameters() if p.requires_grad}
    gradients: Sequence[Tensor | None] = [None] * len(wanted)
    if isinstance(loss, Tensor):
        gradients = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    found = {f"{k}, no_grad": v for k, v in inference.items()} | results
    for (name, leaf), gradient in zip(wanted.items(), gradients, strict=True):
        found[f"gradient of {name}"] = torch.zeros_like(leaf) if gradient is None else gradient
    return {k: v.detach() for k, v in found.items()}


def _outputs(result: Any) -> dict[str, Tensor]:
    found = {"y": result.y}
    found |= {f"final state {k}": s for k, s in enumerate(result.state)}
    return found | {f"all of state {k}": s for k, s in enumerate(result.states)}


def _failures(
    truth: dict[str, Tensor], theirs: dict[str, Tensor], ours: dict[str, Tensor], dtype: torch.dtype
) -> Iterator[str]:
    longest = {
        kind: max((float(v.double().norm()) for k, v in truth.items() if k.startswith("gradient") == kind), default=0.0)
        for kind in (True, False)
    }
    largest = max((float(v.abs().max()) for v in truth.values() if v.numel()), default=0.0)
    for name, exact in truth.items():
        mine = ours[name]
        if mine.shape != exact.shape:
            yield f"{name}: shape {tuple(mine.shape)}, must be {tuple(exact.shape)}"
        elif not exact.is_floating_point():
            if not torch.equal(mine, exact):
                yield f"{name}: {int((mine != exact).sum())} of {exact.numel()} integers differ"
        elif mine.dtype != dtype:
            yield f"{name}: {mine.dtype}, must be {dtype}"
        elif exact.numel() and dtype == torch.float64:
            error, scale = float((mine - exact).abs().max()), float(exact.abs().max())
            if not error <= _EXACT * scale + _ABSOLUTE * max(largest, 1e-3):
                yield f"{name}: differs by {error:.2e}, largest value {scale:.2e}"
        elif exact.numel():
            error, own = float((mine.double() - exact).norm()), float((theirs[name].double() - exact).norm())
            all_of = longest[name.startswith("gradient")]
            allowed = _TWICE * own + _FLOOR * float(exact.norm()) + _NOISE * all_of
            if not error <= allowed:
                yield f"{name}: error {error:.2e}, the reference loop's {own:.2e}, length {float(exact.norm()):.2e}"
