"""The full block of a graph network: edges, then nodes, then the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks.graphs import GATHERINGS, Graphs, gather

__all__ = ["GraphBlock", "two_layers"]


def two_layers(inputs: int, outputs: int) -> nn.Module:
    """Return V relu(W x + b) + c, the usual update."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))


class GraphBlock(nn.Module):
    """One block, graphs in and graphs of the same form out. u is what is known of a graph, e_k leads from s to r.

        e'_k = f_e([e_k; v_r; v_s; u])                  every edge, from its two ends and u
        v'_i = f_v([sum of e'_k into i; v_i; u])        every node, from its incoming edges and u
        u'   = f_u([sum of all e'_k; sum of all v'_i; u])

    node_size, edge_size, global_size: of what comes in (0 for edges or graphs without features); size: of all three
    that come out. how: "sum", "mean" or "max" in place of the sums. update: makes the three networks,
    `(inputs, outputs)` -> module. Equivariant under permutation of nodes and of edges; blocks are put one upon the
    other, or run again and again, with the sizes alike.

    Paper: Battaglia et al., "Relational inductive biases, deep learning, and graph networks" (2018), arXiv v3,
    algorithm 1.
    Deviation: none; edges of types are given their type as a one-hot feature.
    """

    topology = "graph"

    def __init__(
        self,
        node_size: int,
        edge_size: int,
        global_size: int,
        size: int,
        how: str = "sum",
        *,
        update: Callable[[int, int], nn.Module] = two_layers,
    ) -> None:
        super().__init__()
        if how not in GATHERINGS:
            raise ArgumentError(f"how must be one of {', '.join(GATHERINGS)}, got {how!r}")
        self.sizes = (node_size, edge_size, global_size)
        self.size = size
        self.how = how
        self.edge_update = update(edge_size + 2 * node_size + global_size, size)
        self.node_update = update(size + node_size + global_size, size)
        self.global_update = update(2 * size + global_size, size)

    def forward(self, graphs: Graphs) -> Graphs:
        """Return the graphs with new nodes, edges and globals. Raises ShapeError where features do not fit."""
        found = (graphs.nodes.shape[1], graphs.edges.shape[1], graphs.globals.shape[1])
        if found != self.sizes:
            raise ShapeError(
                "GraphBlock: expected nodes, edges and globals of {}, {} and {} features, got {}, {} and {}".format(
                    *self.sizes, *found
                )
            )
        v, u = graphs.nodes, graphs.globals
        parts = [graphs.edges, v[graphs.receivers], v[graphs.senders], u[graphs.edge_graph]]
        edges = self.edge_update(torch.cat(parts, 1))
        incoming = gather(edges, graphs.receivers, len(v), self.how)
        nodes = self.node_update(torch.cat([incoming, v, u[graphs.node_graph]], 1))
        known = self.global_update(self._all(edges, nodes, graphs))
        return replace(graphs, nodes=nodes, edges=edges, globals=known)

    def extra_repr(self) -> str:
        return "{}, {}, {}, {}".format(*self.sizes, self.size)

    def _all(self, edges: Tensor, nodes: Tensor, graphs: Graphs) -> Tensor:
        many = len(graphs.globals)
        every_edge = gather(edges, graphs.edge_graph, many, self.how)
        return torch.cat([every_edge, gather(nodes, graphs.node_graph, many, self.how), graphs.globals], 1)
