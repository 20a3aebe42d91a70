"""Layers upon layers as a wave over layers and steps: each on a thread, one step behind the layer below."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.compiler.kernel import TELLS, WAITS
from recurra.scan.dealing import sharing
from recurra.scan.run import Run

__all__ = ["run_as_wave", "worth_a_wave"]

_LINE = 8
"""Numbers in a line of the cache: layers tell how far they are on lines of their own."""

_STEPS = 8
"""Steps below which the upper layers wait longer than they run."""

_WORK = 50_000
"""Floating point operations of a layer's step below which waiting for the other thread costs more than it brings
(`benchmarks/two_threads.py`)."""


def worth_a_wave(steps: int, batch: int, flops: Sequence[int], most: int) -> bool:
    """Tell whether layers, whose steps take `flops` operations a row, are to run as a wave on at most `most` threads.

    Where there are at least as many rows as threads, these run rows instead, and wait for nobody; where a step is so
    large that threads share it, they do that, which needs no even number of layers.
    """
    if len(flops) < 2 or most < 2 * batch or steps < _STEPS or min(flops) * batch < _WORK:
        return False
    return sharing(batch, max(flops), most) == 1


def run_as_wave(
    runs: Sequence[Run], x: Tensor, others: Sequence[tuple[Sequence[Tensor], Sequence[Tensor]]], most: int
) -> tuple[Tensor, list[list[Tensor]]]:
    """Run layers at once; return the last one's output and every one's final state.

    runs: prepared for one thread each; others: what each layer is given before x and after it.
    """
    made = torch.zeros(len(runs) * _LINE, dtype=torch.int64)
    at = [made.data_ptr() + 8 * _LINE * k for k in range(len(runs))]
    final: list[list[Tensor]] = []
    held: list[Sequence[Tensor | None]] = []
    words: list[array[int]] = []
    wave = array("q", (min(most, len(runs)), len(runs)))
    for k, (run, (before, after)) in enumerate(zip(runs, others, strict=True)):
        given = run.given([*before, x, *after])
        call = run.inference(given)
        tensors, outputs, finals = call.laid(given)
        own = call.frame.words(tensors)
        own[WAITS], own[TELLS] = at[k - 1] if k else 0, at[k]
        wave.extend((run.compiled.kernels["infer"].address, own.buffer_info()[0]))
        words.append(own)
        held.append(tensors)
        final.append(finals)
        x = outputs[0]
    runs[0].compiled.kernels["infer"].wave(wave.buffer_info()[0])
    return x, final
