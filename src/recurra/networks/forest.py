"""Trees side by side, in the order in which a network goes through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError, ShapeError

__all__ = ["Forest"]


@dataclass(frozen=True, eq=False)
class Forest:
    """Any number of trees, their nodes numbered through: those of the first tree, those of the second, and so on.

    parents: `(nodes,)` int64, each node's parent, -1 at a root. tree: `(nodes,)`, which tree a node is of. roots,
    leaves: their nodes. levels: the nodes of each depth, the roots first; all children of a level are in the next one.
    children: for each level `(its nodes, N)`, where the children stand in the next level, in order, -1 where there is
    none. words: what was at the leaves of trees given as nested tuples, in the order of `leaves`.
    """

    parents: Tensor
    tree: Tensor
    roots: Tensor
    leaves: Tensor
    levels: tuple[Tensor, ...]
    children: tuple[Tensor, ...]
    words: tuple[Any, ...] = ()

    @classmethod
    def of(cls, trees: Sequence[Sequence[int]], words: Sequence[Any] = ()) -> Forest:
        """Return the forest of trees given by their parents: for each node the number, in its tree, of its parent, -1
        at the root. Children are in order of their numbers.

        Raises ArgumentError for what is no tree.
        """
        parents: list[int] = []
        tree: list[int] = []
        for k, own in enumerate(trees):
            first = len(parents)
            if sum(p == -1 for p in own) != 1 or not all(-1 <= p < len(own) for p in own):
                raise ArgumentError(
                    f"tree {k}: expected one root (-1), and parents from 0 to {len(own) - 1} for all other nodes, got "
                    f"{list(own)}"
                )
            parents += [p if p == -1 else first + p for p in own]
            tree += [k] * len(own)
        below: list[list[int]] = [[] for _ in parents]
        for node, parent in enumerate(parents):
            if parent >= 0:
                below[parent].append(node)
        levels = [[node for node, parent in enumerate(parents) if parent == -1]]
        while levels[-1]:
            levels.append([child for node in levels[-1] for child in below[node]])
        levels.pop()
        if sum(map(len, levels)) != len(parents):
            reached = {node for level in levels for node in level}
            lost = next(node for node in range(len(parents)) if node not in reached)
            raise ArgumentError(f"tree {tree[lost]}: expected every node below the root, but some are below themselves")
        return cls(
            torch.tensor(parents, dtype=torch.int64),
            torch.tensor(tree, dtype=torch.int64),
            torch.tensor(levels[0] if levels else [], dtype=torch.int64),
            torch.tensor([n for n, c in enumerate(below) if not c], dtype=torch.int64),
            tuple(torch.tensor(level, dtype=torch.int64) for level in levels),
            tuple(_children(level, below) for level in levels),
            tuple(words),
        )

    @classmethod
    def nested(cls, trees: Sequence[Any]) -> Forest:
        """Return the forest of trees given as nested tuples: `("a", ("red", "bike"))`; what is no tuple is a leaf.

        Children are numbered before their parents, so that the root is a tree's last node.
        """
        words: list[Any] = []
        made = [_parents(tree, words) for tree in trees]
        return cls.of(made, words)

    def __len__(self) -> int:
        return len(self.parents)

    def to(self, device: torch.device | str) -> Forest:
        """Return the forest on a device."""
        return Forest(
            self.parents.to(device),
            self.tree.to(device),
            self.roots.to(device),
            self.leaves.to(device),
            tuple(level.to(device) for level in self.levels),
            tuple(below.to(device) for below in self.children),
            self.words,
        )

    def at_leaves(self, vectors: Tensor) -> Tensor:
        """Return inputs `(nodes, ...)` of vectors `(leaves, ...)`: zeros at inner nodes. Raises ShapeError."""
        if vectors.shape[0] != len(self.leaves):
            raise ShapeError(f"expected a vector for each of {len(self.leaves)} leaves, got {vectors.shape[0]}")
        return vectors.new_zeros(len(self), *vectors.shape[1:]).index_copy(0, self.leaves, vectors)


def _children(level: Sequence[int], below: Sequence[Sequence[int]]) -> Tensor:
    """Return the places in the next level, where the children of a level's nodes stand one after the other."""
    most = max(len(below[node]) for node in level)
    rows: list[list[int]] = []
    first = 0
    for node in level:
        many = len(below[node])
        rows.append([*range(first, first + many), *[-1] * (most - many)])
        first += many
    return torch.tensor(rows, dtype=torch.int64).reshape(len(level), most)


def _parents(tree: Any, words: list[Any]) -> list[int]:
    """Return the parents of a nested tree's nodes, children first, and put what is at its leaves into `words`."""
    parents: list[int] = []

    def place(node: Any) -> int:
        below = [place(child) for child in node] if isinstance(node, tuple) else []
        if not below:
            words.append(None if isinstance(node, tuple) else node)
        parents.append(-1)
        for child in below:
            parents[child] = len(parents) - 1
        return len(parents) - 1

    place(tree)
    return parents
