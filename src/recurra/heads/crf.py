"""A linear-chain conditional random field: one tag at every position, chosen as a whole sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError, ShapeError
from recurra.heads.crf_decoding import best_sequence, best_sequences
from recurra.heads.crf_messages import Chain, along, log_partition, posterior

__all__ = ["CRF", "UNLABELLED"]

UNLABELLED = -1
"""A target that is not known: any tag may stand there."""


class CRF(nn.Module):
    """p(y | o) = exp(s(y)) / Z,  s(y) = start[y_1] + sum_t o_t[y_t] + sum_t between[y_t, y_{t+1}] + end[y_n].

    Source: Lafferty, McCallum and Pereira (2001), over a recurrent network as in Huang, Xu and Yu (2015) and Lample et
    al. (2016). Unlike `Softmax` it has weights: make it part of the network.

    tags: K. legal: which tags may begin `(K,)`, which may follow which `(K, K)` (from row to column), which may end
    `(K,)`, all bool, as `recurra.data.tag_schemes.legal` gives them; None: all. A sequence that is not legal has
    probability 0: the sum Z goes over legal ones alone, and no other is ever predicted.

    Everywhere outputs are `(B, T, K)` scores and a mask is `(B, T)` bool, True for the first steps of each row, None
    for all. What lies under the mask has no influence.
    """

    def __init__(self, tags: int, legal: tuple[Tensor, Tensor, Tensor] | None = None) -> None:
        super().__init__()
        if tags < 1:
            raise ArgumentError(f"a CRF needs at least one tag, got {tags}")
        shapes = ((tags,), (tags, tags), (tags,))
        self._reach = 1 if legal is None else _reach(legal[1].bool())
        if legal is None:
            legal = (torch.ones(tags), torch.ones(tags, tags), torch.ones(tags))
        if tuple(tuple(part.shape) for part in legal) != shapes:
            raise ShapeError(
                f"legal: expected tensors of shapes {shapes} (start, between, end), "
                f"got {tuple(tuple(part.shape) for part in legal)}"
            )
        self.tags = tags
        self.start = nn.Parameter(torch.empty(tags).uniform_(-0.1, 0.1))
        self.between = nn.Parameter(torch.empty(tags, tags).uniform_(-0.1, 0.1))
        self.end = nn.Parameter(torch.empty(tags).uniform_(-0.1, 0.1))
        for name, part in zip(("start", "between", "end"), legal, strict=True):
            # Not saved: whoever builds the network knows the scheme.
            self.register_buffer(f"legal_{name}", part.bool(), persistent=False)

    def log_likelihood(self, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return log p(targets) `(B,)` in nats; -inf for a sequence that is not legal.

        targets: `(B, T)` tags, `UNLABELLED` where any may stand; or `(B, T, K)` bool, True for each tag that may. With
        such partial labels it is the probability of all sequences that agree with them (Tsuboi et al. 2008).
        """
        lengths = self._check(outputs, mask)
        chain = self._chain()
        total = log_partition(outputs, chain, lengths)
        if targets.shape == outputs.shape and targets.dtype == torch.bool:
            return log_partition(outputs.masked_fill(~targets, -torch.inf), chain, lengths) - total
        if targets.shape != outputs.shape[:2]:
            raise ShapeError(
                f"expected targets of shape {tuple(outputs.shape[:2])}, or bool of {tuple(outputs.shape)}, "
                f"got {targets.dtype} of {tuple(targets.shape)}"
            )
        valid = torch.arange(targets.shape[1], device=targets.device) < lengths[:, None]
        if bool((valid & ((targets < UNLABELLED) | (targets >= self.tags))).any()):
            raise ArgumentError(f"targets must be tags from 0 to {self.tags - 1}, or {UNLABELLED} where unknown")
        if bool((valid & (targets == UNLABELLED)).any()):
            allowed = (targets.unsqueeze(2) == torch.arange(self.tags, device=targets.device)) | (
                targets == UNLABELLED
            ).unsqueeze(2)
            return log_partition(outputs.masked_fill(~allowed, -torch.inf), chain, lengths) - total
        return self._score(outputs, targets, chain, lengths, valid) - total

    def loss(self, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return -log p(targets), summed over the batch."""
        return -self.log_likelihood(outputs, targets, mask).sum()

    def log_partition(self, outputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return log Z `(B,)`: the log of the sum of exp(s(y)) over all legal sequences."""
        return log_partition(outputs, self._chain(), self._check(outputs, mask))

    def marginals(self, outputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return p(y_t = k) `(B, T, K)`, zero under the mask: the gradient of log Z by the outputs."""
        return posterior(outputs, self._chain(), self._check(outputs, mask))

    def along(self, outputs: Tensor, tags: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return p(y_t = tags_t) `(B, T)` and p(y_t = tags_t | y_{t+1} = tags_{t+1}) `(B, T - 1)`; zero under the mask.

        Of tags `(B, T)`: the probability of any piece of them is its last one's times the second of all before it.
        """
        if tags.shape != outputs.shape[:2]:
            raise ShapeError(f"CRF: expected tags of shape {tuple(outputs.shape[:2])}, got {tuple(tags.shape)}")
        return along(outputs, self._chain(), self._check(outputs, mask), tags)

    def predict(self, outputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the most probable legal sequence of each row `(B, T)`; 0 under the mask."""
        return best_sequence(outputs, self._chain(), self._check(outputs, mask))

    def n_best(self, outputs: Tensor, n: int, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the n most probable legal sequences `(B, n, T)`, best first, and log p of each `(B, n)`.

        log p is -inf where there are fewer than n.
        """
        if n < 1:
            raise ArgumentError(f"n must be at least 1, got {n}")
        lengths, chain = self._check(outputs, mask), self._chain()
        with torch.no_grad():
            sequences, scores = best_sequences(outputs, chain, lengths, n)
            return sequences, scores - log_partition(outputs, chain, lengths).unsqueeze(1)

    def extra_repr(self) -> str:
        return f"tags={self.tags}"

    def _chain(self) -> Chain:
        start, between, end = (
            torch.where(self.get_buffer(f"legal_{name}"), self.get_parameter(name), -torch.inf)
            for name in ("start", "between", "end")
        )
        return Chain(start, between, end, self._reach)

    def _check(self, outputs: Tensor, mask: Tensor | None) -> Tensor:
        """Return the lengths `(B,)` of the rows. Raises ShapeError."""
        if outputs.dim() != 3 or outputs.shape[2] != self.tags:
            raise ShapeError(f"CRF: expected outputs of shape (B, T, {self.tags}), got {tuple(outputs.shape)}")
        batch, steps = outputs.shape[:2]
        if mask is None:
            return torch.full((batch,), steps, device=outputs.device)
        if mask.shape != outputs.shape[:2] or mask.dtype != torch.bool:
            raise ShapeError(
                f"CRF: expected a bool mask of shape {(batch, steps)}, got {mask.dtype} of {tuple(mask.shape)}"
            )
        if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
            raise ShapeError("CRF: expected a mask that is True for the first steps of each row, got one with gaps")
        return mask.sum(1)

    def _score(self, outputs: Tensor, targets: Tensor, chain: Chain, lengths: Tensor, valid: Tensor) -> Tensor:
        """Return s(targets) `(B,)`."""
        if not targets.shape[1]:
            return outputs.new_zeros(len(targets))
        tags = torch.where(valid, targets, 0)
        own = torch.where(valid, outputs.gather(2, tags.unsqueeze(2)).squeeze(2), 0).sum(1)
        # Looked up in the flat table: the backward of an index by pairs is several times slower.
        links = chain.between.flatten().gather(0, (tags[:, :-1] * self.tags + tags[:, 1:]).flatten())
        links = torch.where(valid[:, 1:], links.view(len(tags), -1), 0).sum(1)
        last = tags.gather(1, (lengths - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
        return torch.where(lengths > 0, own + links + chain.start[tags[:, 0]] + chain.end[last], 0)


def _reach(between: Tensor) -> int:
    """Return the fewest steps in which every tag can follow every other; 0 if there is no such number."""
    ways = between.float().cpu()
    now = ways
    for steps in range(1, 9):
        if bool((now > 0).all()):
            return steps
        now = (now @ ways).clamp(max=1)
    return 0
