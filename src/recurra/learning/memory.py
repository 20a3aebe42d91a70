"""What a learning rule will need to remember, before it starts."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.learning.bptt import BPTT
from recurra.learning.rtrl import RTRL
from recurra.learning.snap import SnAp1
from recurra.learning.uoro import UORO

__all__ = ["memory_report"]


def memory_report(network: nn.Module, inputs: Tensor, steps: int | None = None) -> Mapping[str, int | None]:
    """Return bytes by rule: what is kept beside the parameters over `steps` (those of `inputs` if None).

    inputs: `(T, B, ...)`, of which one step is run. bptt: what autograd keeps of a step, times T; recomputed: the same
    with `BPTT(recompute=0)`; rtrl and snap1: the influence, None where no memory of this machine would hold it; uoro:
    its two vectors. A network that draws random numbers has no rtrl and snap1: None. Each rule tells the same of itself
    by `memory_needed`.
    """
    steps = inputs.shape[0] if steps is None else steps
    long = inputs[:1].expand(steps, *inputs.shape[1:])
    rules = {"bptt": BPTT(), "recomputed": BPTT(recompute=0), "rtrl": RTRL(), "snap1": SnAp1(), "uoro": UORO()}
    found: dict[str, int | None] = {}
    for name, rule in rules.items():
        try:
            found[name] = rule.memory_needed(network, long)
        except ArgumentError:
            if name not in ("rtrl", "snap1"):
                raise
            found[name] = None
    return found
