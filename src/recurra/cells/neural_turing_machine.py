"""The neural Turing machine: a controller that reads and writes a memory by soft attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape, call_step
from recurra.core.errors import ArgumentError

__all__ = ["NeuralTuringMachineCell"]

_SMALL = 1e-6


class NeuralTuringMachineCell(Cell):
    """A controller beside a memory M of N slots of W numbers, with heads that address it by content and by location.

        h = controller([x_t; r_{t-1}]),   every head's k, beta, g, s, gamma (and e, a) from linear layers of h
        w_c = softmax(beta * cosine(M, k))                by content
        w_g = g * w_c + (1 - g) * w_{t-1}                 or going on from where the head was
        v(i) = sum over j of w_g(i - j) s(j)              moved by j = -1, 0, 1
        w(i) = v(i)^gamma / sum of all v^gamma            sharpened
        M_t = M_{t-1} prod (1 - w e^T) + sum w a^T        over the write heads, which address M_{t-1}
        r_t = M_t^T w                                     of each read head, which addresses M_t
        y_t = V [h; r_t] + b

    beta = softplus, g = sigmoid, s = softmax, gamma = 1 + softplus, k = tanh, e = sigmoid, a = tanh of what h gives.

    Shapes: x `(B, input_size)`; state `(r, w_read, w_write, M, the controller's own ...)`, r `(B, read_heads * W)`,
    w_read and w_write `(B, heads, N)`, M `(B, N, W)`; y `(B, hidden_size)`. At first M is 1e-6, r zero, every head at
    slot 0.
    Weights: `controller.*`, `heads.*` (W k, 1 beta, 1 g, 3 s, 1 gamma for each head, read heads first), `writing.*`
    (e and a for each write head), `output.*`. `controller` is a factory `(input_size, hidden_size) -> Cell` whose
    output is a vector; one layer of tanh, without recurrence of its own, if not given.

    Paper: Graves, Wayne and Danihelka, "Neural Turing machines", arXiv v2 (2014).
    Deviation: the paper leaves open what the memory holds at first (a small constant, as in Collier and Beel 2018),
    where the heads stand, and how parameters are squashed.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        slots: int = 16,
        width: int = 8,
        read_heads: int = 1,
        write_heads: int = 1,
        controller: Callable[[int, int], Cell] | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size)
        if slots < 3 or min(width, read_heads, write_heads) < 1:
            raise ArgumentError(
                f"expected at least 3 slots, a width and heads of each kind of at least 1, got slots={slots}, "
                f"width={width}, read_heads={read_heads}, write_heads={write_heads}"
            )
        self.slots, self.width, self.read_heads, self.write_heads = slots, width, read_heads, write_heads
        seen = input_size + read_heads * width
        self.controller = _Layer(seen, hidden_size) if controller is None else controller(seen, hidden_size)
        if self.controller.input_shape != (seen,) or len(self.controller.output_shape) != 1:
            raise ArgumentError(
                f"the controller must map vectors of {seen} to vectors, got {type(self.controller).__name__} "
                f"from {self.controller.input_shape} to {self.controller.output_shape}"
            )
        (size,) = self.controller.output_shape
        self.heads = nn.Linear(size, (read_heads + write_heads) * (width + 6))
        self.writing = nn.Linear(size, write_heads * 2 * width)
        self.output = nn.Linear(size + read_heads * width, hidden_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        N, W = self.slots, self.width
        own = (self.read_heads * W,), (self.read_heads, N), (self.write_heads, N), (N, W)
        return *own, *self.controller.state_shapes()

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        r, w_read, w_write, memory, *_ = super().initial_state(batch, device=device, dtype=dtype)
        for w in (w_read, w_write):
            w[:, :, 0] = 1.0
        return r, w_read, w_write, memory + _SMALL, *self.controller.initial_state(batch, device=device, dtype=dtype)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        r, w_read, w_write, memory, *inner = state
        h, inner = call_step(self.controller, torch.cat([x, r], -1), tuple(inner), ())
        heads = self.heads(h).unflatten(-1, (self.read_heads + self.write_heads, self.width + 6))
        reading, writing = heads.split([self.read_heads, self.write_heads], 1)
        w_write = _address(memory, writing, w_write)
        erase, add = self.writing(h).unflatten(-1, (self.write_heads, 2 * self.width)).chunk(2, -1)
        for w, e in zip(w_write.unbind(1), torch.sigmoid(erase).unbind(1), strict=True):
            memory = memory * (1 - w.unsqueeze(2) * e.unsqueeze(1))
        memory = memory + w_write.transpose(1, 2) @ torch.tanh(add)
        w_read = _address(memory, reading, w_read)
        r = (w_read @ memory).flatten(1)
        y = self.output(torch.cat([h, r], -1))
        return y, (r, w_read, w_write, memory, *inner)


class _Layer(Cell):
    """The controller that there is by default: h = tanh(W x + b), with nothing carried."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.layer = nn.Linear(input_size, hidden_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return ()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return torch.tanh(self.layer(x)), ()


def _address(memory: Tensor, heads: Tensor, before: Tensor) -> Tensor:
    """Return each head's new weighting `(B, heads, N)` of memory `(B, N, W)`; heads `(B, heads, W + 6)`."""
    k, beta, g, s, gamma = heads.split([memory.shape[2], 1, 1, 3, 1], -1)
    similar = F.normalize(torch.tanh(k), dim=-1, eps=_SMALL) @ F.normalize(memory, dim=-1, eps=_SMALL).transpose(1, 2)
    g = torch.sigmoid(g)
    w = g * torch.softmax(F.softplus(beta) * similar, -1) + (1 - g) * before
    back, stay, on = torch.softmax(s, -1).split(1, -1)
    moved = back * w.roll(-1, -1) + stay * w + on * w.roll(1, -1)
    # v^gamma / sum v^gamma is the softmax of gamma log v.
    return torch.softmax((1 + F.softplus(gamma)) * torch.log(moved + _SMALL**2), -1)
