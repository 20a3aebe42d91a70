"""Whole sequences through a module's layers: the prepared call where there is one."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from recurra.layers.stack import Stack
from recurra.scan import Sequences, prepare_sequences

__all__ = ["prepare", "run_again"]


def run_again(owner: nn.Module, x: Any, state: Any, batch_first: bool) -> tuple[Tensor, Any] | None:
    """Return what a call like an earlier one returns: `(y, state)`; None if it is not like it.

    x, state: what the module's `forward` was given, unchecked.
    """
    if torch.compiler.is_compiling():  # asked first: it would make guards of what other layers have prepared
        return None
    prepared = _prepared.get(owner)
    if prepared is None or type(x) is not Tensor:
        return None
    if x.dim() < 2:
        return None
    steps = x.transpose(0, 1) if batch_first else x
    done = prepared(steps, state)
    return done if done is None or not batch_first else (done[0].transpose(0, 1), done[1])


def prepare(owner: nn.Module, stack: Stack) -> None:
    """Prepare for more calls of a module like the one that has just been made."""
    if torch.compiler.is_compiling() or stack.backend not in ("auto", "cpp"):
        return
    known = _prepared.get(owner)
    if known is not None and known.valid():
        return
    random = stack.dropout > 0 and stack.training
    if random:
        return
    made = prepare_sequences(owner, stack.layers, stack.backend == "cpp")
    if made is not None:
        _prepared[owner] = made


_prepared: WeakKeyDictionary[nn.Module, Sequences] = WeakKeyDictionary()
