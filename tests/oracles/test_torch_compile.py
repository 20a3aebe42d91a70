"""torch.compile of a model with recurrent layers: one graph, by the plain loop, with the same numbers and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra

LAYERS: dict[str, Callable[[], Any]] = {
    "LSTM": lambda: recurra.LSTM(5, 24),
    "GRU, two layers, two ways": lambda: recurra.GRU(5, 6, 2, bidirectional=True),
    "any cell": lambda: recurra.Recurrent("lstm", 5, 24),
}


@pytest.mark.parametrize("name", LAYERS)
def test_one_graph_equal_to_the_layer_itself(name: str) -> None:
    torch.manual_seed(0)
    before, layer = nn.Linear(5, 5), LAYERS[name]()
    x = torch.randn(6, 20, 5)

    def model(x: Tensor) -> Tensor:
        return layer(before(x))[0]

    own = [*before.parameters(), *layer.parameters()]
    # The plain call comes first: what it remembers of the layer must not stand in the compiler's way.
    wanted = model(x)
    gradients = torch.autograd.grad(wanted.square().sum(), own)
    torch.compiler.reset()
    found = torch.compile(model, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    for a, b in zip(torch.autograd.grad(found.square().sum(), own), gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_one_graph_of_a_streaming_step() -> None:
    torch.manual_seed(0)
    layer = recurra.LSTM(5, 24)
    x = torch.randn(3, 5)
    with torch.no_grad():
        for _ in range(400):  # so many that the stream is prepared
            wanted, _ = layer.step(x, None)
        torch.compiler.reset()
        found, _ = torch.compile(lambda x: layer.step(x), fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
