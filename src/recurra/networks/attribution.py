"""What each step of a sequence contributed to an answer: by leaving it out, or by following the gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks.many_to_one import ManyToOne

__all__ = ["integrated_gradients", "occlusion"]


def _softmax(scores: Tensor) -> Tensor:
    return scores.log_softmax(-1)


@torch.no_grad()
def occlusion(
    network: ManyToOne,
    ids: Tensor,
    target: int,
    unknown: int = 0,
    log_p: Callable[[Tensor], Tensor] = _softmax,
    without: Tensor | None = None,
) -> Tensor:
    """Return log p(target) less what it is where each token is left out `(T,)`, in nats.

    ids: `(T,)` or `(T, columns)`, at least one step; a step that is the only one becomes the unknown one. without: what
    is left, `(T, T - 1)` or `(T, T - 1, columns)`, where it is not simply the other steps: columns may tell of
    neighbours. log_p: what makes log-probabilities of the network's outputs `(B, K)`.

    Source: Zeiler and Fergus (2014) on pictures, Li, Monroe and Jurafsky (2016, arXiv 1612.08220v3) on words: left out,
    since a vector of zeros or of the unknown token may be like nothing that the network has learned from.
    """
    _check(ids)
    if len(ids) == 1:
        rows = torch.full_like(ids, unknown)[None]
    elif without is not None:
        rows = without
    else:
        kept = ~torch.eye(len(ids), dtype=torch.bool)
        rows = ids.expand(len(ids), *ids.shape)[kept].view(len(ids), len(ids) - 1, *ids.shape[1:])
    whole = _log_probability(network, network.embed(ids[None]), target, log_p)
    return whole - _log_probability(network, network.embed(rows), target, log_p)


def integrated_gradients(
    network: ManyToOne, ids: Tensor, target: int, steps: int = 64, log_p: Callable[[Tensor], Tensor] = _softmax
) -> Tensor:
    """Return x_t · the mean gradient of log p(target) by x_t on the straight way from vectors of zeros to x `(T,)`.

    ids: `(T,)` or `(T, columns)`, at least one step; steps: places on the way, each in the middle of its part. Over all
    tokens it adds up, but for the coarseness of the steps, to log p(target | x) - log p(target | zeros). Source:
    Sundararajan, Taly and Yan (2017, arXiv 1703.01365v2).
    """
    _check(ids)
    if steps < 1:
        raise ArgumentError(f"steps must be at least 1, got {steps}")
    with torch.no_grad():
        vectors = network.embed(ids[None])
    places = (torch.arange(steps, dtype=vectors.dtype) + 0.5) / steps
    on_the_way = (places[:, None, None] * vectors).requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(_log_probability(network, on_the_way, target, log_p).sum(), on_the_way)
    return (gradient.mean(0) * vectors[0]).sum(1)


def _log_probability(network: ManyToOne, vectors: Tensor, target: int, log_p: Callable[[Tensor], Tensor]) -> Tensor:
    """Return log p(target) `(B,)` for sequences of vectors `(B, T, features)` of one length."""
    y, _ = network.recurrent(vectors)
    mask = torch.ones(y.shape[:2], dtype=torch.bool, device=y.device)
    return log_p(network.readout(network.pooling(y, mask)))[:, target]


def _check(ids: Tensor) -> None:
    if ids.dim() not in (1, 2) or not len(ids):
        raise ShapeError(
            f"expected ids of one sequence, (T,) or (T, columns), with at least one step, got {tuple(ids.shape)}"
        )
