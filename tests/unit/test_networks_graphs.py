"""Graph networks beside plain loops over edges; permutations, isolated nodes, empty graphs, batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from topology_laws import KINDS
from torch import Tensor, nn

from recurra import cells, wrappers
from recurra.core import Cell, call_step
from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks import GATHERINGS, GatedGraph, GraphBlock, Graphs

F, D, U, H = 3, 2, 2, 6


def graph(nodes: int, pairs: list[tuple[int, int]], seed: int = 0) -> Graphs:
    g = torch.Generator().manual_seed(seed)
    return Graphs.of(
        torch.randn(nodes, F, generator=g, dtype=torch.float64),
        pairs,
        features=torch.randn(len(pairs), D, generator=g, dtype=torch.float64),
        kinds=torch.randint(0, 2, (len(pairs),), generator=g),
        known=torch.randn(U, generator=g, dtype=torch.float64),
    )


# Two edges between the same nodes, a loop, and node 4 with no edge at all.
SMALL = graph(5, [(0, 1), (0, 1), (1, 2), (2, 0), (3, 3), (3, 0)])
OTHERS = [SMALL, graph(2, [(1, 0)], 1), graph(1, [], 2), graph(0, [], 3), graph(4, [(0, 1), (1, 2), (2, 3)], 4)]


def gated(cell: Any = "gru", how: str = "sum", **options: Any) -> GatedGraph:
    return GatedGraph(cell, F, H, 2, edge_size=D, global_size=U, kinds=2, how=how, **options).double()


def block(how: str = "sum") -> GraphBlock:
    return GraphBlock(F, D, U, 4, how).double()


def kinds_of(g: Graphs) -> list[int]:
    assert g.kinds is not None
    return g.kinds.tolist()


def joined(vectors: list[Tensor], how: str, size: int) -> Tensor:
    if not vectors:
        return torch.zeros(size, dtype=torch.float64)
    all_of_them = torch.stack(vectors)
    return {"sum": all_of_them.sum(0), "mean": all_of_them.mean(0), "max": all_of_them.amax(0)}[how]


def permuted(g: Graphs, order: Tensor) -> Graphs:
    """Number the nodes anew: node order[i] becomes i; and turn the edges' order around."""
    new = order.argsort()
    kinds = None if g.kinds is None else g.kinds.flip(0)
    return replace(
        g,
        nodes=g.nodes[order],
        senders=new[g.senders].flip(0),
        receivers=new[g.receivers].flip(0),
        edges=g.edges.flip(0),
        kinds=kinds,
    )


@pytest.mark.parametrize("how", GATHERINGS)
def test_the_block_updates_edges_then_nodes_then_the_whole(how: str) -> None:
    net, g = block(how), SMALL
    u, out = g.globals[0], net(g)
    ends = list(zip(g.senders.tolist(), g.receivers.tolist(), strict=True))
    edges = [net.edge_update(torch.cat([g.edges[k], g.nodes[r], g.nodes[s], u])) for k, (s, r) in enumerate(ends)]
    nodes: list[Tensor] = []
    for i in range(5):
        incoming = joined([e for e, (_, r) in zip(edges, ends, strict=True) if r == i], how, 4)
        nodes.append(net.node_update(torch.cat([incoming, g.nodes[i], u])))
    whole = net.global_update(torch.cat([joined(edges, how, 4), joined(nodes, how, 4), u]))
    torch.testing.assert_close(out.edges, torch.stack(edges))
    torch.testing.assert_close(out.nodes, torch.stack(nodes))
    torch.testing.assert_close(out.globals, whole[None])


