"""Which numbers of a state hear which others, and which parameters, within one step: found by trying."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Sparsity", "colours", "derivatives", "probe"]

_CHUNK = 1 << 24  # entries of Jacobians that are looked at together


@dataclass(frozen=True)
class Sparsity:
    """The structure of one step.

    heard: `(n, n)` bool, number i of the new state depends on number j of the old one. sets: `(U, n)` bool, sets of
    numbers that some parameter reaches directly, all different. member: `(p,)` int64, for each entry of the parameters
    the set that it reaches, -1 for none.
    """

    heard: Tensor
    sets: Tensor
    member: Tensor

    @classmethod
    def of_matrix(cls, jacobian: Tensor) -> Sparsity:
        """Return the structure of a matrix `(n, p)`: what a first state hears of the parameters."""
        n = jacobian.shape[0]
        sets, member = (jacobian != 0).T.unique(dim=0, return_inverse=True)
        return _compact(torch.zeros(n, n, dtype=torch.bool, device=jacobian.device), sets, member)

    @property
    def closure(self) -> Tensor:
        """`(n, n)` bool: number i can come to depend on number j, in any number of steps, none included."""
        found = (self.heard | torch.eye(len(self.heard), dtype=torch.bool, device=self.heard.device)).float()
        while True:
            more = (found @ found > 0).float()
            if torch.equal(more, found):
                return found > 0
            found = more

    def joined(self, other: Sparsity) -> Sparsity:
        """Return the structure of what depends in either."""
        first, second, member = self._beside(other)
        return _compact(self.heard | other.heard, first | second, member)

    def holds(self, other: Sparsity) -> bool:
        """Return whether everything in `other` is in this one."""
        first, second, _ = self._beside(other)
        return not bool((other.heard & ~self.heard).any()) and not bool((second & ~first).any())

    def _beside(self, other: Sparsity) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pairs of sets that some entry has, `(V, n)` each, and each entry's pair."""
        count = len(other.sets) + 1
        pairs, member = ((self.member + 1) * count + other.member + 1).unique(return_inverse=True)
        ours, theirs = (torch.cat([s.sets.new_zeros(1, s.sets.shape[1]), s.sets]) for s in (self, other))
        return ours[pairs // count], theirs[pairs % count], member


def probe(after: Tensor, before: Tensor, weights: Mapping[str, Tensor]) -> Sparsity:
    """Find the structure at some rows: an entry counts where its derivative is not zero in one of them.

    after: `(R, n)`, with its graph; before: `(R, n)`; weights: name -> `(R, *shape)`, one copy a row. Zeros by accident
    look like zeros of the structure, so whoever uses this must check the Jacobians that it makes.
    """
    rows, n = after.shape
    heard = torch.zeros(n, n, dtype=torch.bool, device=after.device)
    for i, g in _rows_of(after, [before], rows * n):
        heard[i] = (g != 0).any(1)
    if not weights:
        return Sparsity(heard, heard.new_zeros(0, n), torch.zeros(0, dtype=torch.int64, device=after.device))
    leaves = list(weights.values())
    size = sum(v[0].numel() for v in leaves)
    signature = torch.zeros(size, dtype=torch.int64, device=after.device)
    numbers = _signatures(n, after.device)
    for i, g in _rows_of(after, leaves, rows * size):
        signature += ((g != 0).any(1) * numbers[i, None]).sum(0)
    labels, member = signature.unique(return_inverse=True)
    first = torch.full((len(labels),), size, device=after.device).scatter_reduce(
        0, member, torch.arange(size, device=after.device), "amin"
    )
    sets = torch.zeros(len(labels), n, dtype=torch.bool, device=after.device)
    for i, g in _rows_of(after, leaves, rows * size):
        sets[:, i] = (g[:, :, first] != 0).any(1).T
    return _compact(heard, sets, member)


def colours(together: Tensor) -> Tensor:
    """Give every number `(n,)` a colour such that no two of one colour are in the same group.

    together: `(G, n)` bool, the groups. One product with the ones of a colour then gives all their rows at once:
    Curtis, Powell and Reid, "On the estimation of sparse Jacobian matrices" (1974).
    """
    meets = together.float().T @ together.float() > 0
    n = meets.shape[0]
    if bool(meets.all()):
        return torch.arange(n, device=together.device)
    table = meets.tolist()
    given: list[int] = []
    for i in range(n):
        taken = {given[j] for j in range(i) if table[i][j]}
        given.append(next(c for c in range(n) if c not in taken))
    return torch.tensor(given, device=together.device)


def derivatives(value: Tensor, inputs: Sequence[Tensor], seeds: Tensor | None = None) -> list[Tensor]:
    """Return the derivatives of `value`, zeros where it does not depend on an input; the graph is kept.

    seeds: `(K, *value.shape)`, K cotangents, for results `(K, *input.shape)`; None for a single number's gradient.
    """
    leading = () if seeds is None else (len(seeds),)
    if not value.requires_grad:
        return [v.new_zeros(*leading, *v.shape) for v in inputs]
    if seeds is not None and len(seeds) == 1:  # a single one needs no vmap
        plain: Any = torch.autograd.grad(value, list(inputs), seeds[0], retain_graph=True, allow_unused=True)
        return [v.new_zeros(1, *v.shape) if g is None else g[None] for v, g in zip(inputs, plain, strict=True)]
    found: Any = torch.autograd.grad(
        value, list(inputs), seeds, retain_graph=True, is_grads_batched=seeds is not None, allow_unused=True
    )
    # materialize_grads knows nothing of the batch of seeds.
    return [v.new_zeros(*leading, *v.shape) if g is None else g for v, g in zip(inputs, found, strict=True)]


def _rows_of(after: Tensor, inputs: list[Tensor], entries: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield the Jacobian of some numbers by the inputs `(k, R, size)`, a few numbers at a time."""
    rows, n = after.shape
    step = max(1, min(n, _CHUNK // max(entries, 1)))
    for start in range(0, n, step):
        count = min(step, n - start)
        seeds = after.new_zeros(count, rows, n)
        seeds[torch.arange(count), :, torch.arange(start, start + count)] = 1
        found = derivatives(after, inputs, seeds)
        yield slice(start, start + count), torch.cat([g.reshape(count, rows, -1) for g in found], 2)


def _signatures(n: int, device: torch.device) -> Tensor:
    """Return n numbers whose sums tell sets of them apart (with a chance of error of about 2**-60)."""
    generator = torch.Generator().manual_seed(0x5E7)
    return torch.randint(-(2**62), 2**62, (n,), generator=generator).to(device)


def _compact(heard: Tensor, sets: Tensor, member: Tensor) -> Sparsity:
    """Return it with each set once, and none that is empty."""
    unique, place = sets.unique(dim=0, return_inverse=True)
    member = place[member] if len(member) else member
    filled = unique.any(1)
    number = torch.where(filled, filled.cumsum(0) - 1, -1)
    return Sparsity(heard, unique[filled], number[member] if len(member) else member)
