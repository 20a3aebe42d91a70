"""Contributions beside networks whose answer is known in closed form, and what must add up."""

from __future__ import annotations

import pytest
import torch

from recurra import Recurrent
from recurra.core import Batch
from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks import ColumnEmbedding, Embedding, LastStep, ManyToOne, MaxPooling, Pooling, Readout
from recurra.networks.attribution import integrated_gradients, occlusion


def made(pooling: str = "last") -> ManyToOne:
    torch.manual_seed(1)
    layer = Recurrent("gru", 4, 5, bidirectional=True, batch_first=True)
    pooled: Pooling = LastStep.of(layer) if pooling == "last" else MaxPooling(10)
    return ManyToOne(Embedding(8, 4), layer, pooled, Readout(10, 3)).eval()


IDS = torch.tensor([3, 1, 7, 1])


def log_p(network: ManyToOne, ids: list[int], target: int) -> float:
    return float(network(Batch(torch.tensor([ids])))[0].detach().log_softmax(1)[0, target])


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_occlusion_is_what_is_lost_without_the_token(pooling: str) -> None:
    network = made(pooling)
    ids = IDS.tolist()
    expected = [log_p(network, ids, 2) - log_p(network, [*ids[:t], *ids[t + 1 :]], 2) for t in range(4)]
    assert occlusion(network, IDS, 2).tolist() == pytest.approx(expected, abs=1e-5)
    alone = log_p(network, [3], 2) - log_p(network, [5], 2)
    assert occlusion(network, IDS[:1], 2, unknown=5).tolist() == pytest.approx([alone], abs=1e-5)


def test_what_is_left_may_be_told_where_columns_speak_of_neighbours() -> None:
    torch.manual_seed(2)
    layer = Recurrent("gru", 5, 4, bidirectional=True, batch_first=True)
    network = ManyToOne(ColumnEmbedding([8, 9], [3, 2]), layer, MaxPooling(8), Readout(8, 3)).eval()

    def rows(ids: list[int]) -> torch.Tensor:
        return torch.tensor([[i, i + after & 7] for i, after in zip(ids, [*ids[1:], 0], strict=True)])

    def of(ids: torch.Tensor) -> float:
        return float(network(Batch(ids[None]))[0].detach().log_softmax(1)[0, 1])

    ids = IDS.tolist()
    shorter = [rows([*ids[:t], *ids[t + 1 :]]) for t in range(4)]
    found = occlusion(network, rows(ids), 1, without=torch.stack(shorter))
    assert found.tolist() == pytest.approx([of(rows(ids)) - of(row) for row in shorter], abs=1e-5)
    simply = [torch.cat([rows(ids)[:t], rows(ids)[t + 1 :]]) for t in range(4)]
    found = occlusion(network, rows(ids), 1)
    assert found.tolist() == pytest.approx([of(rows(ids)) - of(row) for row in simply], abs=1e-5)
    assert integrated_gradients(network, rows(ids), 1).shape == (4,)


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_integrated_gradients_add_up_to_the_whole_way(pooling: str) -> None:
    network = made(pooling)
    found = integrated_gradients(network, IDS, 0, steps=400)
    start = ManyToOne(Embedding(8, 4), network.recurrent, network.pooling, network.readout)
    torch.nn.init.zeros_(start.embed.weight)  # pyright: ignore[reportArgumentType]
    whole = log_p(network, IDS.tolist(), 0) - log_p(start, IDS.tolist(), 0)
    assert float(found.sum()) == pytest.approx(whole, abs=2e-3)
    assert all(p.grad is None for p in network.parameters())


def test_a_token_that_cannot_matter_has_no_share() -> None:
    network = made("max")
    with torch.no_grad():
        network.embed.weight[1] = 0  # pyright: ignore[reportIndexIssue]
    assert integrated_gradients(network, IDS, 1)[[1, 3]].tolist() == [0, 0]
    assert integrated_gradients(network, IDS, 1)[0] != 0


def test_what_is_refused() -> None:
    with pytest.raises(ShapeError, match="at least one step"):
        occlusion(made(), IDS[:0], 0)
    with pytest.raises(ArgumentError, match="steps"):
        integrated_gradients(made(), IDS, 0, 0)
