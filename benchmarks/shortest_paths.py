"""A graph network learns shortest paths on small random graphs and is asked on graphs it has never seen.

    python benchmarks/shortest_paths.py [--steps 1500 --seeds 3 --out benchmarks/results/shortest_paths.md]

The task: an undirected graph of 8 to 16 nodes, a random tree and some more edges, so that it is connected; one node is
the source, one the target, both marked; which nodes and which edges lie on the shortest path? Only graphs with one
shortest path are drawn; every edge counts 1. Each node and each edge is classed by a linear readout; a graph is solved
if all its nodes and edges are right. Distances grow with graphs, so that larger ones than any seen (17 to 24 nodes) ask
for more rounds than were trained.

The contestants learn from the same stream of graphs, by Adam at the better of two rates on seed 0 (graphs of a stream
of their own), each for the same number of steps: `GatedGraph` with a GRU at the nodes; the same without rounds of
messages (it sees each node alone: the control); the full block of Battaglia et al., encoded and run again and again
with one set of weights.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.networks import GatedGraph, GraphBlock, Graphs

SIZE, ROUNDS, BATCH = 32, 8, 32
RATES = (1e-3, 4e-3)
SEEN, LARGER = (8, 16), (17, 24)


class Rounds(nn.Module):
    """A cell at the nodes; edges are classed from their two ends."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.network = GatedGraph("gru", 2, SIZE, rounds)
        self.nodes = nn.Linear(SIZE, 1)
        self.edges = nn.Bilinear(SIZE, SIZE, 1)

    def forward(self, graphs: Graphs) -> tuple[Tensor, Tensor]:
        h, _ = self.network(graphs)
        return self.nodes(h).squeeze(1), self.edges(h[graphs.senders], h[graphs.receivers]).squeeze(1)


