"""The influence of every parameter on the state, dh_t/dθ, kept where it can be other than zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recurra.learning.sparsity import Sparsity, colours

__all__ = ["Influence", "Jacobians", "Layout"]


@dataclass(frozen=True)
class _Class:
    """Units alike: each has parameters that reach the same numbers of the state.

    kept: `(U, r)` or `(1, r)` where all units share them, the numbers whose influence is kept; now: `(U, d)`, those
    reached within one step, and at: `(U, d)`, where they stand in `kept`; columns: `(U, c)`, entries of the parameters.
    """

    kept: Tensor
    now: Tensor
    at: Tensor
    columns: Tensor


@dataclass(frozen=True)
class Jacobians:
    """The derivatives of one step for R rows, packed: a line of `state` and `weights` stands for all numbers of one
    colour. state: `(K, R, n)`, by the old state; weights: `(K', R, p)`, by the parameters; frozen: `(R,)` bool, rows
    that keep their state in this step, or None."""

    state: Tensor
    weights: Tensor
    frozen: Tensor | None = None


class Layout:
    """How influence is kept for a step of this structure.

    spread: whether influence is followed wherever it spreads (exact), or is kept only where a parameter reaches within
    one step (SnAp-1).
    """

    def __init__(self, sparsity: Sparsity, spread: bool) -> None:
        self.sparsity = sparsity
        sets = sparsity.sets
        reached = (sets.float() @ sparsity.closure.float().T > 0) if spread else sets
        self.state_colours = colours(sparsity.heard.T)
        self.weight_colours = colours(sets)
        self.classes = _classes(sparsity, reached)
        self._heard_at = _places(sparsity.heard.T, self.state_colours)
        self._reached_at = _places(sets, self.weight_colours)
        self._member = torch.where(sparsity.member < 0, len(sets), sparsity.member)

    @property
    def entries(self) -> int:
        """Numbers of the influence of one row."""
        return sum(c.columns.numel() * c.kept.shape[1] for c in self.classes)

    def seeds(self, by_state: bool, rows: int, like: Tensor) -> Tensor:
        """Return the cotangents `(K, rows, n)` whose products are the lines of `Jacobians`."""
        given = self.state_colours if by_state else self.weight_colours
        count = int(given.max()) + 1 if len(given) else 0
        seeds = torch.zeros(count, len(given), dtype=like.dtype, device=like.device)
        seeds[given, torch.arange(len(given), device=given.device)] = 1
        return seeds.unsqueeze(1).expand(-1, rows, -1)

    def against(self, jacobians: Jacobians, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `w` `(R, n)` times the Jacobians is by this structure: `(R, n)` and `(R, p)`."""
        padded = torch.cat([w, w.new_zeros(len(w), 1)], 1)
        by_state = torch.einsum("rkj,krj->rj", padded[:, self._heard_at[:, :-1]], jacobians.state)
        by_weights = jacobians.weights.new_zeros(()).expand(jacobians.weights.shape[1:])
        for places, line in zip(self._reached_at, jacobians.weights, strict=True):
            more = padded[:, places].index_select(1, self._member).mul_(line)
            by_weights = by_weights + more if len(self._reached_at) > 1 else more
        return by_state, by_weights

    def immediate(self, c: _Class, jacobians: Jacobians) -> Tensor:
        """Return the derivative of one step by a class's parameters, `(U, c, d, R)`: as the products need it."""
        return jacobians.weights[self.weight_colours[c.now][:, None, :], :, c.columns[:, :, None]]

    def transition(self, c: _Class, jacobians: Jacobians) -> Tensor:
        """Return the derivative of a class's numbers by themselves, `(R, U or 1, r, r)`."""
        rows, columns = c.kept[:, :, None], c.kept[:, None, :]
        packed = jacobians.state[self.state_colours[rows], :, columns].permute(3, 0, 1, 2)
        move = packed * self.sparsity.heard[rows, columns]
        if jacobians.frozen is None:
            return move
        return torch.where(jacobians.frozen[:, None, None, None], torch.eye(c.kept.shape[1]).to(move), move)


