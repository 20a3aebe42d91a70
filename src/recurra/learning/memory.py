"""What a learning rule will need to remember, before it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.learning.forward_mode import ForwardMode
from recurra.learning.stepper import Stepper

__all__ = ["memory_report"]


def memory_report(network: nn.Module, inputs: Tensor, steps: int | None = None) -> Mapping[str, int | None]:
    """Return bytes by rule: what is kept beside the parameters over `steps` (those of `inputs` if None).

    inputs: `(T, B, ...)`, of which one step is run. bptt: what autograd keeps of a step, times T; recomputed: the same
    with `BPTT(recompute=0)`; rtrl and snap1: the influence, None where no memory of this machine would hold it; uoro:
    its two vectors. A network that draws random numbers has no rtrl and snap1: None.
    """
    stepper = Stepper(network, "memory_report")
    steps = inputs.shape[0] if steps is None else steps
    batch = inputs.shape[1]
    state = stepper.initial_state(batch)
    kept: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t), torch.enable_grad():
        held: Any = network.step(inputs[0], state)  # pyright: ignore[reportCallIssue]
    each = sum(kept.values())
    del held
    item = stepper.like.element_size()
    numbers = stepper.form.size * batch * item
    every = max(math.isqrt(steps), 1)
    parameters = sum(p.numel() for p in stepper.parameters.values())
    found: dict[str, int | None] = {
        "bptt": each * steps,
        "recomputed": each * every + numbers * -(-steps // every),
        "uoro": (parameters * item * batch) + numbers,
    }
    for name, spread in (("rtrl", True), ("snap1", False)):
        try:
            stepper.refuse_chance(inputs[0], state)
            influence = ForwardMode(name, spread, 1, None).begin(stepper, inputs[:1], state, None)
            found[name] = influence.layout.entries * batch * item
        except ArgumentError:
            found[name] = None
    return found
