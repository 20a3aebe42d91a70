"""The best sequences of a linear-chain CRF: Viterbi's algorithm over a batch, for the best sequence or the n best."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.heads import crf_native
from recurra.heads.crf_messages import Chain
from recurra.heads.crf_native import available

__all__ = ["best_sequence", "best_sequences"]


@torch.no_grad()
def best_sequence(emissions: Tensor, chain: Chain, lengths: Tensor) -> Tensor:
    """Return the best sequence of each row `(B, T)` int64, 0 beyond its length (Viterbi 1967)."""
    batch, steps, tags = emissions.shape
    if not batch or not steps:
        return torch.zeros(batch, steps, dtype=torch.int64, device=emissions.device)
    if available(emissions) and chain.between.dtype == emissions.dtype:
        return crf_native.best_sequence(emissions, *chain[:3], lengths)
    going, weights = _without_padding(emissions, lengths)
    best = torch.empty_like(weights)
    torch.add(weights[0], chain.start, out=best[0])
    # Only the values go forward. Where a value came from is asked on the way back, of one tag a row instead of all.
    sums = weights.new_empty(tags, batch, tags)
    for before, now, weight in zip(best[:-1].unbind(), best[1:].unbind(), weights[1:].unbind(), strict=True):
        torch.add(before.T.unsqueeze(2), chain.between.unsqueeze(1), out=sums)
        torch.amax(sums, 0, out=now)
        now += weight
    last = (lengths - 1).clamp(min=0)
    end = (best[last, torch.arange(batch, device=last.device)] + chain.end).argmax(1)
    into, path = chain.between.T.contiguous(), [end]
    for t in range(steps - 2, -1, -1):
        path.append(torch.where(last > t, (best[t] + into[path[-1]]).argmax(1), end))
    return torch.stack(path[::-1], 1).masked_fill(~going, 0)


@torch.no_grad()
def best_sequences(emissions: Tensor, chain: Chain, lengths: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the n best sequences `(B, n, T)` int64, best first, 0 beyond a row's length, and their scores `(B, n)`.

    Where fewer than n sequences are possible, the score of the missing ones is -inf. A row without steps has one
    sequence, the empty one, of score 0. Each of K tags keeps its n best ways, so a step looks at n K^2 sums.
    """
    batch, steps, tags = emissions.shape
    if not batch or not steps:
        scores = emissions.new_full((batch, n), -torch.inf)
        scores[:, :1] = 0
        return torch.zeros(batch, n, steps, dtype=torch.int64, device=emissions.device), scores
    going, weights = _without_padding(emissions, lengths)
    best = emissions.new_full((batch, tags, n), -torch.inf)
    best[:, :, 0] = chain.start + weights[0]
    into = chain.between.T.unsqueeze(-1)  # (to, from, 1)
    # Beyond a row's end its ways stand still: each is its own predecessor.
    still = torch.arange(tags * n, device=emissions.device).view(1, tags, n)
    pointers: list[Tensor] = []
    ragged = not bool(going.all())
    for t in range(1, steps):
        sums = (best.unsqueeze(1) + into).flatten(2)
        found, pointer = _largest(sums, n)
        found = found + weights[t].unsqueeze(2)
        if ragged:
            alive = going[:, t, None, None]
            found, pointer = torch.where(alive, found, best), torch.where(alive, pointer, still)
        best = found
        pointers.append(pointer.flatten(1))
    scores, at = _largest((best + chain.end.unsqueeze(1)).flatten(1), n)
    path = [at]
    for pointer in reversed(pointers):
        path.append(pointer.gather(1, path[-1]))
    sequences = torch.stack(path[::-1], 2) // n
    empty = scores.new_full((n,), -torch.inf)
    empty[0] = 0
    return sequences.masked_fill(~going.unsqueeze(1), 0), torch.where((lengths > 0)[:, None], scores, empty)


def _without_padding(emissions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return which steps are valid `(B, T)`, and the emissions by step `(T, B, K)`, zero elsewhere."""
    going = torch.arange(emissions.shape[1], device=emissions.device) < lengths[:, None]
    return going, torch.where(going.unsqueeze(2), emissions, 0).transpose(0, 1).contiguous()


def _largest(sums: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the n largest of the last dimension and where they stand; less than n are filled up by -inf."""
    kept = min(n, sums.shape[-1])
    value, place = sums.topk(kept, -1)
    if kept < n:
        value = torch.cat([value, value.new_full((*value.shape[:-1], n - kept), -torch.inf)], -1)
        place = torch.cat([place, place.new_zeros(*place.shape[:-1], n - kept)], -1)
    return value, place