@pytest.mark.parametrize("how", GATHERINGS)
@pytest.mark.parametrize("cell", KINDS)
def test_messages_equal_a_loop_over_edges(cell: str, how: str) -> None:
    net, g = gated(cell, how), SMALL
    assert g.kinds is not None
    h, state = list[Tensor](), [net.cell.initial_state(1, dtype=torch.float64)] * 5
    ends = list(zip(g.senders.tolist(), g.receivers.tolist(), g.kinds.tolist(), strict=True))
    for t in range(3):
        new: list[Tensor] = []
        for v in range(5):
            sent = [
                net.messages[kind](torch.cat([h[r], h[s], g.edges[k]]))
                for k, (s, r, kind) in enumerate(ends)
                if r == v and t
            ]
            y, state[v] = net.cell(torch.cat([joined(sent, how, H), g.nodes[v], g.globals[0]])[None], state[v])
            new.append(y[0])
        h = new
    got, final = net(g)
    torch.testing.assert_close(got, torch.stack(h))
    for k, tensor in enumerate(final):
        torch.testing.assert_close(tensor, torch.cat([s[k] for s in state]))


def test_one_round_after_the_other_is_the_whole() -> None:
    net = gated("lstm")
    h, state = net.step(SMALL)
    for _ in range(2):
        h, state = net.step(SMALL, h, state)
    torch.testing.assert_close((h, state), net(SMALL))
    torch.testing.assert_close(net(SMALL, 0)[0], net.step(SMALL)[0])


@pytest.mark.parametrize("how", GATHERINGS)
def test_nodes_may_be_numbered_anew(how: str) -> None:
    order = torch.tensor([3, 0, 4, 2, 1])
    turned = permuted(SMALL, order)
    net = gated(how=how)
    torch.testing.assert_close(net(turned)[0], net(SMALL)[0][order])
    other = block(how)
    torch.testing.assert_close(other(turned).nodes, other(SMALL).nodes[order])
    torch.testing.assert_close(other(turned).edges, other(SMALL).edges.flip(0))
    torch.testing.assert_close(other(turned).globals, other(SMALL).globals)


@pytest.mark.parametrize("how", GATHERINGS)
def test_a_batch_of_graphs_of_different_sizes_is_one_by_one(how: str) -> None:
    together = Graphs.batch(OTHERS)
    assert together.node_graph.tolist() == [0] * 5 + [1] * 2 + [2] + [4] * 4
    net, other = gated("lstm", how), block(how)
    h, state = net(together)
    torch.testing.assert_close(h, torch.cat([net(g)[0] for g in OTHERS]))
    torch.testing.assert_close(state[1], torch.cat([net(g)[1][1] for g in OTHERS]))
    out = other(together)
    for name in ("nodes", "edges", "globals"):
        torch.testing.assert_close(getattr(out, name), torch.cat([getattr(other(g), name) for g in OTHERS]))


def test_an_isolated_node_hears_nothing() -> None:
    net = gated()
    alone = Graphs.of(SMALL.nodes[4:], [], features=SMALL.edges[:0], known=SMALL.globals[0])
    torch.testing.assert_close(net(SMALL)[0][4], net(alone)[0][0])
    changed = replace(SMALL, nodes=torch.cat([SMALL.nodes[:4] + 1, SMALL.nodes[4:]]))
    torch.testing.assert_close(net(changed)[0][4], net(SMALL)[0][4])
    assert not torch.allclose(net(changed)[0][0], net(SMALL)[0][0])


def test_messages_go_one_edge_a_round_and_only_forwards() -> None:
    path = graph(4, [(0, 1), (1, 2), (2, 3)])
    net = gated()
    for directed in (path, path.both_ways()):
        x = directed.nodes.clone().requires_grad_()
        h, _ = net(replace(directed, nodes=x))
        seen = [
            [bool(torch.autograd.grad(h[i].sum(), x, retain_graph=True)[0][j].count_nonzero()) for j in range(4)]
            for i in range(4)
        ]
        back = directed is not path
        assert seen == [[0 <= i - j <= 2 or (back and abs(i - j) <= 2) for j in range(4)] for i in range(4)]


def test_the_way_back_may_be_a_type_of_its_own() -> None:
    path = graph(2, [(0, 1)])
    both = path.both_ways(2)
    assert both.kinds is not None
    assert path.kinds is not None
    assert both.kinds.tolist() == [int(path.kinds[0]), int(path.kinds[0]) + 2]
    plain = Graphs.of(path.nodes, [(0, 1)], directed=False)
    assert plain.kinds is None
    assert plain.senders.tolist() == [0, 1]
    assert plain.both_ways(1).kinds is not None


