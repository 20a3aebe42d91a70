"""One step staged for every length of its context: what a decoder attends to is longer or shorter from call to call.

Tracing, planning and the C++ compiler run once. A call of some length gets the stages and the plan at its sizes, which
takes milliseconds, and the kernels that take the length as an argument.
"""

from __future__ import annotations

import threading
from dataclasses import replace

import torch
from torch import Tensor

from recurra.compiler.plan import Plan, plan
from recurra.compiler.stage import Staged
from recurra.compiler.varying import UNIT, Concrete
from recurra.core import Shared
from recurra.scan.kernels import Kernels
from recurra.scan.problem import Problem

__all__ = ["OneLength", "Planned", "length_of", "unit_shape"]


def length_of(problem: Problem) -> int:
    """Return the size of the context that is taken to vary from call to call; 0 if there is none.

    It is the first size after the rows of the first entry that has rows and two sizes more: `(B, S, ...)`.
    """
    for c in problem.per_call:
        if isinstance(c, Tensor) and c.dim() >= 3:
            return c.shape[1]
    return 0


def unit_shape(c: Tensor | Shared, size: int) -> tuple[int, ...]:
    """Return the shape of an entry of the context without its rows, `UNIT` in place of that length."""
    if isinstance(c, Shared):
        return tuple(c.tensor.shape)
    return tuple(UNIT if size and d == 1 and n == size else n for d, n in enumerate(c.shape))[1:]


class Planned:
    """A step staged, planned, and built when that is first needed."""

    size = 0
    """The context's length, 0 where it cannot vary."""

    def __init__(self, staged: Staged) -> None:
        self.staged = staged
        self._plans: dict[bool, Plan] = {}
        self._kernels: dict[bool, Kernels] = {}
        self._lock = threading.RLock()

    def plan(self, keep_states: bool) -> Plan:
        """Return the plan. keep_states: the new state counts as output, after all others."""
        with self._lock:
            if keep_states not in self._plans:
                s = self.staged
                self._plans[keep_states] = plan(replace(s, outputs=[*s.outputs, *s.new]) if keep_states else s)
            return self._plans[keep_states]

    def kernels(self, keep_states: bool, dtype: torch.dtype) -> Kernels:
        """Return the kernels."""
        with self._lock:
            if keep_states not in self._kernels:
                self._kernels[keep_states] = Kernels(self.plan(keep_states), dtype)
            return self._kernels[keep_states]


class OneLength:
    """A step that was staged for every length, at one of them; its kernels are those for every length."""

    def __init__(self, origin: Planned, size: int) -> None:
        self.size = size
        self._origin = origin
        self._concrete = Concrete(size)
        self.staged: Staged = self._concrete(origin.staged)
        self._plans: dict[bool, Plan] = {}

    def plan(self, keep_states: bool) -> Plan:
        """Return the plan at this length."""
        if keep_states not in self._plans:
            self._plans[keep_states] = self._concrete(self._origin.plan(keep_states))
        return self._plans[keep_states]

    def kernels(self, keep_states: bool, dtype: torch.dtype) -> Kernels:
        """Return the kernels."""
        return self._origin.kernels(keep_states, dtype)
