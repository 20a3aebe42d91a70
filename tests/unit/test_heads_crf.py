"""The CRF against sums over every sequence there is, in double precision."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from recurra.compiler.build import compiler
from recurra.core import Head
from recurra.core.errors import ArgumentError, ShapeError
from recurra.heads import CRF, UNLABELLED, crf_native
from recurra.heads.crf_decoding import best_sequence
from recurra.heads.crf_messages import Chain, log_partition, posterior

K, T = 3, 4
LENGTHS = (4, 0, 1, 3)


def some_crf(constrained: bool, scale: float = 1.0) -> CRF:
    """Return a CRF with random weights; constrained: like BIO, with tag 2 only after 1 or 2."""
    torch.manual_seed(0)
    start, between = torch.ones(K).bool(), torch.ones(K, K).bool()
    if constrained:
        start[2] = between[0, 2] = False
    crf = CRF(K, (start, between, torch.ones(K).bool()) if constrained else None).double()
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.normal_().mul_(scale)
    return crf


def some_batch(scale: float = 1.0) -> tuple[Tensor, Tensor]:
    outputs = torch.randn(len(LENGTHS), T, K, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * scale
    mask = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    outputs[~mask] = torch.nan
    return outputs, mask


def every_score(crf: CRF, row: Tensor) -> dict[tuple[int, ...], float]:
    """Return the score of each legal sequence, computed as it is written down."""
    start, between, end = (part.detach() for part in (crf.start, crf.between, crf.end))
    scores: dict[tuple[int, ...], float] = {}
    for y in itertools.product(range(K), repeat=len(row)):
        legal = not y or bool(crf.legal_start[y[0]] & crf.legal_end[y[-1]])
        if legal and all(crf.legal_between[a, b] for a, b in itertools.pairwise(y)):
            own = sum(float(row[t, tag]) for t, tag in enumerate(y))
            links = sum(float(between[a, b]) for a, b in itertools.pairwise(y))
            scores[y] = own + links + (float(start[y[0]] + end[y[-1]]) if y else 0.0)
    return scores


def log_sum(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


# A scale of 300 takes the sums in logarithms: no product of such weights fits a double.
cases = pytest.mark.parametrize(("constrained", "scale"), [(False, 1), (True, 1), (False, 300), (True, 300)])


@cases
def test_partition_marginals_and_best_sequences_equal_the_enumeration(constrained: bool, scale: float) -> None:
    crf, (outputs, mask) = some_crf(constrained, scale), some_batch(scale)
    total, marginals = crf.log_partition(outputs, mask).detach(), crf.marginals(outputs, mask)
    best, logs = crf.n_best(outputs, 5, mask)
    assert not logs.requires_grad
    predicted = crf.predict(outputs, mask)
    for b, length in enumerate(LENGTHS):
        scores = every_score(crf, outputs[b, :length])
        z = log_sum(list(scores.values()))
        assert float(total[b]) == pytest.approx(z, rel=1e-12, abs=1e-12)
        for t, k in itertools.product(range(T), range(K)):
            p = sum(math.exp(s - z) for y, s in scores.items() if t < length and y[t] == k)
            assert float(marginals[b, t, k]) == pytest.approx(p, abs=1e-12)
        ranked = sorted(scores, key=lambda y: -scores[y])[:5]
        found = [tuple(row[:length].tolist()) for row, log in zip(best[b], logs[b], strict=True) if log > -math.inf]
        assert found == ranked
        for y, log in zip(ranked, logs[b].tolist(), strict=False):
            assert log == pytest.approx(scores[y] - z, rel=1e-11, abs=1e-11)
        assert tuple(predicted[b, :length].tolist()) == ranked[0]
    assert not predicted[~mask].any()
    assert not best.transpose(1, 2)[~mask].any()


@cases
@pytest.mark.parametrize("native", [True, False])
def test_pieces_of_a_sequence_are_as_probable_as_all_sequences_with_them(
    constrained: bool, scale: float, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(crf_native, "_library", lambda: None)
    crf, (outputs, mask) = some_crf(constrained, scale), some_batch(scale)
    tags = torch.stack([torch.tensor([1, 2, 0, 2]), *[torch.zeros(T).long()] * 2, crf.predict(outputs, mask)[3]])
    own, before = crf.along(outputs, tags, mask)
    for b, length in enumerate(LENGTHS):
        scores = every_score(crf, outputs[b, :length])
        z = log_sum(list(scores.values()))
        for first, last in itertools.combinations_with_replacement(range(T), 2):
            piece = tuple(tags[b, first : last + 1].tolist())
            wanted = sum(math.exp(s - z) for y, s in scores.items() if y[first : last + 1] == piece and last < length)
            assert float(own[b, last] * before[b, first:last].prod()) == pytest.approx(wanted, abs=1e-12)
    one = crf.along(outputs[2:3, :1], tags[2:3, :1])
    assert torch.equal(one[0], crf.marginals(outputs[2:3, :1])[:, :, 0])
    assert one[1].shape == (1, 0)


@cases
def test_likelihoods_of_all_sequences_sum_to_one_and_illegal_ones_have_none(constrained: bool, scale: float) -> None:
    crf, (outputs, _) = some_crf(constrained, scale), some_batch(scale)
    sequences = torch.tensor(list(itertools.product(range(K), repeat=T)))
    logs = crf.log_likelihood(outputs[:1].expand(len(sequences), -1, -1), sequences)
    assert float(logs.logsumexp(0).detach()) == pytest.approx(0, abs=1e-10)
    possible = set(every_score(crf, outputs[0]))
    for y, log in zip(sequences.tolist(), logs.tolist(), strict=True):
        assert (log > -math.inf) == (tuple(y) in possible)
    assert len(possible) == (81 if not constrained else 34)


@cases
def test_partial_labels_sum_over_the_sequences_that_agree(constrained: bool, scale: float) -> None:
    crf, (outputs, mask) = some_crf(constrained, scale), some_batch(scale)
    targets = torch.full((len(LENGTHS), T), UNLABELLED)
    targets[0, 1], targets[3, 2], targets[2, 0] = 1, 2, 0
    allowed = (targets.unsqueeze(2) == torch.arange(K)) | (targets == UNLABELLED).unsqueeze(2)
    allowed[0, 3, 0] = False
    logs = crf.log_likelihood(outputs, targets, mask)
    sets = crf.log_likelihood(outputs, allowed, mask)
    for b, length in enumerate(LENGTHS):
        scores = every_score(crf, outputs[b, :length])
        z = log_sum(list(scores.values()))
        agree = [s for y, s in scores.items() if all(t in (UNLABELLED, k) for t, k in zip(targets[b], y, strict=False))]
        in_sets = [s for y, s in scores.items() if all(allowed[b, t, k] for t, k in enumerate(y))]
        assert float(logs.detach()[b]) == pytest.approx(log_sum(agree) - z, rel=1e-10, abs=1e-10)
        assert float(sets.detach()[b]) == pytest.approx(log_sum(in_sets) - z, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("labels", ["all", "some", "sets"])
@pytest.mark.parametrize(("constrained", "scale"), [(False, 1), (True, 1), (True, 150)])
def test_gradients_equal_numerical_ones(labels: str, constrained: bool, scale: float) -> None:
    crf, (outputs, mask) = some_crf(constrained, scale), some_batch(scale)
    outputs = outputs.nan_to_num(0.0).requires_grad_()
    targets = torch.tensor([[0, 1, 2, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 2, 2, 0]])
    if labels == "some":
        targets[0, 1] = targets[3, 2] = UNLABELLED
    elif labels == "sets":
        targets = (targets.unsqueeze(2) == torch.arange(K)) | (torch.arange(K) == 1)
    weights = tuple(crf.parameters())

    def likelihood(o: Tensor, *_: Tensor) -> Tensor:
        return crf.log_likelihood(o, targets, mask)

    assert torch.autograd.gradcheck(likelihood, (outputs, *weights), eps=1e-6, atol=1e-6)


@cases
def test_marginals_sum_to_one_and_are_the_gradient_of_the_partition_function(constrained: bool, scale: float) -> None:
    crf, (outputs, mask) = some_crf(constrained, scale), some_batch(scale)
    outputs.requires_grad_()
    marginals = crf.marginals(outputs, mask)
    assert torch.allclose(marginals.sum(2), mask.double(), atol=1e-12)
    (gradient,) = torch.autograd.grad(crf.log_partition(outputs, mask).sum(), outputs)
    assert torch.allclose(marginals, gradient, atol=1e-12)


def test_what_lies_under_the_mask_and_in_other_rows_has_no_influence() -> None:
    crf, (outputs, mask) = some_crf(True), some_batch()
    targets = torch.tensor([[0, 1, 2, 0], [9, 9, 9, 9], [1, 9, 9, 9], [1, 2, 2, 9]])
    together = crf.log_likelihood(outputs, targets, mask)
    for b, length in enumerate(LENGTHS):
        alone = crf.log_likelihood(outputs[b : b + 1, :length], targets[b : b + 1, :length])
        assert float(alone.detach()) == pytest.approx(float(together.detach()[b]), abs=1e-12)


def test_single_precision_is_near_double_over_a_long_sequence() -> None:
    torch.manual_seed(0)
    crf = CRF(9)
    outputs, targets = 20 * torch.randn(2, 300, 9), torch.randint(9, (2, 300))
    exact = crf.double().log_likelihood(outputs.double(), targets)
    assert torch.allclose(crf.float().log_likelihood(outputs, targets), exact.float(), rtol=1e-5)


def test_it_is_a_head_and_says_what_it_expects() -> None:
    crf = CRF(2)
    assert isinstance(crf, Head)
    outputs = torch.zeros(1, 3, 2)
    assert crf.loss(outputs[:, :0], torch.zeros(1, 0).long()).item() == 0
    with pytest.raises(ShapeError, match=r"\(B, T, 2\), got \(1, 3, 4\)"):
        crf.predict(torch.zeros(1, 3, 4))
    with pytest.raises(ShapeError, match="gaps"):
        crf.predict(outputs, torch.tensor([[True, False, True]]))
    with pytest.raises(ShapeError, match="expected targets"):
        crf.loss(outputs, torch.zeros(1, 2).long())
    with pytest.raises(ArgumentError, match="from 0 to 1"):
        crf.loss(outputs, torch.tensor([[0, 2, 0]]))
    with pytest.raises(ShapeError, match="expected tags"):
        crf.along(outputs, torch.zeros(1, 2).long())
    with pytest.raises(ArgumentError, match="n must"):
        crf.n_best(outputs, 0)
    with pytest.raises(ShapeError, match="legal"):
        CRF(2, (torch.ones(2), torch.ones(2, 3), torch.ones(2)))
    with pytest.raises(ArgumentError, match="at least one tag"):
        CRF(0)


# Around the widths of vectors and of the blocks of the native code.
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tags", [1, 2, 7, 8, 9, 17, 24, 33, 45, 50, 100])
def test_native_code_equals_pytorch(tags: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiler() is None:
        pytest.skip("no C++ compiler is installed")
    assert crf_native.available(torch.zeros(1))  # Where it does not build, nothing else would tell.
    draw = torch.Generator().manual_seed(tags)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype, generator=draw)

    emissions, links = normal(5, 21, tags), (normal(tags), normal(tags, tags), normal(tags))
    lengths = torch.tensor([21, 0, 1, 9, 20])
    emissions[torch.arange(21) >= lengths[:, None]] = torch.nan
    upstream = normal(5)

    def everything() -> list[Tensor]:
        leaves = [part.clone().requires_grad_() for part in (emissions, *links)]
        chain = Chain(leaves[1], leaves[2], leaves[3], 1)
        total = log_partition(leaves[0], chain, lengths)
        gradients = torch.autograd.grad((total * upstream).sum(), leaves)
        return [total, *gradients, posterior(emissions, chain, lengths), best_sequence(emissions, chain, lengths)]

    for threads in (1, 2):
        monkeypatch.setattr(crf_native, "_threads", lambda *_, n=threads: n)
        native = everything()
        with monkeypatch.context() as without:
            without.setattr(crf_native, "_library", lambda: None)
            assert not crf_native.available(emissions)
            plain = everything()
        for a, b in zip(native, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5 if dtype == torch.float32 else 1e-11, atol=1e-6)


def test_scores_far_beyond_what_an_exponential_holds() -> None:
    far = torch.tensor([[[0.0, 900.0], [900.0, 0.0]]], dtype=torch.float64)
    chain = Chain(torch.zeros(2).double(), torch.zeros(2, 2).double(), torch.full((2,), 800.0).double(), 1)
    assert float(log_partition(far, chain, torch.tensor([2]))) == pytest.approx(2600.0)
