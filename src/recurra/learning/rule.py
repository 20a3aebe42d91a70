"""What a learning rule is: gradients of a loss over time, added to the parameters' `.grad`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from torch import Tensor, nn

from recurra.learning.state_form import map_state, state_leaves
from recurra.learning.stepper import Stepper

__all__ = ["Carry", "LearningRule", "StepLoss", "carried_tensors", "restored_carry"]

StepLoss: TypeAlias = Callable[[Tensor, Any], Tensor]
"""`loss(y_t, target_t)`: one number for the rows `(B, ...)` of a step."""


@dataclass(frozen=True)
class Carry:
    """What goes on from one call to the next: the network's state, detached, and the rule's own matrices by name."""

    state: Any
    own: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


@runtime_checkable
class LearningRule(Protocol):
    """A way to learn. Your own is one file: a class with this method."""

    def accumulate(
        self,
        network: nn.Module,
        inputs: Tensor,
        targets: Any,
        loss: StepLoss,
        carry: Carry | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> tuple[Tensor, Carry]:
        """Add the gradient of the summed loss to the parameters' `.grad`; return `(total, carry)`.

        network: anything with `step(x, state)` and `initial_state(batch)`: a layer, a network with its head, a cell.
        inputs: `(T, B, ...)`; targets: anything whose `[t]` is the target of step t, with rows first where lengths
        differ; loss: `loss(y_t, target_t)`, summed over the steps. carry: what the call before returned; None starts
        from the network's initial state. lengths: `(B,)`, the valid steps of each row: at a step, `loss` is given the
        rows that still run, and the others keep their state. total: the summed loss, without its graph.
        """
        ...


def carried_tensors(carry: Carry) -> dict[str, Tensor]:
    """Return all that is carried by name, for a checkpoint."""
    state = {f"state.{k}": leaf for k, leaf in enumerate(state_leaves(carry.state))}
    return state | {f"own.{name}": tensor for name, tensor in carry.own.items()}


def restored_carry(network: nn.Module, tensors: Mapping[str, Tensor]) -> Carry | None:
    """Take back what `carried_tensors` gave; None from an empty mapping."""
    if not tensors:
        return None
    leaves = (tensors[f"state.{k}"] for k in range(len(tensors)))
    like = Stepper(network, "restoring").initial_state(1)
    state = map_state(like, lambda leaf: next(leaves).to(leaf.device))
    return Carry(state, {name[4:]: t for name, t in tensors.items() if name.startswith("own.")})
