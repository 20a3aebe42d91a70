"""Networks draw themselves: each has its topology's figure, a chain its parts."""

from __future__ import annotations

import pytest
import torch
from drawn import parse, texts
from torch import nn

import recurra as rc
from recurra import networks
from recurra.drawing import TOPOLOGIES, draw_tree
from recurra.networks import (
    Chain,
    Deep,
    Forecaster,
    GatedGraph,
    GraphBlock,
    Recursive,
    SeesAllBelow,
    SeesAllLayers,
    SelfAttention,
    Separable,
    SeriesFront,
    Sliced,
    SpatialAttention,
    TemporalAttention,
    TwoWay,
)

MADE: dict[str, nn.Module] = {
    "deep": Deep("gru", 3, [4, 4]),
    "deep-skip": Deep("gru", 3, [4, 4], "dense"),
    "deep-add": Deep("gru", 3, [4, 4], "highway"),
    "two-way": TwoWay("gru", 3, 4),
    "separable": Separable("gru", 3, 4),
    "sliced": Sliced("gru", 3, [4, 4], [2]),
    "sees-all-below": SeesAllBelow("gru", 3, [4, 4]),
    "sees-all-layers": SeesAllLayers("gru", 3, [4, 4]),
    "self-attention": SelfAttention(4),
    "convolutional-front": SeriesFront(3, [4]),
    "tree": Recursive("recursive", 3, 4),
    "graph": GatedGraph("gru", 3, 4),
    "forecaster": Forecaster("gru", 3, [4], 2),
    "spatial-attention": SpatialAttention("gru", 3, (2,), 4),
    "temporal-attention": TemporalAttention(rc.Recurrent("gru", 3, 4, batch_first=True), 2),
}


@pytest.mark.parametrize("name", MADE)
def test_a_network_has_its_topologys_figure(name: str) -> None:
    assert rc.draw(MADE[name], steps=3).svg == rc.draw(name, steps=3).svg


def test_every_network_with_a_topology_names_a_figure() -> None:
    named = [getattr(networks, name) for name in networks.__all__]
    figures = {kind.topology for kind in named if isinstance(getattr(kind, "topology", None), str)}
    assert len(figures) > 10
    assert figures <= set(TOPOLOGIES)
    assert rc.draw(GraphBlock(1, 1, 1, 1)).svg == rc.draw("graph").svg


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("name", ["separable", "sliced", "sees-all-layers", "forecaster", "temporal-attention"])
def test_figures_of_any_number_of_steps(name: str, steps: int) -> None:
    assert parse(rc.draw(name, steps=steps)) is not None


def test_a_red_bike_is_drawn() -> None:
    assert rc.draw("tree").svg == draw_tree(("a", ("red", "bike"))).svg
    assert {"a", "red", "bike"} <= {text for text, _ in texts(parse(rc.draw(MADE["tree"])))}


def test_a_chain_draws_its_parts() -> None:
    chain = Chain(
        rc.Recurrent("gru", 3, 4, batch_first=True), SelfAttention(4), rc.Recurrent("gru", 4, 4, batch_first=True)
    )
    words = {text for text, _ in texts(parse(rc.draw(chain, steps=2)))}
    assert {"Recurrent", "SelfAttention", "U", "U′", "W", "W′′"} <= words
    assert torch.is_tensor(chain(torch.zeros(1, 2, 3))[0])
