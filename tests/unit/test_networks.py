"""The synchronous network, its embeddings and readouts, and the softmax head."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recurra import cells
from recurra.core import Batch
from recurra.core.errors import ArgumentError
from recurra.heads import Softmax
from recurra.layers import Recurrent
from recurra.networks import Embedding, OneHot, Readout, Synchronous, TiedReadout

IDS = torch.tensor([[1, 4, 2, 0, 3], [2, 2, 0, 1, 4]])


def tied(size: int = 6) -> Synchronous:
    embed = Embedding(5, size, 0.1)
    return Synchronous(embed, Recurrent("elman", size, 6, batch_first=True), TiedReadout(6, embed))


# Cells over grids take no embedded symbols.
@pytest.mark.parametrize("name", [n for n in cells.names() if len(cells.get(n)(4, 6).input_shape) == 1])
def test_steps_equal_the_whole_for_every_cell(name: str) -> None:
    recurrent = Recurrent(name, 4, 6, 2, batch_first=True)
    network = Synchronous(Embedding(5, 4), recurrent, Readout(recurrent.output_size, 5)).double().eval()
    whole, final = network(Batch(IDS))
    state, outputs = network.initial_state(2), list[Tensor]()
    for x in IDS.unbind(1):
        y, state = network.step(x, state)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs, 1), whole)
    torch.testing.assert_close(state, final)


def test_one_hot_follows_the_dtype_of_the_network() -> None:
    assert OneHot(5)(IDS).tolist() == F.one_hot(IDS, 5).tolist()
    assert OneHot(5).double()(IDS).dtype == torch.float64
    assert not OneHot(5).state_dict()


@pytest.mark.parametrize("size", [6, 3])
def test_a_tied_table_is_saved_once_and_learns_at_both_ends(size: int) -> None:
    network = tied(size)
    names = set(network.state_dict())
    assert [name for name in names if network.state_dict()[name].shape == (5, size)] == ["embed.weight"]
    assert ("readout.project.weight" in names) == (size != 6)
    outputs, _ = network(Batch(IDS))
    features = network.recurrent(network.embed(IDS))[0].detach()
    table = network.embed.get_parameter("weight")
    (both,) = torch.autograd.grad(Softmax().loss(outputs, IDS), table)
    (output_end,) = torch.autograd.grad(Softmax().loss(network.readout(features), IDS), table)
    assert not torch.allclose(both, output_end)
    frozen = F.linear(
        network.readout.get_submodule("project")(network.recurrent(network.embed(IDS))[0]), table.detach()
    )
    bias = network.readout.get_parameter("bias")
    (input_end,) = torch.autograd.grad(Softmax().loss(frozen + bias, IDS), table)
    torch.testing.assert_close(both, input_end + output_end)


def test_an_embedding_of_size_zero_is_refused() -> None:
    with pytest.raises(ArgumentError, match="must be at least 1"):
        Embedding(5, 0)


def test_softmax_equals_cross_entropy_and_the_mask_leaves_out() -> None:
    head, scores = Softmax(), torch.randn(2, 5, 5, requires_grad=True)
    torch.testing.assert_close(head.loss(scores, IDS), F.cross_entropy(scores.transpose(1, 2), IDS, reduction="sum"))
    mask = torch.tensor([[True, True, False, True, False], [False] * 5])
    torch.testing.assert_close(head.loss(scores, IDS, mask), F.cross_entropy(scores[mask], IDS[mask], reduction="sum"))
    (gradient,) = torch.autograd.grad(head.loss(scores, IDS, mask), scores)
    assert not bool(gradient[~mask].any())
    torch.testing.assert_close(head.log_probabilities(scores, IDS).sum(), -head.loss(scores, IDS))
    assert head.predict(scores).tolist() == scores.argmax(-1).tolist()
    assert head.predict(scores, mask)[1].tolist() == [0] * 5
    assert head.loss(scores, IDS, torch.zeros_like(mask)).item() == 0.0
