"""Beam search: the likeliest whole sequences, several at once, over any step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from recurra.core import index_rows
from recurra.core.errors import ArgumentError

__all__ = ["BeamOptions", "Hypothesis", "Step", "beam_search"]

Step: TypeAlias = Callable[[Tensor, Any, Any], Sequence[Any]]
"""`step(ids (N,), state, context) -> (scores (N, symbols), state)`, and the attention's weights `(N, S)` if it has any:
`network.step`, or `network.attended_step`."""


class Hypothesis(NamedTuple):
    """A sequence that was found: its symbols without the end, what it is ranked by, and log P of it with its end."""

    ids: tuple[int, ...]
    score: float
    log_probability: float


@dataclass(frozen=True)
class BeamOptions:
    """How to search. Raises ArgumentError for values that cannot be.

    width: hypotheses kept a row; n_best: how many are returned; min_length, max_length: symbols, the end not counted;
    length_penalty: alpha, 0 ranks by log P alone, larger favours long sequences; coverage_penalty: beta, above 0 ranks
    lower what leaves parts of the source unseen; forbidden: ids that are never written; forced: ids by position, from
    0, that are written whatever they cost.
    """

    width: int = 4
    n_best: int = 1
    min_length: int = 0
    max_length: int = 100
    length_penalty: float = 0.0
    coverage_penalty: float = 0.0
    forbidden: tuple[int, ...] = ()
    forced: Mapping[int, int] = field(default_factory=dict[int, int])

    def __post_init__(self) -> None:
        if self.width < 1 or self.n_best < 1 or not 0 <= self.min_length <= self.max_length:
            raise ArgumentError(
                "beam search: expected width and n_best of at least 1 and 0 <= min_length <= max_length, got width="
                f"{self.width}, n_best={self.n_best}, min_length={self.min_length}, max_length={self.max_length}"
            )
        if not math.isfinite(self.length_penalty) or not 0 <= self.coverage_penalty < math.inf:
            raise ArgumentError(
                "beam search: expected finite penalties, that of coverage not below 0, got length_penalty="
                f"{self.length_penalty}, coverage_penalty={self.coverage_penalty}"
            )
        if both := set(self.forbidden) & set(self.forced.values()):
            raise ArgumentError(f"beam search: ids {sorted(both)} are both forced and forbidden")


@torch.inference_mode()
def beam_search(
    step: Step,
    first: Tensor,
    state: Any,
    *,
    end: int,
    context: Any = None,
    mask: Tensor | None = None,
    options: BeamOptions | None = None,
) -> list[list[Hypothesis]]:
    """Return for each row the best `n_best` hypotheses, the best first (fewer where there are not so many).

        score(Y) = log P(Y) / ((5 + |Y|) / 6)^alpha + beta * sum over valid j of log(min(sum over i of a_ij, 1))

    |Y| and P count the end: a hypothesis of max_length symbols is ended there, at the price of its end. At every step
    the `width` likeliest continuations of a row stay; one that ends leaves its place to others. A row is done when
    nothing
    alive could still come among its best: log P only falls, and is divided by no more than the largest length allows,
    so stopping early never loses the best. Width 1 is the greedy choice; a width of all prefixes is exhaustive
    search.

    first: ids `(B,)` before the first step; state, context: what `step` takes for B rows, in any form that
    `recurra.index_rows` knows; end: the id that ends a sequence; mask: `(B, S)` valid places of the source, for
    coverage (all if None). Raises ArgumentError where coverage is asked for and the step gives no weights.
    Source: Wu et al., "Google's neural machine translation system" (GNMT, 2016), section 7, v2. Deviation: coverage
    counts in the final ranking alone, not in what is kept, and hypotheses far from the best are not cut.
    """
    options = options or BeamOptions()
    rows, width = first.shape[0], options.width
    beams = torch.arange(rows, device=first.device).repeat_interleave(width)
    state, ids = index_rows(state, beams), first[beams]
    context = None if context is None else index_rows(context, beams)
    total = torch.full((rows, width), -torch.inf, dtype=torch.float64, device=first.device)
    total[:, :1] = 0
    written = ids.new_zeros(rows, width, 0)
    seen: Tensor | None = None
    found: list[list[Hypothesis]] = [[] for _ in range(rows)]
    for t in range(options.max_length + 1):
        scores, state, *weights = step(ids, state, context)
        if options.coverage_penalty:
            seen = _seen(seen, weights, rows, width)
        log_p = scores.double().log_softmax(-1).view(rows, width, -1)
        symbols = log_p.shape[2]
        log_p = log_p.masked_fill(~_allowed(options, t, symbols, end).to(first.device), -torch.inf)
        total, chosen = (total.unsqueeze(2) + log_p).flatten(1).topk(width)
        parent, symbol = chosen // symbols, chosen % symbols
        state = index_rows(state, (torch.arange(rows, device=first.device).unsqueeze(1) * width + parent).flatten())
        written = torch.cat([written.gather(1, parent.unsqueeze(2).expand(-1, -1, t)), symbol.unsqueeze(2)], 2)
        if seen is not None:
            seen = seen.gather(1, parent.unsqueeze(2).expand_as(seen))
        for row, k in ((symbol == end) & total.isfinite()).nonzero().tolist():
            covered = 0.0 if seen is None else _covered(seen[row, k], None if mask is None else mask[row])
            log_probability = float(total[row, k])
            score = log_probability / _length(options, t + 1) + options.coverage_penalty * covered
            found[row].append(Hypothesis(tuple(written[row, k, :t].tolist()), score, log_probability))
        total = total.masked_fill(symbol == end, -torch.inf)
        for row, best in enumerate(total.amax(1).tolist()):
            if _done(found[row], best, options, t + 1):
                total[row] = -torch.inf
        if not bool(total.isfinite().any()):
            break
        ids = symbol.flatten()
    return [sorted(hypotheses, key=lambda h: -h.score)[: options.n_best] for hypotheses in found]


def _allowed(options: BeamOptions, t: int, symbols: int, end: int) -> Tensor:
    """Tell which symbols may stand at position t."""
    only = end if t == options.max_length else options.forced.get(t)
    if only is not None:
        return torch.arange(symbols) == only
    allowed = torch.ones(symbols, dtype=torch.bool)
    allowed[list(options.forbidden)] = False
    if t < options.min_length:
        allowed[end] = False
    return allowed


def _length(options: BeamOptions, length: int) -> float:
    return ((5 + length) / 6) ** options.length_penalty


def _done(found: Sequence[Hypothesis], best: float, options: BeamOptions, length: int) -> bool:
    """Tell whether no hypothesis alive, the likeliest having log P `best`, can come among a row's best."""
    if len(found) < options.n_best:
        return False
    worst = sorted((h.score for h in found), reverse=True)[options.n_best - 1]
    # What is to come is longer; log P and the coverage's part are at most 0, so the larger divisor is the better.
    largest = max(_length(options, length + 1), _length(options, options.max_length + 1))
    return worst >= best / largest


def _seen(seen: Tensor | None, weights: Sequence[Tensor], rows: int, width: int) -> Tensor:
    """Add the weights of a step to those of the steps before."""
    if not weights:
        raise ArgumentError(
            "a coverage penalty needs a step that returns (scores, state, weights), such as attended_step"
        )
    now = weights[0].double().view(rows, width, -1)
    return now if seen is None else seen + now


def _covered(seen: Tensor, mask: Tensor | None) -> float:
    seen = seen if mask is None else seen[mask]
    # A place that was never looked at has weight 0, whose logarithm would hide all other differences.
    return float(seen.clamp(1e-12, 1.0).log().sum())
