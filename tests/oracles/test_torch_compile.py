"""torch.compile of a model with recurrent layers: one graph, in which every layer is one operator, or the plain loop
where no kernel takes the cell; with the same numbers and gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra.cells.lstm import LSTMCell
from recurra.layers import sequences
from recurra.scan import cpp_compiler
from recurra.wrappers.zoneout import Zoneout

LAYERS: dict[str, Callable[[], Any]] = {
    "LSTM": lambda: recurra.LSTM(5, 24),
    "GRU, two layers, two ways": lambda: recurra.GRU(5, 6, 2, bidirectional=True),
    "any cell": lambda: recurra.Recurrent("lstm", 5, 24),
    "work around the loop": lambda: recurra.Recurrent("layer_norm_lstm", 5, 24),
    "a clock": lambda: recurra.Recurrent("clockwork", 5, 24, periods=[1, 2, 4]),
    "a context drawn for the call": lambda: recurra.Recurrent(_zoneout, 5, 24).eval(),
    "the plain loop": lambda: recurra.Recurrent("lstm", 5, 24, backend="reference"),
}
PLAIN = {"a context drawn for the call", "the plain loop"}
"""Layers that are written out into the graph, step by step."""

needs_compiler = pytest.mark.skipif(cpp_compiler() is None, reason="no C++ compiler on this machine")


def _zoneout(inputs: int, hidden: int) -> recurra.Cell:
    return Zoneout(LSTMCell(inputs, hidden), 0.1)


class Watched:
    """A backend of torch.compile that runs graphs as they are, and counts the operators of ours in them."""

    def __init__(self) -> None:
        self.operators = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        self.operators += sum("recurra.loop" in str(node.target) for node in graph.graph.nodes)
        run: Callable[..., Any] = torch._dynamo.backends.debugging.aot_eager(graph, inputs)
        return run


@needs_compiler
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_one_graph_equal_to_the_layer_itself(name: str, ragged: bool) -> None:
    if ragged and name in PLAIN:
        pytest.skip("the plain loop looks at every length, which only an operator can do out of the graph's sight")
    torch.manual_seed(0)
    before, layer = nn.Linear(5, 5), LAYERS[name]()
    x = torch.randn(6, 20, 5)
    counts = torch.randint(0, 7, (20,))

    def model(x: Tensor, counts: Tensor) -> tuple[Tensor, Any]:
        y, state = layer(before(x), lengths=counts if ragged else None)
        return y, state

    def gradients(y: Tensor, state: Any) -> tuple[Tensor, ...]:
        last = state if isinstance(state, Tensor) else state[0]
        return torch.autograd.grad(y.square().sum() + last.sum(), own)

    own = [*before.parameters(), *layer.parameters()]
    # The plain call comes first: what it remembers of the layer must not stand in the compiler's way.
    wanted = model(x, counts)
    expected = gradients(*wanted)
    torch.compiler.reset()
    watched = Watched()
    found = torch.compile(model, fullgraph=True, backend=watched)(x, counts)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    for a, b in zip(gradients(*found), expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert watched.operators == (0 if name in PLAIN else len(layer.bound_cells()))


@needs_compiler
def test_a_copy_and_another_size_are_seen() -> None:
    torch.manual_seed(0)
    first = recurra.LSTM(5, 24)
    second = copy.deepcopy(first)
    with torch.no_grad():
        second.weight_hh_l0.add_(1.0)
    torch.compiler.reset()
    for layer in (first, second):
        run = torch.compile(layer, fullgraph=True, backend=Watched(), dynamic=True)
        for steps, batch in ((7, 20), (9, 12)):
            x = torch.randn(steps, batch, 5, requires_grad=True)
            torch.testing.assert_close(run(x), layer(x), atol=1e-5, rtol=1e-5)
            (found,) = torch.autograd.grad(run(x)[0].sum(), x)
            (wanted,) = torch.autograd.grad(layer(x)[0].sum(), x)
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@needs_compiler
def test_the_operator_keeps_pytorchs_rules() -> None:
    layer = recurra.LSTM(3, 20)
    x = torch.randn(4, 3, 3, requires_grad=True)
    torch.compile(layer, fullgraph=True, backend="aot_eager")(x)  # makes its program known
    own = [p.detach().requires_grad_() for p in layer.bound_cells()[0].parameters()]
    state = [torch.zeros(3, 20), torch.zeros(3, 20)]
    for lengths in (None, torch.tensor([4, 0, 2])):
        torch.library.opcheck(torch.ops.recurra.loop, (id(layer), 0, False, True, x, state, own, lengths))


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


@needs_compiler
def test_what_other_layers_have_prepared_is_nothing_to_a_graph() -> None:
    x = torch.randn(60, 20, 5)
    other, layer = recurra.LSTM(5, 32), recurra.LSTM(5, 32)
    other(x)
    assert sequences._prepared.get(other) is not None

    def forgetful(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        sequences._prepared.clear()  # as where the other layer is freed while guards are being made
        return graph.forward

    torch.compiler.reset()
    found = torch.compile(lambda x: layer(x)[0], fullgraph=True, backend=forgetful)(x)
    torch.testing.assert_close(found, layer(x)[0], atol=1e-5, rtol=1e-5)
