"""The contestants that run in PyTorch: recurra, torch.nn, and the plain eager loop."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import recurra as rc
from kernel_contestants.cells import CELLS
from kernel_contestants.torch_loops import LOOPS
from kernel_contestants.workload import CLASSIC, Contestant, Workload, make_workload

__all__ = ["eager", "in_recurra", "torch_nn", "workload"]


def workload(cell: str, shape: tuple[int, int, int, int], threads: int) -> Workload:
    """Make the workload of a classic cell (its module being torch.nn's) or of one of `cells.CELLS`."""
    build: Callable[[int, int], nn.Module] = getattr(nn, cell) if cell in CLASSIC else CELLS[cell][0]
    return make_workload(cell, shape, threads, build)


def in_recurra(work: Workload) -> Contestant:
    """recurra with `backend="auto"`: the drop-in of the classic three, `Recurrent` over any other cell."""
    if work.cell in CLASSIC:
        layer: nn.Module = getattr(rc, work.cell)(*work.shape[2:])
        layer.load_state_dict(work.module.state_dict())
    else:
        layer = rc.Recurrent(lambda i, h: work.module, *work.shape[2:])  # type: ignore[arg-type,return-value]
    return _contestant("recurra", lambda x: layer(x)[0], work, tuple(layer.parameters()))


def torch_nn(work: Workload) -> Contestant:
    """The layer of torch.nn."""
    return _contestant("torch.nn", lambda x: work.module(x)[0], work, work.weights)


def eager(work: Workload) -> Contestant:
    """The plain loop over time."""
    if work.cell in CLASSIC:
        loop = LOOPS[work.cell]
        return _contestant("eager loop", lambda x: loop(x, *work.weights), work, work.weights)
    by_hand = CELLS[work.cell][1]
    return _contestant("eager loop", lambda x: by_hand(work.module, x), work, work.weights)


def _contestant(name: str, run: Callable[[Tensor], Tensor], work: Workload, weights: tuple[Tensor, ...]) -> Contestant:
    x = work.x.detach()

    def forward() -> Tensor:
        with torch.no_grad():
            return run(x)

    def train() -> tuple[Tensor, ...]:
        return torch.autograd.grad(run(work.x), (work.x, *weights), work.d_y)

    return Contestant(name, forward, train)
