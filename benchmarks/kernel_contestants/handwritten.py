"""The hand-written kernels of handwritten.cpp, called through ctypes; float32, one thread, H a multiple of 16.

As their author measured them to be best: the input's projection is one product before the loop where B < 8, and in the
kernel otherwise or where the input is narrow; packed weights are kept until a weight changes; the gradients of the
input and of the weights are one product each over all stacked steps.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from kernel_contestants.workload import GATES, Contestant, Workload

__all__ = ["handwritten"]

_SOURCE = Path(__file__).with_suffix(".cpp")
_FLAGS = ("-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")


def handwritten(work: Workload) -> Contestant:
    """Build the kernels if need be and wrap the one of this cell."""
    kernel = {"LSTM": _LSTM, "GRU": _GRU, "RNN": _Elman}[work.cell](work)

    def forward() -> Tensor:
        with torch.no_grad():
            return kernel.forward(training=False)[0][1:]

    def train() -> tuple[Tensor, ...]:
        with torch.no_grad():
            return kernel.train()

    return Contestant("hand-written", forward, train)


@cache
def _library() -> ctypes.CDLL:
    key = hashlib.sha256(_SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    target = Path(__file__).parents[2] / "build" / f"handwritten-{key}.so"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        fresh = target.with_suffix(f".{os.getpid()}")
        subprocess.run([os.environ.get("CXX", "g++"), *_FLAGS, str(_SOURCE), "-o", str(fresh)], check=True)
        fresh.rename(target)
    return ctypes.CDLL(str(target))


def _call(name: str, *args: Tensor | int | None) -> None:
    """Call a kernel; a tensor is passed as its address, None as a null pointer."""
    given = [
        ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else ctypes.c_void_p(a) if a is None else a for a in args
    ]
    getattr(_library(), name)(*given)


class _Kernel:
    """What the three share: shapes, packed weights, the products around the loop."""

    def __init__(self, work: Workload) -> None:
        self.B, self.T, self.I, self.H = work.shape
        self.gates = GATES[work.cell]
        self.units = 16 if self.gates == 1 else 8
        self.x, self.d_y, self.weights = work.x.detach(), work.d_y, tuple(w.detach() for w in work.weights)
        self.fused = self.B >= 8 or self.I <= 16
        self._version: tuple[int, ...] = ()

    def pack(self) -> None:
        """Pack the weights unless they are as they were."""
        version = tuple(w._version for w in self.weights)
        if version == self._version:
            return
        self._version = version
        w_ih, w_hh, b_ih, b_hh = self.weights
        self.input_panels, self.panels, self.back_panels = w_ih.new_empty(w_ih.shape), *w_hh.new_empty(2, *w_hh.shape)
        _call("pack_forward", w_ih, self.input_panels, self.gates, self.units, self.H, self.I)
        _call("pack_forward", w_hh, self.panels, self.gates, self.units, self.H, self.H)
        _call("pack_backward", w_hh, self.back_panels, self.gates * self.H, self.H)
        self.bias = self.input_bias(b_ih, b_hh)

    def input_bias(self, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        """Return the bias that belongs to the input's projection."""
        return b_ih + b_hh

    def inputs(self) -> tuple[Tensor | None, Tensor | None]:
        """Return `(x, None)` or `(None, projection)`."""
        if self.fused:
            return self.x, None
        return None, torch.addmm(self.bias, self.x.view(-1, self.I), self.weights[0].t())

    def states(self) -> Tensor:
        """Return room for the states `(T + 1, B, H)`, the first one zero."""
        states = torch.empty(self.T + 1, self.B, self.H)
        states[0] = 0
        return states

    def products(self, d_input: Tensor, d_state: Tensor, w_ih: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of x and of both weights from those of the pre-activations `(T * B, gates * H)`."""
        d_x = torch.mm(d_input, w_ih).view(self.x.shape)
        d_w_ih = torch.mm(d_input.t(), self.x.view(-1, self.I))
        return d_x, d_w_ih, torch.mm(d_state.t(), h[:-1].view(-1, self.H))


class _LSTM(_Kernel):
    def forward(self, training: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        self.pack()
        x, projection = self.inputs()
        h, c = self.states(), self.states()
        gates = torch.empty(self.T, self.B, 4 * self.H) if training else None
        _call(
            "lstm_forward", self.T, self.B, self.I, self.H, x, projection, self.bias, self.input_panels, self.panels,
            h, c, gates,
        )  # fmt: skip
        return h, c, gates

    def train(self) -> tuple[Tensor, ...]:
        h, c, gates = self.forward(training=True)
        d_c, d_h = torch.zeros(2, self.B, self.H)
        d_gates, d_bias = torch.empty(self.T, self.B, 4 * self.H), torch.zeros(4 * self.H)
        _call("lstm_backward", self.T, self.B, self.H, self.back_panels, self.d_y, gates, c, d_c, d_gates, d_bias, d_h)
        flat = d_gates.view(-1, 4 * self.H)
        return *self.products(flat, flat, self.weights[0], h), d_bias, d_bias


class _GRU(_Kernel):
    def input_bias(self, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        both = torch.cat([b_hh[: 2 * self.H], torch.zeros(self.H)])
        self.hidden_bias = b_hh[2 * self.H :].clone()
        # What flows back lies in the order n, r, z.
        self.turned = torch.cat([self.weights[0][2 * self.H :], self.weights[0][: 2 * self.H]])
        return b_ih + both

    def forward(self, training: bool) -> tuple[Tensor, Tensor | None]:
        self.pack()
        x, projection = self.inputs()
        h = self.states()
        saved = torch.empty(self.T, self.B, 4 * self.H) if training else None
        _call(
            "gru_forward", self.T, self.B, self.I, self.H, x, projection, self.bias, self.hidden_bias,
            self.input_panels, self.panels, h, saved,
        )  # fmt: skip
        return h, saved

    def train(self) -> tuple[Tensor, ...]:
        H = self.H
        h, saved = self.forward(training=True)
        d_h = torch.zeros(self.B, H)
        d_gates, d_bias = torch.empty(self.T, self.B, 4 * H), torch.zeros(4 * H)
        _call("gru_backward", self.T, self.B, H, self.back_panels, self.d_y, saved, h, d_h, d_gates, d_bias)
        flat = d_gates.view(-1, 4 * H)
        d_x, d_w_ih, d_w_hh = self.products(flat[:, : 3 * H], flat[:, H:], self.turned, h)
        return d_x, _n_last(d_w_ih, H), d_w_hh, _n_last(d_bias[: 3 * H], H), d_bias[H:]


class _Elman(_Kernel):
    def forward(self, training: bool) -> tuple[Tensor]:
        self.pack()
        x, projection = self.inputs()
        h = self.states()
        _call(
            "elman_forward", self.T, self.B, self.I, self.H, x, projection, self.bias, self.input_panels, self.panels, h
        )
        return (h,)

    def train(self) -> tuple[Tensor, ...]:
        (h,) = self.forward(training=True)
        d_h, d_bias = torch.zeros(self.B, self.H), torch.zeros(self.H)
        d_a = torch.empty(self.T, self.B, self.H)
        _call("elman_backward", self.T, self.B, self.H, self.back_panels, self.d_y, h, d_a, d_bias, d_h)
        flat = d_a.view(-1, self.H)
        return *self.products(flat, flat, self.weights[0], h), d_bias, d_bias


def _n_last(w: Tensor, H: int) -> Tensor:
    """Put rows n, r, z in torch's order r, z, n."""
    return torch.cat([w[H:], w[:H]])
