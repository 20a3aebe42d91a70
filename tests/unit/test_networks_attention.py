"""Every attention beside a loop over rows and places; what is masked has no influence at all."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from recurra.core.errors import ArgumentError, ShapeError
from recurra.core.state import split_shape
from recurra.networks import (
    Additive,
    Attention,
    Concat,
    Coverage,
    Dot,
    General,
    LocalWindow,
    LocationAware,
    MonotonicAttention,
    MultiHead,
    ScaledDot,
    Score,
    SoftAttention,
    coverage_loss,
)

Q, K, S = 4, 4, 6
MASK = torch.arange(S) < torch.tensor([6, 3, 0, 1])[:, None]

SCORES: dict[str, Callable[[], Score]] = {
    "additive": lambda: Additive(Q, K, 5),
    "concat": lambda: Concat(Q, K, 5),
    "dot": lambda: Dot(Q, K),
    "scaled dot": lambda: ScaledDot(Q, K),
    "general": lambda: General(Q, K),
}
KINDS: dict[str, Callable[[], Attention]] = {
    **{name: lambda make=make: SoftAttention(make()) for name, make in SCORES.items()},
    "heads": lambda: MultiHead(Q, K, 6, 2),
    "location": lambda: LocationAware(Q, K, 5, 8, filters=3, width=3),
    "coverage": lambda: Coverage(Q, K, 5, 8),
    "monotonic": lambda: MonotonicAttention(Additive(Q, K, 5), 8),
    "window": lambda: LocalWindow(General(Q, K), 2),
    "marching window": lambda: LocalWindow(General(Q, K), 1, predicted=False),
}


def one_score(score: Score, q: Tensor, h: Tensor) -> Tensor:
    match score:
        case Additive():
            w, u, v = score.query, score.key, score.score
            return v.weight[0] @ torch.tanh(w.weight @ q + u.weight @ h + u.bias)
        case Concat():
            return score.score.weight[0] @ torch.tanh(score.joined.weight @ torch.cat([q, h]))
        case Dot():
            return q @ h
        case ScaledDot():
            return (q @ h) / math.sqrt(K)
        case _:
            assert isinstance(score, General)
            return q @ (score.weight.weight @ h)


def softmax(e: list[Tensor]) -> list[Tensor]:
    return [torch.exp(x) / sum(torch.exp(y) for y in e) for x in e]


def by_hand(kind: Attention, q: Tensor, h: Tensor, carried: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the weights (n,) of one row with n valid places, and what is carried on."""
    n = len(h)
    match kind:
        case SoftAttention():
            return torch.stack(softmax([one_score(kind.score, q, x) for x in h])), []
        case MultiHead():
            k = [(kind.key.weight @ x + kind.key.bias)[:6].view(2, 3) for x in h]
            p = (kind.query.weight @ q + kind.query.bias).view(2, 3)
            heads = [torch.stack(softmax([p[j] @ x[j] / math.sqrt(3) for x in k])) for j in range(2)]
            return (heads[0] + heads[1]) / 2, []
        case LocationAware() | Coverage():
            before = carried[0]
            w, u, v = kind.score.query, kind.score.key, kind.score.score
            e = []
            for j in range(n):
                if isinstance(kind, Coverage):
                    more = kind.covered.weight[:, 0] * before[j]
                else:
                    near = [before[i] if 0 <= i < S else before.new_zeros(()) for i in (j - 1, j, j + 1)]
                    more = kind.features.weight @ (kind.location.weight @ torch.stack(near))
                e.append(v.weight[0] @ torch.tanh(w.weight @ q + u.weight @ h[j] + u.bias + more))
            a = torch.stack(softmax(e))
            padded = torch.cat([a, a.new_zeros(8 - n)])
            return a, [before + padded if isinstance(kind, Coverage) else padded]
        case MonotonicAttention():
            p = [torch.sigmoid(kind.gain * one_score(kind.score, q, x) + kind.offset) for x in h]
            a, arriving = [], q.new_zeros(())
            for j in range(n):
                arriving = arriving + carried[0][j]
                a.append(p[j] * arriving)
                arriving = arriving * (1 - p[j])
            weights = torch.stack(a)
            return weights, [torch.cat([weights, weights.new_zeros(8 - n)])]
        case _:
            assert isinstance(kind, LocalWindow)
            place = carried[0].double() if kind.place is None else (n - 1) * torch.sigmoid(kind.place(q))[0]
            inside = [j for j in range(n) if abs(j - place) <= kind.reach]
            a = q.new_zeros(n)
            for j, weight in zip(inside, softmax([one_score(kind.score, q, h[j]) for j in inside]), strict=True):
                gauss = 1 if kind.place is None else torch.exp(-((j - place) ** 2) / (2 * (kind.reach / 2) ** 2))
                a[j] = weight * gauss
            return a, [carried[0] + 1]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_equals_a_loop_over_three_steps(name: str) -> None:
    kind = KINDS[name]().double()
    keys = torch.randn(4, S, K, dtype=torch.float64)
    keys = torch.where(MASK.unsqueeze(2), keys, 0)
    state = kind.first_state(4, dtype=torch.float64)
    expected = [[s[row] for s in state] for row in range(4)]
    for _ in range(3):
        query = torch.randn(4, Q, dtype=torch.float64)
        context, weights, state = kind.attend(query, keys, kind.prepare(keys), MASK, state)
        for row, n in enumerate(MASK.sum(1).tolist()):
            if not n:
                assert not bool(weights[row].any())
                assert not bool(context[row].any())
                continue
            a, expected[row] = by_hand(kind, query[row], keys[row, :n], expected[row])
            torch.testing.assert_close(weights[row], torch.cat([a, a.new_zeros(S - n)]))
            torch.testing.assert_close([s[row] for s in state], expected[row])
            if not isinstance(kind, MultiHead):
                torch.testing.assert_close(context[row], sum(x * h for x, h in zip(a, keys[row], strict=False)))
    for s, declared in zip(state, kind.state_shapes(), strict=True):
        assert tuple(s.shape[1:]) == split_shape(declared)[0]


