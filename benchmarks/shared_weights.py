"""Weights that all steps share against a matrix for every step: parameters, and accuracy by the number of examples.

    python benchmarks/shared_weights.py [--steps 1000 --seeds 3 --out benchmarks/results/shared_weights.md]

The task: does "abc" occur anywhere in a string of 20 letters out of five? Half of the strings have it, at a place that
is drawn anew. Both networks read the letters one by one and class the last output: a GRU, and the same GRU with weights
of its own at each of the 20 steps, the state going from one to the next. Both have 32 hidden units, the same examples,
the same number of updates (Adam, batches of 50, clipped at 1) and the better of three rates for each number of
examples, by accuracy on validation strings (a fifth as many as there are to train by, at least 100) on seed 0. Of each
run the state with the best validation accuracy, looked at every 50 updates, is asked about 4,000 other strings.
"""

from __future__ import annotations

import argparse
import copy
import random
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recurra as rc
from recurra.core import Cell
from recurra.layers import cell_factory

LENGTH, LETTERS, SIZE, BATCH = 20, 5, 32, 50
EXAMPLES = (100, 1_000, 10_000)
RATES = (1e-3, 3e-3, 1e-2)


class Shared(nn.Module):
    """One cell at all steps."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.layer = rc.Recurrent(cell, LETTERS, SIZE, batch_first=True)
        self.readout = nn.Linear(SIZE, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.layer(x)[0][:, -1])


class Unshared(nn.Module):
    """A cell for each step."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        make = cell_factory(cell)
        self.cells = nn.ModuleList(make(LETTERS, SIZE) for _ in range(LENGTH))
        self.readout = nn.Linear(SIZE, 2)

    def forward(self, x: Tensor) -> Tensor:
        state, y = None, None
        for cell, now in zip(self.cells, x.unbind(1), strict=True):
            assert isinstance(cell, Cell)
            y, state = cell(now, state)
        return self.readout(y)


def strings(many: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return one-hot strings `(many, LENGTH, LETTERS)` and whether each has "abc", half of them."""
    rng = random.Random(seed)
    rows: list[list[int]] = []
    for k in range(many):
        while True:
            row = [rng.randrange(LETTERS) for _ in range(LENGTH)]
            if k % 2:
                at = rng.randrange(LENGTH - 2)
                row[at : at + 3] = [0, 1, 2]
            if bool(k % 2) == any(row[j : j + 3] == [0, 1, 2] for j in range(LENGTH - 2)):
                break
        rows.append(row)
    return F.one_hot(torch.tensor(rows), LETTERS).float(), torch.arange(many) % 2


@torch.no_grad()
def accuracy(net: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """Return the share that is right."""
    return float((net(data[0]).argmax(1) == data[1]).float().mean())


def train(
    kind: type[nn.Module], cell: str, examples: int, seed: int, rate: float, steps: int
) -> tuple[float, nn.Module]:
    """Return the best validation accuracy and the network that had it."""
    torch.manual_seed(seed)
    net = kind(cell)
    x, target = strings(examples, 100 + seed)
    validation = strings(max(100, examples // 5), 200 + seed)
    optimizer = torch.optim.Adam(net.parameters(), rate)
    best, kept = -1.0, net
    for k in range(steps):
        rows = torch.randint(examples, (BATCH,))
        loss = F.cross_entropy(net(x[rows]), target[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if (k + 1) % 50 == 0:
            found = accuracy(net, validation)
            if found > best:
                best, kept = found, copy.deepcopy(net)
    return best, kept


def main() -> None:
    """Tune, measure every seed, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cell", default="gru")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "shared_weights.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    asked = strings(4_000, 1)
    rows: list[str] = []
    for name, kind in (("shared by all steps", Shared), ("of each step its own", Unshared)):
        cells: list[str] = []
        start = time.perf_counter()
        for examples in EXAMPLES:
            tried = {rate: train(kind, options.cell, examples, 0, rate, options.steps) for rate in RATES}
            rate = max(tried, key=lambda r: tried[r][0])
            nets = [tried[rate][1]]
            nets += [train(kind, options.cell, examples, s, rate, options.steps)[1] for s in range(1, options.seeds)]
            found = [100 * accuracy(net, asked) for net in nets]
            cells.append(f"{statistics.mean(found):.1f} ({', '.join(f'{v:.1f}' for v in found)}); {rate:g}")
            print(name, examples, cells[-1], f"{time.perf_counter() - start:.0f} s", flush=True)
        size = sum(p.numel() for p in kind(options.cell).parameters())
        rows.append(f"| {name} | {size:,} | {' | '.join(cells)} |")
    lines = [
        "# Shared and unshared weights",
        "",
        f'Made by `benchmarks/shared_weights.py --steps {options.steps} --seeds {options.seeds}`: is there an "abc" in',
        f"a string of {LENGTH} letters? Per cent right of 4,000 unseen strings by the number of examples: the mean,",
        "every seed, and the rate that was best on seed 0; guessing gives 50.",
        "",
        f"| weights of the {options.cell} | parameters | {' | '.join(f'{n:,} examples' for n in EXAMPLES)} |",
        "|---|---|---|---|---|",
        *rows,
    ]
    print("\n".join(lines))
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
