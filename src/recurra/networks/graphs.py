"""Graphs of different sizes in one batch, and sums over what meets at a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError, ShapeError

__all__ = ["GATHERINGS", "Graphs", "gather"]

GATHERINGS = ("sum", "mean", "max")
"""How any number of vectors become one."""


@dataclass(frozen=True, eq=False)
class Graphs:
    """Some graphs, their nodes and edges numbered through: those of the first graph, those of the second, and so on.

    nodes: `(N, F)`; senders, receivers: `(E,)` int64, the nodes from which and to which each edge leads; edges:
    `(E, D)`, D = 0 for edges without features; kinds: `(E,)` int64, the type of each edge, or None where all are alike;
    globals: `(G, U)`, what is known of each graph, U = 0 for nothing; node_graph: `(N,)`, which graph a node is of.

    `Graphs.of` makes one graph, `Graphs.batch` puts some side by side. A node may be without edges, a graph without
    nodes. Raises ShapeError where sizes do not fit.
    """

    nodes: Tensor
    senders: Tensor
    receivers: Tensor
    edges: Tensor
    globals: Tensor
    node_graph: Tensor
    kinds: Tensor | None = None

    def __post_init__(self) -> None:
        n, many = self.nodes.shape[0], self.senders.shape[0]
        for name, tensor, wanted in (
            ("receivers", self.receivers, many),
            ("edges", self.edges, many),
            ("kinds", self.kinds, many),
            ("node_graph", self.node_graph, n),
        ):
            if tensor is not None and tensor.shape[0] != wanted:
                what = "node" if name == "node_graph" else "edge"
                raise ShapeError(
                    f"expected {name} to have one entry for each of {wanted} {what}s, got {tensor.shape[0]}"
                )
        for name, ends in (("senders", self.senders), ("receivers", self.receivers)):
            low, high = (int(ends.min()), int(ends.max())) if many else (0, -1)
            if low < 0 or high >= n:
                raise ShapeError(f"expected {name} to be numbers of nodes from 0 to {n - 1}, got {low} to {high}")

    @classmethod
    def of(
        cls,
        nodes: Tensor,
        edges: Sequence[tuple[int, int]] | Tensor,
        *,
        features: Tensor | None = None,
        kinds: Tensor | Sequence[int] | None = None,
        known: Tensor | None = None,
        directed: bool = True,
    ) -> Graphs:
        """Return one graph. edges: pairs (from, to); features: `(E, D)`; kinds: types; known: `(U,)`, of the graph.

        directed=False: each edge leads both ways, with the same features and type.
        """
        pairs = torch.as_tensor(edges, dtype=torch.int64, device=nodes.device).reshape(-1, 2)
        features = nodes.new_zeros(len(pairs), 0) if features is None else features
        typed = None if kinds is None else torch.as_tensor(kinds, dtype=torch.int64, device=nodes.device)
        known = nodes.new_zeros(0) if known is None else known
        none = torch.zeros(len(nodes), dtype=torch.int64, device=nodes.device)
        made = cls(nodes, pairs[:, 0], pairs[:, 1], features, known.unsqueeze(0), none, typed)
        return made if directed else made.both_ways()

    @classmethod
    def batch(cls, graphs: Sequence[Graphs]) -> Graphs:
        """Put graphs side by side. Raises ArgumentError for none, or where some have types of edges and some none."""
        if not graphs:
            raise ArgumentError("expected at least one graph, got none")
        typed = [g.kinds for g in graphs if g.kinds is not None]
        if typed and len(typed) < len(graphs):
            raise ArgumentError(
                f"{len(typed)} of {len(graphs)} graphs have types of edges: expected all or none to have"
            )
        nodes, counted = 0, 0
        senders, receivers, owners = list[Tensor](), list[Tensor](), list[Tensor]()
        for g in graphs:
            senders.append(g.senders + nodes)
            receivers.append(g.receivers + nodes)
            owners.append(g.node_graph + counted)
            nodes, counted = nodes + len(g.nodes), counted + len(g.globals)
        return cls(
            torch.cat([g.nodes for g in graphs]),
            torch.cat(senders),
            torch.cat(receivers),
            torch.cat([g.edges for g in graphs]),
            torch.cat([g.globals for g in graphs]),
            torch.cat(owners),
            torch.cat(typed) if typed else None,
        )

    def both_ways(self, kinds: int = 0) -> Graphs:
        """Return the graphs with every edge leading both ways.

        kinds: how many types of edges there are, if the way back is to be a type of its own: k back is k + kinds.
        """
        typed = self.kinds
        if kinds:
            typed = torch.zeros_like(self.senders) if typed is None else typed
        back = typed if typed is None else typed + kinds
        return replace(
            self,
            senders=torch.cat([self.senders, self.receivers]),
            receivers=torch.cat([self.receivers, self.senders]),
            edges=torch.cat([self.edges, self.edges]),
            kinds=None if typed is None or back is None else torch.cat([typed, back]),
        )

    @property
    def edge_graph(self) -> Tensor:
        """Which graph each edge is of, `(E,)`."""
        return self.node_graph[self.receivers]


def gather(values: Tensor, where: Tensor, size: int, how: str = "sum") -> Tensor:
    """Return `(size, ...)`: entry k is the sum, mean or largest of values `(M, ...)` with `where` `(M,)` equal to k.

    Zeros where there is none.
    """
    out = values.new_zeros(size, *values.shape[1:])
    if how == "max":
        index = where.reshape(-1, *(1,) * (values.dim() - 1)).expand_as(values)
        return out.scatter_reduce(0, index, values, "amax", include_self=False)
    total = out.index_add(0, where, values)
    if how == "sum":
        return total
    count = torch.bincount(where, minlength=size).clamp(min=1).to(values.dtype)
    return total / count.reshape(-1, *(1,) * (values.dim() - 1))
