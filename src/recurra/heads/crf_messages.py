"""The sums of a linear-chain CRF: its log partition function, and its gradient, the marginals, by messages.

Forward:   a_t = (a_{t-1} E) e_t,        a_1 = exp(start) e_1       E = exp(between),  e_t = exp(emissions_t)
Backward:  g_t = (g_{t+1} E') e_t,       g_n = exp(end) e_n
log Z = log(a_n exp(end));   p(y_t) ~ a_t (E g_{t+1});   p(y_t, y_{t+1}) ~ a_t E g_{t+1};   p(y_t | y_{t+1}) ~ a_t E

The two recursions have one form, so they run as one: each row's backward message reads the row turned around, and a
step is one product of a `(2, B, K)` by a `(2, K, K)` tensor, scaled to sum 1. All is in double precision; where
scores lie so far apart that even that could lose a sequence, the same recursions run in logarithms. On the CPU native
code does what is scaled (`crf_native`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.heads.crf_native import NativeSums, available

__all__ = ["Chain", "along", "log_partition", "posterior"]

_RANGE = 500.0
"""Nats between the weights of one step that double precision can hold, with room to spare."""


class Chain(NamedTuple):
    """The scores of a chain: start `(K,)`, between `(K, K)` from row to column, end `(K,)`; -inf is impossible.

    reach: in how many steps every tag can follow every other; 0 where that is never so. In as many steps a message
    forgets which tags were impossible, which bounds how small its entries become.
    """

    start: Tensor
    between: Tensor
    end: Tensor
    reach: int


def log_partition(emissions: Tensor, chain: Chain, lengths: Tensor) -> Tensor:
    """Return log Z `(B,)`, differentiable once; 0 for a row without steps. emissions: `(B, T, K)`; lengths: `(B,)`.

    What lies beyond a row's length has no influence and gets no gradient. -inf where no sequence is possible.
    """
    return _LogPartition.apply(emissions, chain.start, chain.between, chain.end, lengths, chain.reach)  # pyright: ignore[reportReturnType]


@torch.no_grad()
def posterior(emissions: Tensor, chain: Chain, lengths: Tensor) -> Tensor:
    """Return p(y_t = k | row) `(B, T, K)`; zero beyond a row's length."""
    return _posterior(_sums(emissions, chain, lengths, both=True), emissions)


@torch.no_grad()
def along(emissions: Tensor, chain: Chain, lengths: Tensor, tags: Tensor) -> tuple[Tensor, Tensor]:
    """Return p(y_t = tags_t) `(B, T)` and p(y_t = tags_t | y_{t+1} = tags_{t+1}) `(B, T - 1)`; zero beyond a row.

    The probability of a piece of `tags` is that of its last one times the second of all before it: the past matters
    through the tag beside alone. Both directions go over the rows once, however many pieces are asked for. tags: `(B,
    T)` int64.
    """
    if emissions.shape[1] < 2:
        own = posterior(emissions, chain, lengths).gather(2, tags.unsqueeze(2)).squeeze(2)
        return own, own[:, 1:]
    sums = _sums(emissions, chain, lengths, both=True)
    own = _posterior(sums, emissions).gather(2, tags.unsqueeze(2)).squeeze(2)
    ways = sums.before() + chain.between.double().T[tags[:, 1:]]
    chosen = ways.gather(2, tags[:, :-1].unsqueeze(2)).squeeze(2) - ways.logsumexp(2)
    inside = torch.arange(1, tags.shape[1], device=tags.device) < lengths[:, None]
    # No way leads to a tag that is impossible there: -inf - -inf.
    return own, torch.where(inside, chosen.nan_to_num(-torch.inf).exp(), 0).to(own.dtype)