class Blocks(nn.Module):
    """One block that encodes, and one that is run `ROUNDS` times, with what was before added."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = GraphBlock(2, 0, 0, SIZE)
        self.core = GraphBlock(SIZE, SIZE, SIZE, SIZE, "max")
        self.nodes = nn.Linear(SIZE, 1)
        self.edges = nn.Linear(SIZE, 1)

    def forward(self, graphs: Graphs) -> tuple[Tensor, Tensor]:
        g = self.encode(graphs)
        for _ in range(ROUNDS):
            new = self.core(g)
            g = replace(new, nodes=g.nodes + new.nodes, edges=g.edges + new.edges, globals=g.globals + new.globals)
        return self.nodes(g.nodes).squeeze(1), self.edges(g.edges).squeeze(1)


CONTESTANTS = {
    "GatedGraph, GRU, 8 rounds": lambda: Rounds(ROUNDS),
    "GatedGraph, GRU, no messages (control)": lambda: Rounds(0),
    "GraphBlock, 8 times": Blocks,
}


def draw_graph(rng: random.Random, low: int, high: int) -> tuple[Graphs, Tensor, Tensor, int]:
    """Return a graph, the nodes and the edges on its one shortest path (0 or 1), and the path's length."""
    while True:
        n = rng.randint(low, high)
        order = rng.sample(range(n), n)
        edges = {tuple(sorted((order[k], order[rng.randrange(max(0, k - 4), k)]))) for k in range(1, n)}
        edges |= {tuple(sorted(rng.sample(range(n), 2))) for _ in range(n // 5)}
        near: list[list[int]] = [[] for _ in range(n)]
        for a, b in edges:
            near[a].append(b)
            near[b].append(a)
        source, target = rng.sample(range(n), 2)
        distance, ways, queue = {source: 0}, [0] * n, [source]
        ways[source] = 1
        for v in queue:
            for w in near[v]:
                if w not in distance:
                    distance[w] = distance[v] + 1
                    queue.append(w)
                if distance[w] == distance[v] + 1:
                    ways[w] += ways[v]
        if ways[target] != 1:
            continue
        path = [target]
        while path[-1] != source:
            path.append(next(w for w in near[path[-1]] if distance[w] == distance[path[-1]] - 1))
        marks = torch.zeros(n, 2)
        marks[source, 0] = marks[target, 1] = 1
        graph = Graphs.of(marks, sorted(edges), directed=False)
        on = torch.zeros(n)
        on[path] = 1
        steps = {frozenset(pair) for pair in pairwise(path)}
        ends = zip(graph.senders.tolist(), graph.receivers.tolist(), strict=True)
        along = [float(frozenset(e) in steps) for e in ends]
        return graph, on, torch.tensor(along), len(path) - 1


def draw_batch(rng: random.Random, many: int, sizes: tuple[int, int]) -> tuple[Graphs, Tensor, Tensor]:
    """Return some graphs side by side, and their nodes and edges on paths."""
    graphs, nodes, edges, _ = zip(*(draw_graph(rng, *sizes) for _ in range(many)), strict=True)
    return Graphs.batch(graphs), torch.cat(nodes), torch.cat(edges)


def train(make, seed: int, rate: float, steps: int) -> nn.Module:
    """Train on a stream of graphs that the seed decides."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    net = make()
    optimizer = torch.optim.Adam(net.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        graphs, nodes, edges = draw_batch(rng, BATCH, SEEN)
        node_scores, edge_scores = net(graphs)
        loss = F.binary_cross_entropy_with_logits(node_scores, nodes)
        loss = loss + F.binary_cross_entropy_with_logits(edge_scores, edges)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return net


@torch.no_grad()
def solved(net: nn.Module, sizes: tuple[int, int], many: int = 500, seed: int = 10_000) -> tuple[float, float]:
    """Return the share of graphs that are solved, and of nodes that are right, on graphs never trained on."""
    graphs, nodes, edges = draw_batch(random.Random(seed), many, sizes)
    node_scores, edge_scores = net(graphs)
    right_nodes, right_edges = (node_scores > 0) == (nodes > 0.5), (edge_scores > 0) == (edges > 0.5)
    wrong = torch.zeros(many).index_add(0, graphs.node_graph, (~right_nodes).float())
    wrong = wrong.index_add(0, graphs.edge_graph, (~right_edges).float())
    return float((wrong == 0).float().mean()), float(right_nodes.float().mean())


def main() -> None:
    """Tune on seed 0, measure every seed, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "shortest_paths.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[str] = []
    for name, make in CONTESTANTS.items():
        tried = {rate: train(make, 0, rate, options.steps) for rate in RATES}
        tuned = {rate: solved(net, SEEN, seed=20_000)[0] for rate, net in tried.items()}
        rate = max(tuned, key=lambda r: tuned[r])
        print(name, {r: f"{v:.3f}" for r, v in tuned.items()}, flush=True)
        found: list[tuple[float, ...]] = []
        start = time.perf_counter()
        for seed in range(options.seeds):
            net = tried[rate] if seed == 0 else train(make, seed, rate, options.steps)
            found.append((*solved(net, SEEN), *solved(net, LARGER)))
            print(name, seed, [f"{v:.3f}" for v in found[-1]], flush=True)
        seconds = (time.perf_counter() - start) / max(1, options.seeds - 1)
        size = sum(p.numel() for p in tried[rate].parameters())
        columns = list(zip(*found, strict=True))
        cells = [f"{100 * statistics.mean(c):.1f} ({', '.join(f'{100 * v:.1f}' for v in c)})" for c in columns]
        rows.append(f"| {name} | {size:,} | {rate:g} | {' | '.join(cells)} | {seconds:.0f} |")
    lines = [
        "# Shortest paths by graph networks",
        "",
        f"Made by `benchmarks/shortest_paths.py --steps {options.steps} --seeds {options.seeds}`, whose head says what",
        f"was done. Trained on {options.steps * BATCH:,} graphs of {SEEN[0]} to {SEEN[1]} nodes; asked on 500 others",
        f"of these sizes, and on 500 of {LARGER[0]} to {LARGER[1]} nodes. Per cent: the mean, and every seed.",
        "",
        "| network | parameters | rate | graphs solved | nodes right | larger: graphs solved "
        "| larger: nodes right |"
        " seconds a training |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    print("\n".join(lines))
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