class Influence:
    """dh_t/dθ for B rows, in the blocks of a layout. Each block is `(B, U, r, c)`."""

    def __init__(self, layout: Layout, blocks: Sequence[Tensor]) -> None:
        self.layout = layout
        self.blocks = list(blocks)

    @classmethod
    def zeros(cls, layout: Layout, batch: int, like: Tensor) -> Influence:
        """Return the influence before the first step, on a state that depends on no parameter."""
        return cls(
            layout,
            [
                torch.zeros(batch, len(c.columns), c.kept.shape[1], c.columns.shape[1], dtype=like.dtype,
                            device=like.device)
                for c in layout.classes
            ],
        )  # fmt: skip

    @classmethod
    def of(cls, layout: Layout, dense: Tensor) -> Influence:
        """Take a whole matrix `(B, n, p)` apart."""
        blocks = [dense[:, c.kept[:, :, None], c.columns[:, None, :]] for c in layout.classes]
        return cls(layout, blocks)

    def dense(self) -> Tensor:
        """Return the whole matrix `(B, n, p)`: for looking at, and where the structure changes."""
        batch, n = self.blocks[0].shape[0] if self.blocks else 1, len(self.layout.sparsity.heard)
        like = self.blocks[0] if self.blocks else torch.zeros(1)
        whole = like.new_zeros(batch, n, len(self.layout.sparsity.member))
        for c, block in zip(self.layout.classes, self.blocks, strict=True):
            whole[:, c.kept[:, :, None], c.columns[:, None, :]] = block
        return whole

    def moved(self, layout: Layout) -> Influence:
        """Return the same influence in a layout that keeps more."""
        new = Influence.zeros(layout, self.blocks[0].shape[0], self.blocks[0]) if self.blocks else None
        if new is None:
            return Influence.zeros(layout, 1, torch.zeros(1))
        p, n = len(layout.sparsity.member), len(layout.sparsity.heard)
        device = layout.sparsity.member.device
        for c, target in zip(layout.classes, new.blocks, strict=True):
            unit = torch.full((p,), -1, device=device)
            slot = torch.zeros(p, dtype=torch.int64, device=device)
            unit[c.columns] = torch.arange(len(c.columns), device=device)[:, None]
            slot[c.columns] = torch.arange(c.columns.shape[1], device=device)
            place = torch.zeros(len(c.kept), n, dtype=torch.int64, device=device)
            place.scatter_(1, c.kept, torch.arange(c.kept.shape[1], device=device).expand_as(c.kept))
            for old, source in zip(self.layout.classes, self.blocks, strict=True):
                mine = unit[old.columns] >= 0
                u, q = mine.nonzero(as_tuple=True)
                if not len(u):
                    continue
                columns = old.columns[u, q]
                kept = old.kept.expand(len(old.columns), -1)[u]
                to = unit[columns]
                at = place.expand(len(c.columns), -1)[to[:, None], kept]
                target[:, to[:, None], at, slot[columns][:, None]] = source[:, u, :, q].transpose(0, 1)
        return new

    def pulled(self, pulls: Tensor) -> Tensor:
        """Return `pulls` `(O, B, n)` times the influence, `(O, B, p)`."""
        result = pulls.new_zeros(*pulls.shape[:2], len(self.layout.sparsity.member))
        for c, block in zip(self.layout.classes, self.blocks, strict=True):
            own = pulls[:, :, c.kept].expand(-1, -1, len(c.columns), -1)
            result[:, :, c.columns] = (own.unsqueeze(3) @ block).squeeze(3)
        return result

    def advance(self, steps: Jacobians, pulls: Tensor) -> tuple[Influence, Tensor]:
        """Go through T steps at once; return the influence after them, and Σ_t pull_t · (influence before step t).

        steps: of T * B rows, step after step; pulls: `(T, B, n)`, the derivative of a step's loss by the state before
        it; the sum is `(p,)`, over all rows. The products with the whole influence are put off to the end, where one
        takes the place of T: the sum is the same, its terms are only taken together in another order.
        """
        layout, sizes = self.layout, pulls.shape[:2]
        gradient = pulls.new_zeros(len(layout.sparsity.member))
        blocks: list[Tensor] = []
        for c, block in zip(layout.classes, self.blocks, strict=True):
            moves = layout.transition(c, steps).unflatten(0, sizes)
            new = layout.immediate(c, steps).unflatten(3, sizes)
            gradient[c.columns] += _pulled(c, block, moves, new, pulls[:, :, c.kept])
            blocks.append(_carried_on(c, block, moves, new))
        return Influence(layout, blocks), gradient


def _places(groups: Tensor, colours: Tensor) -> Tensor:
    """Return which number of each group `(G, n)` has each colour, n for none: `(K, G + 1)`, the last group empty."""
    count, n = int(colours.max()) + 1 if groups.numel() else 0, groups.shape[1]
    places = torch.full((count, len(groups) + 1), n, device=groups.device)
    group, number = groups.nonzero(as_tuple=True)
    places[colours[number], group] = number
    return places


