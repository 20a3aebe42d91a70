"""Streaming through a module's layers: the prepared call where there is one, the plain steps until then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.compiler import is_compiling

from recurra.layers.stack import Stack
from recurra.layers.states import join_states, split_state
from recurra.scan import Stream, prepare_stream

__all__ = ["stream_step"]


def stream_step(
    owner: nn.Module, stack: Callable[[], Stack], x: Tensor, state: Any, context: tuple[Any, ...], active: Tensor | None
) -> tuple[Tensor, Any]:
    """Run one step of a module's stack; return `(y, state)`, the state as the module's `forward` takes it."""
    usual = active is None and not context and not is_compiling()
    if usual:
        prepared = _streams.get(owner)
        done = None if prepared is None else prepared(x, state)
        if done is not None:
            return done
    layers = stack()
    initial = None if state is None else split_state(layers.cells, state, x.shape[0])
    y, final = layers.step(x, initial, context=context, active=active)
    random = layers.dropout > 0 and layers.training
    if usual and layers.backend in ("auto", "cpp") and not random:
        made = prepare_stream(owner, layers.cells, x)
        if made is not None:
            _streams[owner] = made
    return y, join_states(layers.cells, final)


_streams: WeakKeyDictionary[nn.Module, Stream] = WeakKeyDictionary()
