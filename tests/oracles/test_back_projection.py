"""Back projections beside a loop written by hand: alone, forced, streaming, in layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from recurra import Cell, Recurrent, scan
from recurra.cells import get
from recurra.core.errors import ArgumentError, ShapeError
from recurra.scan import step
from recurra.wrappers.back_projection import BackProjection

T, B, I, H, O = 5, 3, 2, 4, 2  # noqa: E741


def jordan(inputs: int, hidden: int) -> Cell:
    """A cell whose output has another size than its hidden layer."""
    return get("jordan")(inputs, hidden, output_size=O)


def by_hand(cell: BackProjection, x: Tensor, fed_back: Callable[[int, Tensor], Tensor]) -> Tensor:
    """Run the cell inside on [x_t; what was fed back]; fed_back(t, y_t) is what step t hands to the next."""
    state = cell.cell.initial_state(x.shape[1], dtype=x.dtype)
    last = torch.zeros(x.shape[1], *cell.output_shape, dtype=x.dtype)
    outputs: list[Tensor] = []
    for t, x_t in enumerate(x):
        y, state = cell.cell(torch.cat([x_t, last], -1), state)
        last = fed_back(t, y)
        outputs.append(y)
    return torch.stack(outputs)


@pytest.fixture(params=["elman", "lstm", "jordan"])
def cell(request: pytest.FixtureRequest) -> BackProjection:
    factory = jordan if request.param == "jordan" else get(request.param)
    return BackProjection.of(factory, I, H).double()


def data(cell: BackProjection) -> tuple[Tensor, Tensor, Tensor]:
    targets = torch.randn(T, B, *cell.output_shape, dtype=torch.float64)
    return torch.randn(T, B, I, dtype=torch.float64), targets, torch.rand(T, B) < 0.5


def test_the_output_is_fed_back(cell: BackProjection) -> None:
    x, _, _ = data(cell)
    expected = by_hand(cell, x, lambda _t, y: y)
    torch.testing.assert_close(scan(cell, x).y, expected)
    torch.testing.assert_close(scan(cell, x, context=(None,)).y, expected)


def test_teacher_forcing_at_every_step(cell: BackProjection) -> None:
    x, targets, _ = data(cell)
    result = scan(cell, x, context=(targets,))
    torch.testing.assert_close(result.y, by_hand(cell, x, lambda t, _y: targets[t]))
    assert torch.equal(result.state[-1], targets[-1])


def test_teacher_forcing_by_mask(cell: BackProjection) -> None:
    x, targets, forced = data(cell)
    expected = by_hand(cell, x, lambda t, y: torch.where(forced[t, :, None], targets[t], y))
    torch.testing.assert_close(scan(cell, x, context=(targets, forced)).y, expected)
    targets[~forced] = torch.nan
    torch.testing.assert_close(scan(cell, x, context=(targets, forced)).y, expected)
    unforced = scan(cell, x, context=(targets, torch.zeros_like(forced))).y
    torch.testing.assert_close(unforced, scan(cell, x).y)


def test_streaming_with_and_without_a_teacher(cell: BackProjection) -> None:
    x, targets, forced = data(cell)
    for given in ((), (targets,), (targets, forced)):
        whole = scan(cell, x, context=given)
        state = None
        for t in range(T):
            y, state = step(cell, x[t], state, context=tuple(v[t : t + 1] for v in given))
            torch.testing.assert_close(y, whole.y[t])


def test_backwards_the_teacher_is_read_backwards_too(cell: BackProjection) -> None:
    x, targets, _ = data(cell)
    result = scan(cell, x, context=(targets,), reverse=True).y
    torch.testing.assert_close(result, scan(cell, x.flip(0), context=(targets.flip(0),)).y.flip(0))


def test_gradients_reach_the_targets(cell: BackProjection) -> None:
    x, targets, _ = data(cell)
    targets.requires_grad_()
    scan(cell, x, context=(targets,)).y.sum().backward()
    assert targets.grad is not None
    assert targets.grad[:-1].all()
    assert not targets.grad[-1].any()


def test_inside_recurrent_in_both_directions() -> None:
    rnn = Recurrent(lambda i, h: BackProjection.of(get("lstm"), i, h), I, H, num_layers=2, bidirectional=True).double()
    x = torch.randn(T, B, I, dtype=torch.float64)
    y, (h, c, last) = rnn(x)
    assert y.shape == (T, B, 2 * H)
    assert h.shape == c.shape == last.shape == (4, B, H)
    lower = torch.cat([scan(rnn.layers[0].forward, x).y, scan(rnn.layers[0].reverse, x, reverse=True).y], -1)
    torch.testing.assert_close(y[..., :H], scan(rnn.layers[1].forward, lower).y)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match="input_size must be the input's size plus its own output size 4, got 3"):
        BackProjection(get("elman")(3, 4))
    cell = BackProjection.of(get("elman"), I, H)
    with pytest.raises(ShapeError, match=r"targets of shape \(5, 3, 4\), got \(5, 3, 1\)"):
        scan(cell, torch.zeros(T, B, I), context=(torch.zeros(T, B, 1),))
    picture = get("elman")(9, 4)
    picture.input_shape = (3, 3)
    with pytest.raises(ArgumentError, match="BackProjection joins vectors"):
        BackProjection(picture)
