"""Compiled kernels and the hoisted loop against the reference loop: outputs, states and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra import cells
from recurra.core import Cell, State
from recurra.scan import Result, cpp_compiler, dealing, scan

needs_compiler = pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler on this machine")


class LayerNormLSTM(Cell):
    """Reductions and several levels of loops in a step."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.ih = nn.Linear(input_size, 4 * hidden_size)
        self.hh = nn.Linear(hidden_size, 4 * hidden_size)
        self.n1, self.n2, self.n3 = (
            nn.LayerNorm(4 * hidden_size),
            nn.LayerNorm(4 * hidden_size),
            nn.LayerNorm(hidden_size),
        )

    def state_shapes(self) -> Any:
        return (self.hidden_size,), (self.hidden_size,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        i, f, g, o = (self.n1(self.ih(x)) + self.n2(self.hh(h))).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(self.n3(c))
        return h, (h, c)


class Leaky(Cell):
    """One weight over [x; h], and an output of another size behind a product of its own."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.output_shape = (input_size,)
        self.joint = nn.Linear(input_size + hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, input_size)
        self.leak = nn.Parameter(torch.randn(hidden_size))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        a = torch.sigmoid(self.leak)
        h = (1 - a) * h + a * torch.tanh(self.joint(torch.cat([x, h], -1)))
        return x + self.out(h), (h,)


class Delta(Cell):
    """A matrix as the state, products of matrices for each row, softmax inside the step."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.output_shape = (hidden_size,)
        self.q = nn.Linear(input_size, 3 * hidden_size + 1)

    def state_shapes(self) -> Any:
        return ((self.hidden_size, self.hidden_size),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (s,) = state
        d = self.hidden_size
        k, v, q, b = self.q(x).split([d, d, d, 1], -1)
        k, q = torch.softmax(k, -1), torch.softmax(q, -1)
        old = torch.bmm(s, k[:, :, None])[:, :, 0]
        s = s + (torch.sigmoid(b) * (v - old))[:, :, None] * k[:, None, :]
        return torch.tanh(torch.bmm(s, q[:, :, None])[:, :, 0]), (s,)


class Clockwork(Cell):
    """An integer clock, a mask over the weights, and units that sleep."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.ih, self.hh = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        module = torch.arange(hidden_size) * 3 // hidden_size
        self.periods: Tensor
        self.mask: Tensor
        self.register_buffer("periods", 2**module)
        self.register_buffer("mask", (module[:, None] <= module[None, :]).float())

    def state_shapes(self) -> Any:
        return (self.hidden_size,), ((), torch.int64)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, t = state
        new = torch.tanh(self.ih(x) + F.linear(h, self.hh.weight * self.mask, self.hh.bias))
        h = torch.where(t[:, None] % self.periods == 0, new, h)
        return h, (h, t + 1)


class Many(Cell):
    """Many functions, a detour around gradients, and writing in place into what nobody else sees."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.a, self.n = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.b = nn.Linear(hidden_size, hidden_size, bias=False)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        z = F.gelu(self.a(x) + self.b(h))
        h = h + 0.3 * F.softplus(self.n(z)) * z.roll(1, -1) - 0.1 * torch.log1p(z * z) + torch.erf(z).clamp(-0.5, 0.5)
        h = h / (1 + h.abs().mean(-1, keepdim=True)) + 0.1 * torch.maximum(z, h.detach())
        h.mul_(0.9)
        return h * (h.var(-1, keepdim=True, unbiased=False) + 1).sqrt(), (h,)


class Attentive(Cell):
    """Looks at a context at every step."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.joint, self.query = (
            nn.Linear(input_size + 2 * hidden_size, hidden_size),
            nn.Linear(hidden_size, hidden_size),
        )

    def step(self, x: Tensor, state: State, context: tuple[Tensor, ...]) -> tuple[Tensor, State]:
        (h,), (keys, gate) = state, context
        weights = torch.softmax(torch.einsum("bsh,bh->bs", keys, self.query(h)), -1)
        seen = torch.einsum("bs,bsh->bh", weights, keys)
        h = torch.tanh(self.joint(torch.cat([x, seen, h], -1))) * gate
        return h, (h,)


class JoinOfJoins(Cell):
    """Joins inside a join, on the left of a product."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, hidden_size)
        self.back = nn.Linear(4 * hidden_size, hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        a, b = torch.tanh(h).unsqueeze(1), torch.sigmoid(h).unsqueeze(1)
        joined = torch.cat([torch.cat([a, b], 2), torch.cat([b, a * b], 2)], 1)
        h = torch.tanh(self.inputs(x) + self.back(joined.flatten(1)))
        return h, (h,)


VECTORS = [cell for cell in map(cells.get, cells.names()) if len(cell(2, 2).input_shape) == 1]
"""The library's cells but those over grids, whose convolutions the compiler does not know."""

KINDS: list[Callable[[int, int], Cell]] = [
    *VECTORS,
    JoinOfJoins,
    LayerNormLSTM,
    Leaky,
    Delta,
    Clockwork,
    Many,
    Attentive,
]
SIZES = [(1, 1, 1), (6, 7, 3), (3, 17, 7)]
RAGGED = (3, 5, 0, 1, 5, 2, 4)


def gradients(cell: Cell, backend: str, batch: int, steps: int = 5, **options: Any) -> list[Tensor]:
    """Return outputs, final states and the gradient of everything, for the same random problem every time."""
    torch.manual_seed(1)
    dtype = next(v.dtype for v in cell.state_dict().values() if v.is_floating_point())
    x = torch.randn(steps, batch, cell.input_size, dtype=dtype, requires_grad=True)
    start = cell.initial_state(batch, dtype=dtype)
    # Positive, since some states are shares that a cell takes the logarithm of.
    state = tuple((s + torch.rand_like(s)).requires_grad_() if s.is_floating_point() else s for s in start)
    context: tuple[Tensor, ...] = ()
    if isinstance(cell, Attentive):
        context = (
            torch.randn(batch, 4, cell.hidden_size, dtype=dtype),
            torch.rand(batch, cell.hidden_size, dtype=dtype),
        )
        context = tuple(c.requires_grad_() for c in context)
    result: Result = scan(cell, x, state, context=context, backend=backend, **options)
    made = [result.y, *result.state, *(result.states or ())]
    loss = sum((m * torch.randn_like(m)).sum() for m in made if m.is_floating_point())
    assert isinstance(loss, Tensor)
    inputs = [t for t in [x, *state, *context, *cell.parameters()] if t.requires_grad]
    grads = torch.autograd.grad(loss, inputs, allow_unused=True)
    zeroed = (torch.zeros_like(t) if g is None else g for t, g in zip(inputs, grads, strict=True))
    return [*(m.detach() for m in made), *zeroed]


def assert_equal(found: list[Tensor], truth: list[Tensor], tolerance: float) -> None:
    """Compare with a tolerance relative to each tensor's largest entry."""
    assert len(found) == len(truth)
    for k, (a, b) in enumerate(zip(found, truth, strict=True)):
        scale = max(1.0, float(b.abs().max())) if b.numel() else 1.0
        assert torch.allclose(a, b, rtol=0, atol=tolerance * scale), f"result {k}"


@needs_compiler
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_kernels_equal_the_loop(kind: Callable[[int, int], Cell], sizes: tuple[int, int, int]) -> None:
    inputs, hidden, batch = sizes
    # One dtype for each size keeps the compiler's work down; both meet every cell.
    dtype = torch.float32 if hidden == 7 else torch.float64
    cell = kind(inputs, hidden).to(dtype)
    tolerance = 2e-5 if dtype == torch.float32 else 1e-11
    ragged = RAGGED[:batch]
    for options in ({}, {"reverse": True}, {"lengths": ragged}, {"lengths": ragged, "reverse": True}):
        truth = gradients(cell, "reference", batch, **options)
        assert_equal(gradients(cell, "cpp", batch, **options), truth, tolerance)
        assert_equal(gradients(cell, "hoisted", batch, **options), truth, tolerance)


@needs_compiler
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_threads_that_share_a_row_change_nothing(kind: Callable[[int, int], Cell], monkeypatch: Any) -> None:
    monkeypatch.setattr(dealing, "_WORK_A_SHARE", 1)
    cell = kind(3, 17).double()
    for options in ({}, {"reverse": True}):
        gradients(cell, "cpp", 1, steps=6, **options)  # the first call gives what the loop gives
        one = gradients(cell, "cpp", 1, steps=6, **options)
        for threads in (2, 3):
            torch.set_num_threads(threads)
            try:
                found = gradients(cell, "cpp", 1, steps=6, **options)
            finally:
                torch.set_num_threads(1)
            assert_equal(found, one, 1e-14)  # PyTorch's own products, after the loop, may round in another way


@needs_compiler
@pytest.mark.parametrize("batch", [3, 20])
def test_products_of_the_input_before_and_in_the_loop(batch: int) -> None:
    cell = cells.get("lstm")(18, 9).double()
    assert_equal(gradients(cell, "cpp", batch), gradients(cell, "reference", batch), 1e-12)


@needs_compiler
def test_all_states_and_their_gradients() -> None:
    cell = cells.get("lstm")(6, 7)
    for options in ({}, {"lengths": RAGGED, "reverse": True}):
        truth = gradients(cell, "reference", 7, keep_states=True, **options)
        assert_equal(gradients(cell, "cpp", 7, keep_states=True, **options), truth, 2e-5)


@needs_compiler
def test_threads_change_nothing() -> None:
    cell = cells.get("gru")(6, 7)
    one = gradients(cell, "cpp", 7, steps=400)
    ragged_one = gradients(cell, "cpp", 7, lengths=RAGGED)
    torch.set_num_threads(3)
    try:
        assert_equal(gradients(cell, "cpp", 7, steps=400), one, 1e-6)
        assert_equal(gradients(cell, "cpp", 7, lengths=RAGGED), ragged_one, 1e-6)
    finally:
        torch.set_num_threads(1)


@needs_compiler
def test_strides_of_any_kind() -> None:
    cell = cells.get("lstm")(6, 7)
    wide = torch.randn(4, 6, 12, dtype=torch.float32)
    for x in (wide[..., ::2].transpose(0, 1), wide[..., :6].transpose(0, 1), torch.randn(1, 1, 6).expand(5, 3, 6)):
        found, truth = (scan(cell, x, backend=b).y for b in ("cpp", "reference"))
        assert torch.allclose(found, truth, atol=1e-6)


@needs_compiler
def test_not_a_number_and_infinity_go_where_the_loop_lets_them() -> None:
    cell = cells.get("gru")(6, 7)
    x = torch.randn(5, 4, 6)
    x[1, 0, 2], x[2, 1, 3], x[3, 2, 0] = float("nan"), float("inf"), -float("inf")
    found, truth = (scan(cell, x, backend=b).y for b in ("cpp", "reference"))
    assert torch.allclose(found, truth, atol=1e-6, equal_nan=True)
    # Padding that holds NaN touches neither values nor gradients.
    poisoned = torch.full((5, 3, 6), float("nan"))
    poisoned[:2] = 0.5
    y = scan(cell, poisoned, lengths=(2, 1, 0), backend="cpp").y
    grads = torch.autograd.grad(y.sum(), list(cell.parameters()))
    assert all(bool(g.isfinite().all()) for g in (y, *grads))


@needs_compiler
def test_writes_into_weights_and_outputs() -> None:
    cell = cells.get("gru")(6, 7)
    x = torch.randn(9, 3, 6)
    for change in (lambda w: w.mul_(1.5), lambda w: w.data.add_(0.3), lambda w: w.data.numpy().fill(0.1)):
        with torch.no_grad():
            scan(cell, x, backend="cpp")
            change(cell.weight_hh)
            assert torch.allclose(scan(cell, x, backend="cpp").y, scan(cell, x, backend="reference").y, atol=1e-6)
    y = scan(cell, x, backend="cpp").y
    y.mul_(2)
    y.sum().backward()
    assert cell.weight_hh.grad is not None


@needs_compiler
def test_gradients_of_gradients() -> None:
    cell = cells.get("gru")(3, 4).double()
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)

    def second(backend: str) -> Tensor:
        (first,) = torch.autograd.grad((scan(cell, x, backend=backend).y ** 2).sum(), x, create_graph=True)
        return torch.autograd.grad((first**2).sum(), x)[0]

    assert torch.allclose(second("cpp"), second("reference"), atol=1e-12)


class Biased(Cell):
    """Adds what holds for the whole call to h, before the product."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs, self.recurrent = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def step(self, x: Tensor, state: State, context: tuple[Tensor, ...]) -> tuple[Tensor, State]:
        h = torch.tanh(self.inputs(x) + self.recurrent(state[0] + context[0])) + context[0]
        return h, (h,)


@needs_compiler
def test_gradients_of_a_context_that_goes_through_a_product_in_the_loop() -> None:
    cell = Biased(3, 5).double()
    x, given = torch.randn(6, 4, 3).double(), torch.randn(4, 5).double().requires_grad_()
    found: list[tuple[Tensor, ...]] = []
    for backend in ("reference", "cpp"):
        y = scan(cell, x, context=(given,), backend=backend, lengths=[6, 2, 0, 4]).y
        found.append(torch.autograd.grad(y.square().sum(), [given, *cell.parameters()]))
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-10)
