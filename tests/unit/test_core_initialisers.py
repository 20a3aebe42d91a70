"""Biases of gates: whatever the cell, and however many bias vectors are added up."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra import Recurrent, cells
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import chrono_, forget_bias_

I, H = 3, 200  # noqa: E741


def summed(module: nn.Module, gate: int, gates: int, suffix: str = "") -> Tensor:
    """Return what is added to one gate before its sigmoid."""
    biases = [v for k, v in module.named_parameters() if k.startswith("bias") and k.endswith(suffix)]
    return torch.stack([b.detach().chunk(gates)[gate] for b in biases]).sum(0)


@pytest.mark.parametrize(
    ("name", "gate", "gates", "sign"),
    [
        ("lstm", 1, 4, 1),
        ("projected_lstm", 1, 4, 1),
        ("peephole_lstm", 1, 4, 1),
        ("cifg_lstm", 0, 3, -1),
        ("gru", 1, 3, 1),
        ("gru_reset_before", 1, 3, 1),
        ("layer_norm_gru", 1, 3, 1),
        ("ugrnn", 0, 2, 1),
        ("mgu", 0, 2, -1),
    ],
)
def test_cells(name: str, gate: int, gates: int, sign: int) -> None:
    cell = cells.get(name)(I, H)
    others = [k for k in range(gates) if k != gate]
    before = [summed(cell, k, gates) for k in others]
    forget_bias_(cell, 1.5)
    assert torch.equal(summed(cell, gate, gates), torch.full((H,), sign * 1.5))
    assert all(torch.equal(summed(cell, k, gates), b) for k, b in zip(others, before, strict=True))
    chrono_(cell, 100)
    times = (sign * summed(cell, gate, gates)).exp()
    assert 1 <= float(times.min()) < 10
    assert 90 < float(times.max()) <= 99
    assert 40 < float(times.mean()) < 60


def test_chrono_shuts_the_input_gate_by_as_much() -> None:
    cell = cells.get("lstm")(I, H)
    chrono_(cell, 50)
    assert torch.equal(summed(cell, 0, 4), -summed(cell, 1, 4))


@pytest.mark.parametrize("kind", [nn.LSTM, recurra.LSTM, nn.GRU, recurra.GRU])
def test_torchs_layers_and_the_drop_ins(kind: type[nn.Module]) -> None:
    rnn = kind(I, H, num_layers=2, bidirectional=True)
    gates = 4 if "LSTM" in kind.__name__ else 3
    forget_bias_(rnn)
    for suffix in ("_l0", "_l1", "_l0_reverse", "_l1_reverse"):
        assert torch.equal(summed(rnn, 1, gates, suffix), torch.ones(H))


def test_everything_in_a_network_and_each_cell_anew() -> None:
    rnn = Recurrent("lstm", I, H, num_layers=2)
    network = nn.Sequential(nn.Linear(2, I), rnn)
    chrono_(network, 1000)
    first, second = (summed(cell, 1, 4) for cell in rnn.modules() if isinstance(cell, recurra.Cell))
    assert float(first.min()) >= 0
    assert not torch.equal(first, second)


def test_a_wrapped_cell_is_found() -> None:
    from recurra.wrappers import get

    cell = cells.get("lstm")(I, H)
    forget_bias_(get("zoneout")(cell), 2.0)
    assert torch.equal(summed(cell, 1, 4), torch.full((H,), 2.0))


@pytest.mark.parametrize("module", [nn.Linear(2, 3), cells.get("elman")(2, 3), cells.get("no_forget_gate_lstm")(2, 3)])
def test_what_has_no_such_gate_is_refused(module: nn.Module) -> None:
    for call in (lambda: forget_bias_(module), lambda: chrono_(module, 10)):
        with pytest.raises(ArgumentError, match=f"gates that keep or replace, got {type(module).__name__}"):
            call()


def test_too_short_a_time_is_refused() -> None:
    with pytest.raises(ArgumentError, match="longest must be at least 3 steps, got 2"):
        chrono_(cells.get("lstm")(2, 3), 2)
    with pytest.raises(ArgumentError, match="give a gated cell with bias=True"):
        forget_bias_(cells.get("lstm")(2, 3, bias=False))
