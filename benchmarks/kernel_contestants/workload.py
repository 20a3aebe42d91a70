"""What is measured: a cell, a shape, its numbers; and the form that every contestant takes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

__all__ = ["CLASSIC", "GATES", "Contestant", "Shape", "Workload", "make_workload"]

Shape: TypeAlias = tuple[int, int, int, int]
"""(B, T, I, H)."""

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""The three cells that torch, onnxruntime and the hand-written kernels have too, with their number of gates."""

CLASSIC = tuple(GATES)


@dataclass(frozen=True)
class Contestant:
    """One way to run a workload.

    forward: returns y `(T, B, H)`, without recording gradients; train: forward and backward, returns the gradients of
    x and of every weight, in the workload's order. None where the contestant has no such thing.
    """

    name: str
    forward: Callable[[], Any]
    train: Callable[[], Sequence[Any]] | None = None


@dataclass(frozen=True)
class Workload:
    """One cell in one shape: x `(T, B, I)`, the gradient of y, and the weights (torch.nn's, for the classic three).

    module: the layer of torch.nn that holds the weights, or the `recurra.Cell`.
    """

    cell: str
    shape: Shape
    threads: int
    module: nn.Module
    x: Tensor
    d_y: Tensor
    weights: tuple[Tensor, ...] = field(repr=False)

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """What gradients are taken of: the input (as in every layer but the first) and the weights."""
        return (self.x, *self.weights)


def make_workload(cell: str, shape: Shape, threads: int, build: Callable[[int, int], nn.Module]) -> Workload:
    """Draw the numbers of a workload, the same in every process."""
    B, T, inputs, H = shape
    torch.manual_seed(zlib.crc32(f"{cell}{shape}".encode()))
    module = build(inputs, H)
    x = torch.randn(T, B, inputs, requires_grad=True)
    return Workload(cell, shape, threads, module, x, torch.randn(T, B, H), tuple(module.parameters()))