@pytest.mark.parametrize("name", KINDS)
def test_what_is_masked_has_no_influence(name: str) -> None:
    kind = KINDS[name]().double()
    keys, query = torch.randn(4, S, K, dtype=torch.float64), torch.randn(4, Q, dtype=torch.float64)
    found = []
    for filler in (0.0, torch.nan):
        given = torch.where(MASK.unsqueeze(2), keys, filler).requires_grad_()
        context, weights = kind(query, given, MASK)
        assert not bool(weights[~MASK].any())
        assert not bool(context[2].any())
        kind.zero_grad()
        context.square().sum().backward()
        assert given.grad is not None
        assert not bool(given.grad[~MASK].any())
        found.append([context, weights, given.grad, *(p.grad for p in kind.parameters())])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_right(name: str) -> None:
    kind = KINDS[name]().double()
    keys = torch.randn(4, S, K, dtype=torch.float64, requires_grad=True)
    query = torch.randn(4, Q, dtype=torch.float64, requires_grad=True)
    state = [s.clone().requires_grad_(s.is_floating_point()) for s in kind.first_state(4, dtype=torch.float64)]

    def run(query: Tensor, keys: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        keys = torch.where(MASK.unsqueeze(2), keys, 0)
        context, weights, new = kind.attend(query, keys, kind.prepare(keys), MASK, state)
        return context, weights, *(s for s in new if s.is_floating_point())

    assert torch.autograd.gradcheck(run, (query, keys, *state), fast_mode=True)


@pytest.mark.parametrize("name", KINDS)
def test_an_empty_source_gives_zeros(name: str) -> None:
    context, weights = KINDS[name]()(torch.randn(2, Q), torch.zeros(2, 0, K))
    assert weights.shape == (2, 0)
    assert not bool(context.any())


def test_concat_is_additive_with_its_matrix_cut() -> None:
    concat, additive = Concat(3, 2, 4), Additive(3, 2, 4)
    with torch.no_grad():
        additive.query.weight.copy_(concat.joined.weight[:, :3])
        additive.key.weight.copy_(concat.joined.weight[:, 3:])
        additive.key.bias.zero_()
        additive.score.weight.copy_(concat.score.weight)
    query, keys = torch.randn(2, 3), torch.randn(2, 5, 2)
    torch.testing.assert_close(SoftAttention(concat)(query, keys), SoftAttention(additive)(query, keys))


def test_extreme_scores_stay_finite() -> None:
    keys = torch.tensor([[[1e30], [-1e30], [3e38]]])
    context, weights = SoftAttention(Dot(1, 1))(torch.ones(1, 1), keys, torch.tensor([[True, True, False]]))
    assert weights.tolist() == [[1.0, 0.0, 0.0]]
    assert context.equal(keys[:, 0])


def test_monotonic_weights_move_on_and_never_exceed_one() -> None:
    kind = MonotonicAttention(Dot(2, 2), 9)
    state, keys = kind.first_state(3), torch.randn(3, 9, 2)
    reached = torch.ones(3, 9)
    for _ in range(6):
        _, weights, state = kind.attend(
            torch.randn(3, 2), keys, kind.prepare(keys), torch.ones(3, 9, dtype=torch.bool), state
        )
        # Never back: the probability to stand at a place or before it only falls.
        assert bool((weights.cumsum(1) <= reached + 1e-6).all())
        reached = weights.cumsum(1)


def test_the_coverage_loss_counts_what_was_seen_twice() -> None:
    weights = torch.tensor([[[0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]])
    mask = torch.tensor([[True, True, True]])
    assert coverage_loss(weights, mask).item() == pytest.approx(0.0 + 0.5 + 1.0)
    assert coverage_loss(weights, mask & torch.tensor([[True, True, False]])).item() == pytest.approx(0.5)


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ArgumentError, match="query_size=3 and key_size=4"):
        Dot(3, 4)
    with pytest.raises(ArgumentError, match="multiple of heads"):
        MultiHead(3, 4, 6, 4)
    with pytest.raises(ShapeError, match=r"\(B, S, 4\).*got \(2, 5, 3\)"):
        SoftAttention(General(3, 4))(torch.zeros(2, 3), torch.zeros(2, 5, 3))
    with pytest.raises(ShapeError, match=r"query of shape \(2, 3\), got \(2, 4\)"):
        SoftAttention(General(3, 4))(torch.zeros(2, 4), torch.zeros(2, 5, 4))
    with pytest.raises(ShapeError, match="positions=4 encoder states, got 5"):
        Coverage(3, 4, 2, 4)(torch.zeros(2, 3), torch.zeros(2, 5, 4))
