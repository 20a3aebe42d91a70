"""Messages along edges, and a recurrent cell at every node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core import Shared, State, call_step
from recurra.core.errors import ArgumentError, ShapeError
from recurra.layers import CellFactory, cell_factory
from recurra.networks.graphs import GATHERINGS, Graphs, gather

__all__ = ["GatedGraph"]


class GatedGraph(nn.Module):
    """A cell over rounds of messages in place of time; every node is a row of its batch.

        m_t(v) = sum over edges (w, v) of f_k(h_{t-1}(v), h_{t-1}(w), e_wv),    k the edge's type
        h_t(v), s_t(v) = cell([m_t(v); x_v; u], s_{t-1}(v))
        f_k(v, w, e) = A_k [v; w; e] + b_k, unless another is given;  m_0 = 0, s_{-1} the cell's initial state

    x_v is the node's own features, u what is known of its graph: inputs at every round. h is the cell's output. Round 0
    reads x and u alone, and then there are `rounds` rounds of messages. A node without incoming edges gets a message of
    zeros. Equivariant under permutation of nodes.

    cell: in the forms that `Recurrent` takes, further options go to it; kinds: how many types of edges there are;
    how: "sum", "mean" or "max" of messages; message: makes each f_k, `(inputs, outputs)` -> module; message_size: of m,
    the hidden size if not given.

    `forward` returns h `(N, H)` of all nodes and their state, `(N, ...)` each; `step` is one round more, so that with
    messages over edges that change from round to round it streams.

    Papers: Li, Tarlow, Brockschmidt and Zemel, "Gated graph sequence neural networks", ICLR (2016), arXiv v4 (typed
    edges, a GRU); Gilmer et al., "Neural message passing for quantum chemistry", ICML (2017).
    Deviation: the features are inputs of every round (Li et al. put them, with zeros behind, into the first state), so
    that the cell may be any; edges back are edges (`Graphs.both_ways`).
    """

    topology = "graph"

    def __init__(
        self,
        cell: CellFactory,
        node_size: int,
        hidden_size: int,
        rounds: int = 3,
        *,
        edge_size: int = 0,
        global_size: int = 0,
        kinds: int = 1,
        message_size: int | None = None,
        message: Callable[[int, int], nn.Module] = nn.Linear,
        how: str = "sum",
        **cell_options: Any,
    ) -> None:
        super().__init__()
        if how not in GATHERINGS:
            raise ArgumentError(f"how must be one of {', '.join(GATHERINGS)}, got {how!r}")
        if rounds < 0 or kinds < 1:
            raise ArgumentError(f"expected rounds of at least 0 and at least 1 kind of edges, got {rounds} and {kinds}")
        self.sizes = (node_size, edge_size, global_size)
        self.rounds = rounds
        self.how = how
        self.message_size = message_size or hidden_size
        self.cell = cell_factory(cell)(self.message_size + node_size + global_size, hidden_size, **cell_options)
        if len(self.cell.input_shape) != 1:
            raise ArgumentError(f"expected a cell over vectors, got inputs of shape {self.cell.input_shape}")
        self.output_size = self.cell.output_shape[0]
        self.messages = nn.ModuleList(
            message(2 * self.output_size + edge_size, self.message_size) for _ in range(kinds)
        )

    def forward(self, graphs: Graphs, rounds: int | None = None) -> tuple[Tensor, State]:
        """Return h `(N, H)` and the state after `rounds` rounds, the network's own number if not given.

        Raises ShapeError where features do not fit, ArgumentError where types do not.
        """
        self._check(graphs)
        many = self.rounds if rounds is None else rounds
        if many < 0:
            raise ArgumentError(f"expected rounds of at least 0, got {many}")
        x = graphs.nodes
        # One context for all rounds, as over time: a mask that a wrapper draws for a sequence holds for all of them.
        per_call, per_step = self.cell.make_context((), many + 1, len(x), x.device, x.dtype)
        constant = tuple(c.tensor if isinstance(c, Shared) else c for c in per_call)
        state = self.cell.initial_state(len(x), device=x.device, dtype=x.dtype)
        h = None
        for t in range(many + 1):
            context = (*constant, *(v[t] for v in per_step))
            h, state = call_step(self.cell, self._inputs(graphs, h), state, context)
        assert h is not None
        return h, state

    def step(self, graphs: Graphs, h: Tensor | None = None, state: State | None = None) -> tuple[Tensor, State]:
        """Run one round from h and state; round 0, without messages, if they are not given."""
        self._check(graphs)
        return self.cell(self._inputs(graphs, h), state)

    def extra_repr(self) -> str:
        return f"rounds={self.rounds}, how={self.how!r}"

    def _inputs(self, graphs: Graphs, h: Tensor | None) -> Tensor:
        """Return [m; x; u] of every node."""
        x = graphs.nodes
        m = x.new_zeros(len(x), self.message_size) if h is None else self._messages(graphs, h)
        return torch.cat([m, x, graphs.globals[graphs.node_graph]], 1)

    def _messages(self, graphs: Graphs, h: Tensor) -> Tensor:
        ends = torch.cat([h[graphs.receivers], h[graphs.senders], graphs.edges], 1)
        if graphs.kinds is None:
            return gather(self.messages[0](ends), graphs.receivers, len(h), self.how)
        chosen = [(graphs.kinds == k).nonzero().squeeze(1) for k in range(len(self.messages))]
        sent = torch.cat([f(ends[rows]) for f, rows in zip(self.messages, chosen, strict=True)])
        return gather(sent, graphs.receivers[torch.cat(chosen)], len(h), self.how)

    def _check(self, graphs: Graphs) -> None:
        found = (graphs.nodes.shape[1], graphs.edges.shape[1], graphs.globals.shape[1])
        if found != self.sizes:
            raise ShapeError(
                "GatedGraph: expected nodes, edges and globals of {}, {} and {} features, got {}, {} and {}".format(
                    *self.sizes, *found
                )
            )
        if graphs.kinds is not None and len(graphs.kinds):
            low, high = int(graphs.kinds.min()), int(graphs.kinds.max())
            if low < 0 or high >= len(self.messages):
                raise ArgumentError(
                    f"expected types of edges from 0 to {len(self.messages) - 1}, got {low} to {high}: "
                    f"give kinds={high + 1}"
                )
