"""Truncated backpropagation through time over contiguous streams."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError, ShapeError
from recurra.core.protocols import Batch
from recurra.core.state import PerLayer
from recurra.learning.state_form import map_state, state_leaves

__all__ = ["StreamBPTT"]


class _Network(Protocol):
    """What is needed of a network: it takes a batch with the state in it, and knows its first state."""

    def forward(self, batch: Batch) -> tuple[Tensor, Any]: ...

    def initial_state(self, batch: int) -> Any: ...


class StreamBPTT:
    """Runs a network over a stream of windows, carrying the state from each to the next.

    BPTT(h; h') of Williams and Peng (1990): an update every k1 steps (the windows' length) looks back over
    k2 = windows * k1 steps. With windows=1, the usual case, the state that comes in is a constant. With more,
    the last windows are run again, with their graph, from the detached state before the oldest of them: the
    gradient of the newest window's loss is then exact over k2 steps, at `windows` times the cost.

    A row where `batch.resets` is True starts from the network's initial state, and no gradient crosses that border. All
    rows keep their places: row i of a batch goes on where row i of the batch before it ended.

    Tensors of a state have their rows in dimension 1, `(layers * directions, B, ...)`; those in a `PerLayer` in
    dimension 0.
    """

    def __init__(self, network: _Network, windows: int = 1) -> None:
        if windows < 1:
            raise ArgumentError(f"windows must be at least 1, got {windows}")
        self.network = network
        self.windows = windows
        self._state: Any = None
        self._past: deque[tuple[Batch, Any]] = deque(maxlen=windows - 1)

    def forward(self, batch: Batch) -> Tensor:
        """Return the network's outputs `(B, T, ...)` for the batch, and carry the state after it, detached.

        Raises ArgumentError or ShapeError where the batch does not line up with the one before it.
        """
        self._check(batch)
        if _resets_all(batch):
            self.reset()
        batch = replace(batch, state=None)
        state = self._past[0][1] if self._past else self._state
        past: list[tuple[Batch, Any]] = []
        outputs = torch.empty(0)
        for window in (*(earlier for earlier, _ in self._past), batch):
            past.append((window, _detach(state)))
            outputs, state = self.network.forward(replace(window, state=self._start(window, state)))
        self._past.clear()
        self._past.extend((replace(window, targets=None), before) for window, before in past)
        self._state = _detach(state)
        return outputs

    def begun(self, batch: Batch) -> Any:
        """Return the state that the batch would start from, detached; None for the network's initial state."""
        if self._state is None or _resets_all(batch):
            return None
        return _detach(self._start(batch, self._state))

    def reset(self) -> None:
        """Forget everything: the next batch must reset every row."""
        self._state = None
        self._past.clear()

    def carried(self) -> dict[str, Tensor]:
        """Return all that is carried, by name, so that `restore` goes on exactly from here."""
        if self._state is None:
            return {}
        tensors = {f"state.{i}": leaf for i, leaf in enumerate(state_leaves(self._state))}
        for number, (window, before) in enumerate(self._past):
            if before is not None:
                tensors |= {f"past.{number}.state.{i}": leaf for i, leaf in enumerate(state_leaves(before))}
            tensors |= {
                f"past.{number}.{name}": value
                for name in ("inputs", "lengths", "resets")
                if (value := getattr(window, name)) is not None
            }
        return tensors

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """Take back what `carried` gave; an empty mapping is `reset`."""
        self.reset()
        if not carried:
            return
        self._state = self._unflatten(carried, "state.")
        device = state_leaves(self._state)[0].device
        number = 0
        while f"past.{number}.inputs" in carried:
            head = f"past.{number}."
            names = [name for name in ("inputs", "lengths", "resets") if head + name in carried]
            window = Batch(**{name: carried[head + name].to(device) for name in names})
            before = self._unflatten(carried, f"{head}state.") if f"{head}state.0" in carried else None
            self._past.append((window, before))
            number += 1

    def _check(self, batch: Batch) -> None:
        rows = batch.inputs.shape[0]
        resets = batch.resets
        if resets is not None and resets.shape != (rows,):
            raise ShapeError(f"expected resets of shape ({rows},), one a row, got {tuple(resets.shape)}")
        if _resets_all(batch):
            return
        if self._state is None:
            if resets is not None and batch.lengths is not None and bool((resets | (batch.lengths == 0)).all()):
                return  # A row without a single step has nothing to start.
            raise ArgumentError(
                "the first batch of an epoch must reset every row, for there is no state to go on from: "
                "start each epoch at the beginning of every row's stream"
            )
        carried = _rows(self._state)
        if carried != rows:
            raise ShapeError(
                f"batches do not line up: the state carried has {carried} rows, this batch {rows}; "
                "give every batch of a stream the same rows, or reset all of them"
            )

    def _start(self, batch: Batch, state: Any) -> Any:
        """Return the state a window starts from: what came in, or the initial state in the rows that are reset."""
        if state is None or _resets_all(batch):
            return self.network.initial_state(batch.inputs.shape[0])
        if batch.resets is None or not bool(batch.resets.any()):
            return state
        resets = batch.resets

        def choose(first: Tensor, going_on: Tensor, dim: int) -> Tensor:
            shape = [1] * first.ndim
            shape[dim] = -1
            return torch.where(resets.to(first.device).view(shape), first, going_on)

        return _join(self.network.initial_state(batch.inputs.shape[0]), state, choose)

    def _unflatten(self, carried: Mapping[str, Tensor], prefix: str) -> Any:
        leaves = (carried[f"{prefix}{i}"] for i in itertools.count())
        return map_state(self.network.initial_state(1), lambda like: next(leaves).to(like.device))


def _resets_all(batch: Batch) -> bool:
    return batch.resets is not None and bool(batch.resets.all())


def _detach(state: Any) -> Any:
    return None if state is None else map_state(state, Tensor.detach)


def _join(first: Any, second: Any, function: Callable[[Tensor, Tensor, int], Tensor], dim: int = 1) -> Any:
    if isinstance(first, Tensor):
        return function(first, second, dim)
    if isinstance(first, PerLayer):
        return PerLayer(_join(a, b, function, 0) for a, b in zip(first, second, strict=True))
    return tuple(_join(a, b, function, dim) for a, b in zip(first, second, strict=True))


def _rows(state: Any, dim: int = 1) -> int:
    if isinstance(state, Tensor):
        return state.shape[dim]
    return _rows(state[0], 0 if isinstance(state, PerLayer) else dim)