class _LogPartition(torch.autograd.Function):
    """log Z, whose gradient was found on the way."""

    @staticmethod
    def forward(
        ctx: Any, emissions: Tensor, start: Tensor, between: Tensor, end: Tensor, lengths: Tensor, reach: int
    ) -> Tensor:
        sums = _sums(emissions, Chain(start, between, end, reach), lengths, both=any(ctx.needs_input_grad))
        ctx.gradient, ctx.dtype = sums.gradient, emissions.dtype
        return sums.total.to(emissions.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] (what the decorator returns)
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        return *(gradient.to(ctx.dtype) for gradient in ctx.gradient(grads[0].double())), None, None


class _Sums(NamedTuple):
    """log Z `(B,)`; and, of sums of `both` directions, what else can be found out of them.

    gradient: that of sum_b upstream_b log Z_b by emissions, start, between and end; before: log a_t, up to a number
    for each step, `(B, T - 1, K)`.
    """

    total: Tensor
    gradient: Callable[[Tensor], tuple[Tensor, ...]]
    before: Callable[[], Tensor]


def _posterior(sums: _Sums, emissions: Tensor) -> Tensor:
    return sums.gradient(emissions.new_ones(len(emissions), dtype=torch.float64))[0].to(emissions.dtype)


def _sums(emissions: Tensor, chain: Chain, lengths: Tensor, *, both: bool) -> _Sums:
    batch, steps = emissions.shape[:2]
    if not batch or not steps:
        nothing = emissions.new_zeros(batch, dtype=torch.float64)
        still = (*(torch.zeros_like(part) for part in (emissions, chain.start, chain.between, chain.end)),)
        return _Sums(nothing, lambda _: still, lambda: still[0][:, :0])
    valid = torch.arange(steps, device=emissions.device) < lengths[:, None]
    chain = Chain(chain.start.double(), chain.between.double(), chain.end.double(), chain.reach)
    room = _room(chain)
    if room > 0 and available(emissions):
        sums = NativeSums(emissions.detach(), *chain[:3], lengths)
        if sums.spread <= room:
            return _Sums(sums.total, sums.gradient, sums.before)
    scores = torch.where(valid.unsqueeze(2), emissions, 0).double()
    # `not <=`, so that NaN and infinity do not fit.
    fits = bool((scores.amax(2) - scores.amin(2)).max() <= room)
    total, parts = (_scaled_sums if fits else _log_sums)(scores, chain, lengths, valid, both=both)
    return _Sums(
        total,
        lambda upstream: _gradient(upstream, lengths, *parts),
        lambda: parts[1].transpose(0, 1).log() if fits else parts[1][:, :-1],
    )


