"""What holds of every topology, whatever it is: exact gradients over every cell, one-line errors, a picture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from drawn import parse
from topologies import TOPOLOGIES, public_networks
from topology_laws import KINDS
from torch import Tensor, nn

import recurra as rc
from recurra.core.errors import ArgumentError, ShapeError
from recurra.drawing import TOPOLOGIES as FIGURES

OVER_CELLS = [name for name, topology in TOPOLOGIES.items() if topology.cells]
SAMPLE = ["elman", "lstm", "gru", "layer_norm_gru"]


def made(name: str, cell: str = "gru") -> tuple[nn.Module, Tensor]:
    torch.manual_seed(3)
    network = TOPOLOGIES[name].make(cell).double().eval()
    return network, torch.randn(TOPOLOGIES[name].shape, dtype=torch.float64)


def test_every_public_network_is_among_the_topologies() -> None:
    assert {name.split(",")[0] for name in TOPOLOGIES} == set(public_networks())


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    network, x = made(name, SAMPLE[len(name) % len(SAMPLE)])
    names = [n for n, _ in network.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in network.parameters()]

    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, v: Tensor) -> Tensor:
            return TOPOLOGIES[name].call(self.network, v)

    def run(v: Tensor, *weights: Tensor) -> Tensor:
        given = {f"network.{n}": w for n, w in zip(names, weights, strict=True)}
        return torch.func.functional_call(Called(), given, (v,))

    assert torch.autograd.gradcheck(run, (x.requires_grad_(), *values), fast_mode=True)


@pytest.mark.parametrize("cell", KINDS)
@pytest.mark.parametrize("name", OVER_CELLS)
def test_it_learns_over_cells_of_all_kinds(name: str, cell: str) -> None:
    """Every weight gets a gradient through it, whatever the cell's states are."""
    network, x = made(name, cell)
    y = TOPOLOGIES[name].call(network, x)
    weights = torch.linspace(1, 2, y.numel(), dtype=y.dtype).view(y.shape)
    (y * weights).sum().backward()
    unheard = {"decoder.embed.weight"} if "not fed back" in name else set[str]()
    for parameter in (p for n, p in network.named_parameters() if n not in unheard):
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all())


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_size_that_does_not_fit_is_named(name: str) -> None:
    network, x = made(name)
    places = {"ColumnsFront": 1, "EveryStep": 2, "SpatialAttention": 2}
    axis = places.get(name, x.dim() - 1)
    wider = torch.cat([x, x.narrow(axis, 0, 1)], axis)
    with pytest.raises((ShapeError, ArgumentError)) as refused:
        TOPOLOGIES[name].call(network, wider)
    message = str(refused.value)
    assert "\n" not in message
    assert str(x.shape[axis]) in message
    assert str(x.shape[axis] + 1) in message


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_it_draws_itself(name: str) -> None:
    network: Any = made(name)[0]
    assert parse(rc.draw(network, steps=3)) is not None


@pytest.mark.parametrize("name", sorted(set(public_networks()) - {"Chain", "EveryStep"}))
def test_every_network_has_a_figure(name: str) -> None:
    """All but those that are drawn by their parts: it is what `recurra draw NAME` draws, and in the gallery."""
    assert getattr(public_networks()[name], "topology", None) in FIGURES


def test_the_tutorials_names_are_in_the_docstrings() -> None:
    names = {"Synchronous": "同步", "EncoderDecoder": "异步", "ManyToOne": "sequence to class"}
    for network, name in names.items():
        assert name in (public_networks()[network].__doc__ or "")