@pytest.mark.parametrize("how", GATHERINGS)
@pytest.mark.parametrize("kind", ["gated", "block"])
def test_gradients(kind: str, how: str) -> None:
    net: nn.Module = gated("elman", how) if kind == "gated" else block(how)
    names = [n for n, _ in net.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in net.parameters()]
    leaves = [v.clone().requires_grad_() for v in (SMALL.nodes, SMALL.edges, SMALL.globals)]

    def run(nodes: Tensor, edges: Tensor, known: Tensor, *weights: Tensor) -> Any:
        given = replace(SMALL, nodes=nodes, edges=edges, globals=known)
        out = torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (given,))
        return out[0] if kind == "gated" else (out.nodes, out.edges, out.globals)

    assert torch.autograd.gradcheck(run, (*leaves, *values), fast_mode=True)


def test_a_wrappers_masks_hold_for_all_rounds() -> None:
    def dropped(i: int, h: int) -> Cell:
        return wrappers.get("recurrent_dropout").of(cells.get("elman"), i, h, p=0.5)

    net = gated(dropped).train()
    torch.manual_seed(5)
    got, _ = net(SMALL)
    torch.manual_seed(5)
    (mask, *rest), over_rounds = net.cell.make_context((), 3, 5, torch.device("cpu"), torch.float64)
    assert not rest
    assert not over_rounds
    h, state = None, net.cell.initial_state(5, dtype=torch.float64)
    for _ in range(3):
        sent = torch.zeros(5, H, dtype=torch.float64)
        if h is not None:
            ends = torch.cat([h[SMALL.receivers], h[SMALL.senders], SMALL.edges], 1)
            for k, (v, kind) in enumerate(zip(SMALL.receivers.tolist(), kinds_of(SMALL), strict=True)):
                sent[v] = sent[v] + net.messages[kind](ends[k])
        known = SMALL.globals.expand(5, -1)
        h, state = call_step(net.cell, torch.cat([sent, SMALL.nodes, known], 1), state, (mask,))
    torch.testing.assert_close(got, h)


def test_what_does_not_fit_is_refused() -> None:
    nodes = torch.zeros(3, F, dtype=torch.float64)
    with pytest.raises(ShapeError, match="expected senders to be numbers of nodes from 0 to 2, got 0 to 3"):
        Graphs.of(nodes, [(0, 1), (3, 1)])
    with pytest.raises(ShapeError, match="expected edges to have one entry for each of 1 edges, got 2"):
        Graphs.of(nodes, [(0, 1)], features=torch.zeros(2, D))
    with pytest.raises(ShapeError, match=r"GatedGraph: expected .* of 3, 2 and 2 features, got 3, 0 and 0"):
        gated()(Graphs.of(nodes, [(0, 1)]))
    with pytest.raises(ShapeError, match=r"GraphBlock: expected .* of 3, 2 and 2 features, got 3, 0 and 0"):
        block()(Graphs.of(nodes, [(0, 1)]))
    with pytest.raises(ArgumentError, match="expected types of edges from 0 to 1, got 0 to 4: give kinds=5"):
        gated()(replace(SMALL, kinds=torch.tensor([0, 0, 0, 0, 0, 4])))
    with pytest.raises(ArgumentError, match="1 of 2 graphs have types of edges"):
        Graphs.batch([SMALL, replace(SMALL, kinds=None)])
    with pytest.raises(ArgumentError, match="expected at least one graph"):
        Graphs.batch([])
    with pytest.raises(ArgumentError, match="how must be one of sum, mean, max, got 'all'"):
        gated(how="all")
    with pytest.raises(ArgumentError, match="how must be one of sum, mean, max, got 'all'"):
        block("all")
    with pytest.raises(ArgumentError, match="expected rounds of at least 0, got -1"):
        gated()(SMALL, -1)
    with pytest.raises(ArgumentError, match="expected a cell over vectors"):
        gated("conv_lstm")
