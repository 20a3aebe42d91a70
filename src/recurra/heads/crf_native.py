"""A CRF's sums and its best sequence by native code on the CPU: the same recursions as in PyTorch, row by row.

Of one row, a step is a product of one vector by a small matrix: far less work than calling PyTorch is. The code is in
`crf_kernels.cpp`, built at first use; where there is no compiler, `available` says so and PyTorch does it.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recurra.compiler.build import build, target
from recurra.compiler.errors import Unsupported

__all__ = ["NativeSums", "available", "best_sequence"]

_SOURCE = Path(__file__).with_name("crf_kernels.cpp")
_SCRATCH = 17
"""Vectors that a thread of the backward needs: eight pairs of messages, and one."""
_WORK_A_THREAD = 500_000
"""Products below which another thread costs more than it brings."""


def available(scores: Tensor) -> bool:
    """Tell whether there is native code for such scores: single or double precision on the CPU, and a compiler."""
    return scores.device.type == "cpu" and scores.dtype in (torch.float32, torch.float64) and _library() is not None


class NativeSums:
    """log Z of some rows, and what its gradient is found from.

    start `(K,)`, between `(K, K)`, end `(K,)`: the scores of a chain, -inf where impossible, in double precision;
    emissions: `(B, T, K)`; lengths: `(B,)` int64. total: log Z `(B,)`, 0 for a row without steps; spread: the widest
    distance between two emissions of one step, infinite where one is not finite. All is double.
    """

    def __init__(self, emissions: Tensor, start: Tensor, between: Tensor, end: Tensor, lengths: Tensor) -> None:
        batch, steps, tags = emissions.shape
        width = _width(tags, torch.float64)
        top = between.max()
        self._links = (between - top).exp()
        self._end = _padded(end.exp(), width)
        self._lengths = lengths.contiguous()
        self._like = emissions.contiguous()
        self._messages, self._weights = torch.empty(2, batch, steps, width, dtype=torch.float64).unbind()
        self.total, spread = torch.empty(2, batch, dtype=torch.float64).unbind()
        wide, first = _padded(self._links, width), _padded(start.exp(), width)
        _call(
            "forward", emissions.dtype,
            (self._like, self._lengths, first, wide, self._end, self._messages, self._weights, self.total, spread),
            (ctypes.c_double(float(top)), batch, steps, tags, width, _threads(batch, steps, tags)),
        )  # fmt: skip
        self.spread = float(spread.max())

    def before(self) -> Tensor:
        """Return the log of the forward messages of all steps but the last, `(B, T - 1, K)`, up to a number a step.

        Beyond a row's length it is anything.
        """
        return self._messages[:, :-1, : self._like.shape[2]].log()

    def gradient(self, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the gradient of sum_b upstream_b log Z_b by emissions, start, between and end.

        With ones upstream the first is p(y_t = k) and the third the expected number of each pair.
        """
        batch, steps, tags = self._like.shape
        width, threads = self._end.shape[0], _threads(batch, steps, tags)
        emissions = torch.empty_like(self._like)
        sums = torch.zeros(threads, tags + 2, width, dtype=torch.float64)
        scratch = torch.empty(threads, _SCRATCH, width, dtype=torch.float64)
        given = upstream.double().contiguous()
        across = _padded(self._links.T.contiguous(), width)
        _call(
            "backward", self._like.dtype,
            (given, self._lengths, across, self._end, self._messages, self._weights, emissions, sums, scratch),
            (batch, steps, tags, width, threads),
        )  # fmt: skip
        whole = sums.sum(0)[:, :tags]
        return emissions, whole[tags], whole[:tags] * self._links, whole[tags + 1]


def best_sequence(emissions: Tensor, start: Tensor, between: Tensor, end: Tensor, lengths: Tensor) -> Tensor:
    """Return the best sequence of each row `(B, T)` int64, 0 beyond its length; all scores of one dtype."""
    batch, steps, tags = emissions.shape
    width, threads = _width(tags, emissions.dtype), _threads(batch, steps, tags)
    path = torch.empty(batch, steps, dtype=torch.int64)
    best = torch.empty(threads, steps, width, dtype=emissions.dtype)
    given = [part.contiguous() for part in (emissions, lengths, start)]
    links = [_padded(part, width) for part in (between, between.T)]
    _call(
        "decode", emissions.dtype, (*given, *links, end.contiguous(), best, path), (batch, steps, tags, width, threads)
    )
    return path


def _call(name: str, dtype: torch.dtype, tensors: tuple[Tensor, ...], sizes: tuple[Any, ...]) -> None:
    library = _library()
    assert library is not None
    real = "float" if dtype == torch.float32 else "double"
    addresses = (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))
    getattr(library, f"crf_{name}_{real}")(addresses, *sizes)


def _width(tags: int, dtype: torch.dtype) -> int:
    lanes = target().vector_bytes // dtype.itemsize
    return -(-tags // lanes) * lanes


def _padded(x: Tensor, width: int) -> Tensor:
    """Return x with its last dimension made up to `width` by zeros."""
    wide = x.new_zeros(*x.shape[:-1], width)
    wide[..., : x.shape[-1]] = x
    return wide


def _threads(batch: int, steps: int, tags: int) -> int:
    return max(1, min(torch.get_num_threads(), batch, batch * steps * tags * tags // _WORK_A_THREAD))


@cache
def _library() -> ctypes.CDLL | None:
    """Return the library, built once; None where that is not possible."""
    try:
        built = build(f"#define RECURRA_VECTOR_BYTES {target().vector_bytes}\n{_SOURCE.read_text()}").library
    except Unsupported:
        return None
    sizes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_int, ctypes.c_int, ctypes.c_int]
    for real in ("float", "double"):
        for name, more in (("forward", [ctypes.c_double]), ("backward", []), ("decode", [])):
            function = getattr(built, f"crf_{name}_{real}")
            function.argtypes = [ctypes.c_void_p, *more, *sizes]
            function.restype = None
    return built