def _gradient(
    upstream: Tensor, lengths: Tensor, marginals: Tensor, left: Tensor, right: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    scaled = marginals * upstream[:, None, None]
    if weights.dim() == 2:
        rows = left * upstream[:, None]
        between = weights * (rows.flatten(0, 1).T @ right.flatten(0, 1))
    else:  # Found pair by pair already.
        between = torch.einsum("b,bij->ij", upstream, weights)
    ends = scaled[torch.arange(len(scaled), device=scaled.device), (lengths - 1).clamp(min=0)]
    return scaled, scaled[:, 0].sum(0), between, ends.sum(0)


def _room(chain: Chain) -> float:
    """Return how far apart the scores of a step may lie for no entry of a message to become too small beside its
    largest one; below 0: however near."""
    links = torch.cat([chain.start, chain.between.flatten(), chain.end])
    links = links[links > -torch.inf]
    if chain.reach < 1 or not len(links) or bool(links.abs().max() > _RANGE):
        return -1.0
    return _RANGE / (chain.reach + 1) - float(links.max() - links.min())


def _scaled_sums(
    scores: Tensor, chain: Chain, lengths: Tensor, valid: Tensor, *, both: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    # Step first, and in place wherever it can be: fresh memory costs more than the sums do.
    batch, steps, tags = scores.shape
    rows = torch.arange(batch, device=scores.device)
    last = (lengths - 1).clamp(min=0)
    top = scores.amax(2, keepdim=True)
    link_top = chain.between.max()
    links, end = (chain.between - link_top).exp(), chain.end.exp()
    messages = scores.new_empty(steps, 1 + both, batch, tags)
    torch.sub(scores.transpose(0, 1), top.transpose(0, 1), out=messages[:, 0]).exp_()
    turned = (last - torch.arange(steps, device=scores.device)[:, None]) % steps * batch + rows
    if both:
        messages[:, 1] = _chosen(messages[:, 0], turned)
    products = torch.stack([links, links.T] if both else [links])
    sums = _recursion(messages, products, torch.stack([chain.start.exp(), end] if both else [chain.start.exp()]))
    forward = messages[:, 0]
    logs = sums[:, 0, :, 0].log().T + top.squeeze(2)
    total = (logs * valid).sum(1) + (forward[last, rows] * end).sum(1).log() + link_top * last
    total = torch.where(lengths > 0, total, 0)
    if not both:
        return total, ()
    right = _chosen(messages[:, 1], turned)[1:]
    after = scores.new_zeros(steps, batch, tags)
    torch.matmul(right, links.T, out=after[:-1])
    after[last, rows] = end
    marginals = after.mul_(forward)
    whole = marginals.sum(2, keepdim=True)
    outside = ~valid.T.unsqueeze(2)
    marginals.div_(whole).masked_fill_(outside, 0)
    left = forward[:-1].div_(whole[:-1]).masked_fill_(outside[1:], 0)
    return total, (marginals.transpose(0, 1), left, right.masked_fill_(outside[1:], 0), links)


def _chosen(x: Tensor, at: Tensor) -> Tensor:
    """Return the vectors of x `(T, B, K)` that stand at some places `(T, B)`, counted over both dimensions."""
    return x.flatten(0, 1).index_select(0, at.flatten()).view(x.shape)


def _recursion(messages: Tensor, products: Tensor, firsts: Tensor) -> Tensor:
    """Turn the weights `(T, D, B, K)` into the messages, scaled to sum 1; return their sums before, `(T, D, B, 1)`."""
    sums = messages.new_empty(*messages.shape[:3], 1)
    messages[0] *= firsts.unsqueeze(1)
    product = torch.empty_like(messages[0])
    before: Tensor | None = None
    for message, total in zip(messages.unbind(), sums.unbind(), strict=True):
        if before is not None:
            message.mul_(torch.bmm(before, products, out=product))
        torch.sum(message, 2, keepdim=True, out=total)
        before = message.div_(total)
    return sums


def _log_sums(
    scores: Tensor, chain: Chain, lengths: Tensor, valid: Tensor, *, both: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The same in logarithms: slower, and right for scores of any size and for tags that a position forbids."""
    batch, steps, tags = scores.shape
    rows = torch.arange(batch, device=scores.device)
    last = (lengths - 1).clamp(min=0)
    forward = [chain.start + scores[:, 0]]
    for t in range(1, steps):
        forward.append((forward[-1].unsqueeze(2) + chain.between).logsumexp(1) + scores[:, t])
    ahead = torch.stack(forward, 1)
    total = torch.where(lengths > 0, (ahead[rows, last] + chain.end).logsumexp(1), 0)
    if not both:
        return total, ()
    # Rows where nothing is possible have no marginals: zeros, not NaN.
    scale = torch.where(total > -torch.inf, total, 0)
    after = chain.end.expand(batch, tags)
    behind, pairs = [after], scores.new_zeros(batch, tags, tags)
    for t in range(steps - 1, 0, -1):
        received = scores[:, t] + after
        joint = ahead[:, t - 1].unsqueeze(2) + chain.between + received.unsqueeze(1)
        pairs += torch.where(valid[:, t, None, None], (joint - scale[:, None, None]).exp(), 0)
        after = torch.where(valid[:, t, None], (chain.between + received.unsqueeze(1)).logsumexp(2), after)
        behind.append(after)
    marginals = (ahead + torch.stack(behind[::-1], 1) - scale[:, None, None]).exp()
    marginals = torch.where(valid.unsqueeze(2), marginals, 0)
    return total, (marginals, ahead, scores, pairs)
