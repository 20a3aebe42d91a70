"""Loops at once, on a thread each: layers as a wave over layers and steps, each one step behind the layer below, and
both directions of a layer."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.compiler.kernel import TELLS, WAITS
from recurra.scan.dealing import sharing
from recurra.scan.run import Run

__all__ = ["Wave", "worth_a_wave", "worth_two_ways"]

_LINE = 8
"""Numbers in a line of the cache: loops tell how far they are on lines of their own."""

_STEPS = 8
"""Steps below which the upper layers wait longer than they run."""

_WORK = 50_000
"""Floating point operations of a layer's step below which waiting for the other thread costs more than it brings
(`benchmarks/two_threads.py`)."""

_TWO_WAYS = 4_000_000
"""Floating point operations of a direction below which another thread's start costs more than it brings (there too)."""


def worth_a_wave(steps: int, batch: int, flops: Sequence[int], most: int) -> bool:
    """Tell whether layers, whose steps take `flops` operations a row, are to run as a wave on at most `most` threads.

    Where there are at least as many rows as threads, these run rows instead, and wait for nobody; where a step is so
    large that threads share it, they do that, which needs no even number of layers.
    """
    if len(flops) < 2 or most < 2 * batch or steps < _STEPS or min(flops) * batch < _WORK:
        return False
    return sharing(batch, max(flops), most) == 1


def worth_two_ways(steps: int, batch: int, flops: Sequence[int], most: int) -> bool:
    """Tell whether both directions of a layer are to run at once: where more than two threads share a step, they do
    not."""
    if most < 2 * batch or min(flops) * batch * steps < _TWO_WAYS:
        return False
    return sharing(batch, max(flops), most) <= 2


class Wave:
    """Loops that are laid out one after the other, and then run at once. Each is prepared for one thread."""

    def __init__(self, most: int) -> None:
        """most: of how many threads."""
        self._most = most
        self._made: list[Tensor] = []
        self._held: list[Sequence[Tensor | None]] = []
        self._words: list[array[int]] = []
        self._runs: list[Run] = []

    def add(self, run: Run, flat: Sequence[Tensor], follows: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Lay a loop out; return where its outputs and its final states will be. follows: whether it reads, step by
        step, what the one before it makes."""
        given = run.given(flat)
        call = run.inference(given)
        tensors, outputs, finals = call.laid(given)
        words = call.frame.words(tensors)
        made = torch.zeros(_LINE, dtype=torch.int64)
        words[WAITS], words[TELLS] = self._made[-1].data_ptr() if follows else 0, made.data_ptr()
        self._made.append(made)
        self._held.append(tensors)
        self._words.append(words)
        self._runs.append(run)
        return outputs, finals

    def run(self) -> None:
        """Run them."""
        kernels = [run.compiled.kernels["infer"] for run in self._runs]
        words = array("q", (min(self._most, len(kernels)), len(kernels)))
        for kernel, own in zip(kernels, self._words, strict=True):
            words.extend((kernel.address, own.buffer_info()[0]))
        kernels[0].wave(words.buffer_info()[0])
