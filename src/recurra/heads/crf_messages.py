"""The sums of a linear-chain CRF: its log partition function, and its gradient, the marginals, by messages.

Forward:   a_t = (a_{t-1} E) e_t,        a_1 = exp(start) e_1       E = exp(between),  e_t = exp(emissions_t)
Backward:  g_t = (g_{t+1} E') e_t,       g_n = exp(end) e_n
log Z = log(a_n exp(end));   p(y_t) ~ a_t (E g_{t+1});   p(y_t, y_{t+1}) ~ a_t E g_{t+1}

The two recursions have one form, so they run as one: each row's backward message reads the row turned around, and a
step is one product of a `(2, B, K)` by a `(2, K, K)` tensor, scaled to sum 1. All is in double precision; where
scores lie so far apart that even that could lose a sequence, the same recursions run in logarithms.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Chain", "log_partition", "posterior"]

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
    _, parts = _sums(emissions, chain, lengths, both=True)
    return parts[0].to(emissions.dtype)


class _LogPartition(torch.autograd.Function):
    """log Z, whose gradient was found on the way."""

    @staticmethod
    def forward(
        ctx: Any, emissions: Tensor, start: Tensor, between: Tensor, end: Tensor, lengths: Tensor, reach: int
    ) -> Tensor:
        both = any(ctx.needs_input_grad)
        total, parts = _sums(emissions, Chain(start, between, end, reach), lengths, both=both)
        if both:
            ctx.save_for_backward(*parts, lengths, emissions.new_empty(0))
        return total.to(emissions.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] (what the decorator returns)
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        marginals, left, right, weights, lengths, like = ctx.saved_tensors
        upstream = grads[0].double()
        scaled = marginals * upstream[:, None, None]
        if weights.dim() == 2:
            rows = left * upstream[:, None]
            between = weights * (rows.flatten(0, 1).T @ right.flatten(0, 1))
        else:  # Found pair by pair already.
            between = torch.einsum("b,bij->ij", upstream, weights)
        ends = scaled[torch.arange(len(scaled), device=scaled.device), (lengths - 1).clamp(min=0)]
        found = (scaled, scaled[:, 0].sum(0), between, ends.sum(0))
        return *(gradient.to(like.dtype) for gradient in found), None, None


def _sums(emissions: Tensor, chain: Chain, lengths: Tensor, *, both: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return log Z and, if `both`, marginals and what the gradient of `between` is made of."""
    batch, steps, tags = emissions.shape
    if not batch or not steps:
        empty = emissions.new_zeros(batch, 1, tags, dtype=torch.float64)
        pairs = emissions.new_zeros(batch, tags, tags, dtype=torch.float64)
        return empty.sum((1, 2)), (empty[:, :steps] if steps else empty, empty, empty, pairs)
    valid = torch.arange(steps, device=emissions.device) < lengths[:, None]
    scores = torch.where(valid.unsqueeze(2), emissions, 0).double()
    chain = Chain(chain.start.double(), chain.between.double(), chain.end.double(), chain.reach)
    if _fits(scores, chain):
        return _scaled_sums(scores, chain, lengths, valid, both=both)
    return _log_sums(scores, chain, lengths, valid, both=both)


def _fits(scores: Tensor, chain: Chain) -> bool:
    """Tell whether no entry of a message can become too small beside its largest one."""
    widest = (scores.amax(2) - scores.amin(2)).max()
    links = torch.cat([chain.start, chain.between.flatten(), chain.end])
    links = links[links > -torch.inf]
    spread = widest + (links.max() - links.min() if len(links) else 0)
    # `not <=`, so that NaN and infinity do not fit.
    return chain.reach > 0 and bool(spread * (chain.reach + 1) <= _RANGE)


def _scaled_sums(
    scores: Tensor, chain: Chain, lengths: Tensor, valid: Tensor, *, both: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    # Step first, and in place wherever it can be: fresh memory costs more than the sums do.
    batch, steps, tags = scores.shape
    rows = torch.arange(batch, device=scores.device)
    last = (lengths - 1).clamp(min=0)
    top = scores.amax(2, keepdim=True)
    link_top = chain.between.max().clamp(min=-_RANGE, max=_RANGE)
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
    return total, (marginals, scores, scores, pairs)
