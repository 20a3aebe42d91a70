"""How a task over whole sequences is learned: by `backward()` through its network, or by a rule, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from recurra.core import Batch, Stepwise, Trainable
from recurra.core.errors import ArgumentError
from recurra.learning import RULES, ByRule
from recurra.tasks.contract.options import option

__all__ = ["LearningOptions", "WholeSequences", "starting_anew"]


@dataclass(frozen=True)
class LearningOptions:
    """What the options of a task over whole sequences begin with; a subclass's `__post_init__` calls this one's."""

    one_way: bool = option(False, "read forwards only: what streams, and what rules beside bptt can learn", "Learning")
    learning: Literal["bptt", "tbptt", "rtrl", "snap1", "uoro", "ekf", "dekf"] = option(
        "bptt", "learning rule: bptt, tbptt, rtrl, snap1, uoro, ekf or dekf; all but bptt need --one-way", "Learning"
    )
    look_back: int = option(10, "steps that tbptt, ekf and dekf look back", "Learning")

    def __post_init__(self) -> None:
        if self.learning not in RULES:
            raise ArgumentError(f"learning must be one of {', '.join(RULES)}, got {self.learning!r}")
        if self.look_back < 1:
            raise ArgumentError(f"look_back must be at least 1, got {self.look_back}")
        if self.learning != "bptt" and not self.one_way:
            raise ArgumentError(
                f"{self.learning} goes forward in time and cannot learn a network that reads both ways: "
                "give --one-way, or --learning bptt"
            )

    def learned(self, trainable: Stepwise) -> Trainable:
        """Return the trainable itself for bptt, which its own loss already is, else what learns it by the rule."""
        return trainable if self.learning == "bptt" else ByRule(trainable, self.learning, self.look_back)


class WholeSequences:
    """What a trainable over whole sequences carries from batch to batch: nothing. Its own class has the rest."""

    def carried(self) -> dict[str, Tensor]:
        """See `Trainable`."""
        return {}

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        """See `Trainable`."""


def starting_anew(batch: Batch) -> Tensor:
    """Return `resets` for a batch of whole sequences: every row starts from the initial state."""
    return torch.ones(len(batch.inputs), dtype=torch.bool, device=batch.inputs.device)