def _pulled(c: _Class, block: Tensor, moves: Tensor, new: Tensor, pulls: Tensor) -> Tensor:
    """Return Σ_t pull_t · (influence before step t) `(U, c)`, going backwards. moves: `(T, B, U, r, r)`; new:
    `(U, c, d, T, B)`; pulls: `(T, B, U, r)`; U may be 1 in moves and pulls."""
    units = len(c.columns)
    if len(pulls) == 1:
        return _heard(pulls[0].expand(-1, units, -1), block)
    pull = torch.zeros_like(pulls[0])
    late: list[Tensor] = []
    alone = moves.shape[-1] == 1
    for now, move in zip(reversed(pulls.unbind()), reversed(moves.unbind()), strict=True):
        late.append(pull)
        pull = torch.addcmul(now, pull, move[..., 0]) if alone else now + (pull.unsqueeze(-2) @ move).squeeze(-2)
    late.reverse()
    index = c.at.expand(*pulls.shape[:2], -1, -1)
    reached = torch.stack(late).expand(-1, -1, units, -1).gather(3, index).permute(2, 3, 0, 1)
    steps = new.flatten(2) @ reached.reshape(units, -1, 1)
    return steps.squeeze(2) + _heard(pull.expand(-1, units, -1), block)


def _heard(pull: Tensor, block: Tensor) -> Tensor:
    """Return the sum over rows and numbers `(U, c)` of `(B, U, r)` times `(B, U, r, c)`."""
    return (pull.unsqueeze(2) @ block).squeeze(2).sum(0)


def _carried_on(c: _Class, block: Tensor, moves: Tensor, new: Tensor) -> Tensor:
    """Return D_T ... D_1 block + Σ_t D_T ... D_{t+1} new_t."""
    units, batch = len(c.columns), block.shape[0]
    if len(moves) == 1:
        more = new.squeeze(3).permute(3, 0, 2, 1)
        return (moves[0] @ block).scatter_add_(2, c.at[None, :, :, None].expand_as(more), more)
    ahead, product = _products(moves)
    index = c.at[None, None, :, None, :].expand(*moves.shape[:2], -1, moves.shape[-1], -1)
    chosen = ahead.expand(-1, -1, units, -1, -1).gather(4, index).permute(1, 2, 3, 4, 0).flatten(3)
    added = chosen @ new.permute(4, 0, 2, 3, 1).flatten(2, 3)
    if product.shape[1] == 1 < units:  # one large product in place of many
        kept, columns = block.shape[2:]
        wide = block.transpose(1, 2).reshape(batch, kept, units * columns)
        return added + (product[:, 0] @ wide).view(batch, kept, units, columns).transpose(1, 2)
    return added + product @ block


def _products(moves: Tensor) -> tuple[Tensor, Tensor]:
    """Return, for each step, the product D_T ... D_{t+1} of those after it, and that of all."""
    if moves.shape[-1] == 1:
        ahead = torch.cat([torch.ones_like(moves[:1]), moves[1:].flip(0)]).cumprod(0).flip(0)
        return ahead, ahead[0] * moves[0]
    product = torch.eye(moves.shape[-1]).to(moves).expand(moves.shape[1:])
    found: list[Tensor] = []
    for move in reversed(moves.unbind()):
        found.append(product)
        product = product @ move
    return torch.stack(found[::-1]), product


def _classes(sparsity: Sparsity, reached: Tensor) -> list[_Class]:
    """Put the sets in classes of equal sizes; entries without influence are in none."""
    device = sparsity.member.device
    order = sparsity.member.argsort(stable=True)
    counts = torch.bincount(sparsity.member[sparsity.member >= 0], minlength=len(sparsity.sets))
    columns = order[int((sparsity.member < 0).sum()) :].split(counts.tolist())
    sizes = zip(reached.sum(1).tolist(), sparsity.sets.sum(1).tolist(), counts.tolist(), strict=True)
    alike: dict[tuple[int, int, int], list[int]] = {}
    for unit, key in enumerate(sizes):
        if key[2]:
            alike.setdefault(key, []).append(unit)
    made: list[_Class] = []
    for (r, d, _), units in alike.items():
        index = torch.tensor(units, device=device)
        kept = reached[index].nonzero()[:, 1].view(len(units), r)
        now = sparsity.sets[index].nonzero()[:, 1].view(len(units), d)
        at = torch.searchsorted(kept, now)
        shared = bool((kept == kept[:1]).all())
        made.append(_Class(kept[:1] if shared else kept, now, at, torch.stack([columns[u] for u in units])))
    return made
