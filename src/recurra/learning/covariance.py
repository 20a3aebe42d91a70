"""The covariance of parameters, whole or in groups that are taken to be independent of one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Covariance", "Grouping", "group_columns"]

Grouping = Literal["global", "layer", "node"]
"""One group; one for each module that holds parameters; one for each row (unit) of such a module's parameters."""


def group_columns(parameters: Mapping[str, Tensor], grouping: Grouping) -> list[Tensor]:
    """Return which entries of all parameters, one after the other, belong together: `(G, c)` for groups of c entries.

    A node's group has row i of every parameter of its module that has as many rows: in one of an Elman cell's, the
    weights and biases of unit i; in one of an LSTM's, those of one gate of a unit.
    """
    groups: dict[tuple[object, ...], list[Tensor]] = {}
    start = 0
    for name, p in parameters.items():
        index = torch.arange(start, start + p.numel(), device=p.device)
        start += p.numel()
        owner = name.rpartition(".")[0]
        if grouping == "node" and p.dim():
            for row, entries in enumerate(index.view(p.shape[0], -1)):
                groups.setdefault((owner, p.shape[0], row), []).append(entries)
        else:
            groups.setdefault((owner,) if grouping != "global" else (), []).append(index)
    alike: dict[int, list[Tensor]] = {}
    for parts in groups.values():
        whole = torch.cat(parts)
        alike.setdefault(len(whole), []).append(whole)
    return [torch.stack(members) for members in alike.values()]


class Covariance:
    """P, in blocks `(G, c, c)`, float64.

    Measured with H `(m, p)` and noise R, each group by itself but for the common innovation:

        S = R + Σ_i H_i P_i H_iᵀ,    K_i = P_i H_iᵀ S⁻¹
        P_i = (I - K_i H_i) P_i (I - K_i H_i)ᵀ + K_i (S - H_i P_i H_iᵀ) K_iᵀ + Q

    the last of these being Joseph's form, a sum of squares, which rounding cannot make indefinite.
    """

    def __init__(self, columns: Sequence[Tensor], blocks: Sequence[Tensor]) -> None:
        self.columns = list(columns)
        self.blocks = list(blocks)

    @classmethod
    def initial(cls, columns: Sequence[Tensor], variance: float) -> Covariance:
        """Return `variance * I`."""
        blocks = [
            variance * torch.eye(c.shape[1], dtype=torch.float64, device=c.device).repeat(len(c), 1, 1) for c in columns
        ]
        return cls(columns, blocks)

    def measure(self, h: Tensor, noise: Tensor, innovation: Tensor, process: float) -> Tensor:
        """Take in a measurement and return how the parameters change, `(p,)`.

        h: `(m, p)`; noise: `(m, m)`; innovation: `(m,)`, what was measured less what was expected; process: the
        variance that every parameter gains.
        """
        own = [h[:, c].transpose(0, 1) for c in self.columns]  # (G, m, c)
        spread = [block @ g.transpose(1, 2) for block, g in zip(self.blocks, own, strict=True)]  # P Hᵀ (G, c, m)
        each = [g @ s for g, s in zip(own, spread, strict=True)]  # H P Hᵀ (G, m, m)
        total = noise
        for e in each:
            total = total + e.sum(0)
        # Joseph's form bears a gain that is only nearly the best one, so the inverse serves.
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(total))
        change = torch.zeros(h.shape[1], dtype=h.dtype, device=h.device)
        for k, (columns, g, s, e) in enumerate(zip(self.columns, own, spread, each, strict=True)):
            gain = s @ inverse
            change[columns] = gain @ innovation
            # (I - K H) P, and what Joseph's form adds: K (S - H P Hᵀ) - (I - K H) P Hᵀ, times Kᵀ: rounding alone.
            rest = _plus_product(self.blocks[k], gain, -s)
            more = torch.baddbmm(gain @ (total - e), rest, g.transpose(1, 2), alpha=-1)
            block = _plus_product(rest, more, gain)
            block = (block + block.transpose(1, 2)).mul_(0.5)
            if process:
                block.diagonal(dim1=1, dim2=2).add_(process)
            self.blocks[k] = block
        return change


def _plus_product(block: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return `block + a bᵀ` for `(G, c, m)`; for a single output without a product of matrices, thrice as fast."""
    if a.shape[2] == 1:
        return torch.addcmul(block, a, b.transpose(1, 2))
    return torch.baddbmm(block, a, b.transpose(1, 2))
