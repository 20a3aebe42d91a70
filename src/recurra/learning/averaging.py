"""Averaged SGD that begins when plain SGD stops gaining (NT-ASGD)."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Mapping

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError

__all__ = ["NonMonotonicAverage"]


class NonMonotonicAverage:
    """Averages weights from when a validation loss was worse than the best of those before the last n.

    Call `validated` after each validation and `updated` after each update; `averaged()` is what to evaluate and keep.

    Source: Merity, Keskar and Socher, "Regularizing and optimizing LSTM language models" (2018), arXiv v1, algorithm 1.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], patience: int = 5) -> None:
        if patience < 1:
            raise ArgumentError(f"patience must be at least 1, got {patience}")
        self.parameters = list(parameters)
        self.patience = patience
        self._losses: list[float] = []
        self._count = 0
        self._mean: list[Tensor] = []

    @property
    def begun(self) -> bool:
        """Whether weights are being averaged."""
        return self._count > 0

    def validated(self, loss: float) -> None:
        """Take note of a validation loss, which may begin the averaging, with the weights as they are."""
        earlier = self._losses[: -self.patience] if len(self._losses) > self.patience else []
        if not self.begun and earlier and loss > min(earlier):
            self._count = 1
            self._mean = [p.detach().clone() for p in self.parameters]
        self._losses.append(loss)

    def updated(self) -> None:
        """Take note of an update: its weights join the mean."""
        if not self.begun:
            return
        self._count += 1
        for mean, p in zip(self._mean, self.parameters, strict=True):
            mean += (p.detach() - mean) / self._count

    def averaged(self) -> list[Tensor]:
        """Return the mean weights; those of the network as long as nothing was averaged."""
        return self._mean if self.begun else [p.detach() for p in self.parameters]

    @contextlib.contextmanager
    def applied(self) -> Generator[None]:
        """Give the network the mean weights within the block."""
        if not self.begun:
            yield
            return
        with torch.no_grad():
            before = [p.detach().clone() for p in self.parameters]
            for p, mean in zip(self.parameters, self._mean, strict=True):
                p.copy_(mean)
        try:
            yield
        finally:
            with torch.no_grad():
                for p, value in zip(self.parameters, before, strict=True):
                    p.copy_(value)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything for a checkpoint."""
        means = {f"mean.{k}": mean for k, mean in enumerate(self._mean)}
        return {"losses": torch.tensor(self._losses, dtype=torch.float64), "count": torch.tensor(self._count), **means}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self._losses, self._count = tensors["losses"].tolist(), int(tensors["count"])
        self._mean = [tensors[f"mean.{k}"].clone() for k in range(len(tensors) - 2)]
