"""What can be chosen about training; the command line's flags are made from these fields."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from recurra.core.errors import ArgumentError

__all__ = ["DEFAULT_EPOCHS", "TrainerOptions"]

DEFAULT_EPOCHS = 10
"""Epochs where neither `steps` nor `epochs` is given."""

_CHANGEABLE = ("steps", "epochs", "patience", "checkpoint_every")


def _option(default: Any, text: str, panel: str = "Training") -> Any:
    return field(default=default, metadata={"help": text, "panel": panel})


@dataclass(frozen=True)
class TrainerOptions:
    """How to train. Each field's `metadata["help"]` says what it means; None is a default that depends on the rest.

    `steps`, `epochs`, `patience` and `checkpoint_every` may be changed when a run is resumed: they decide when it stops
    and what is saved, not how a step is made. (Schedules that run to the end of training then run to the new end.)
    """

    steps: int | None = _option(None, "updates to make (give this or epochs)")
    epochs: int | None = _option(None, f"passes over the data (default {DEFAULT_EPOCHS}, where no steps are given)")
    optimizer: Literal["adam", "adamw", "sgd"] = _option("adam", "adam, adamw or sgd")
    learning_rate: float = _option(0.002, "learning rate after the warm-up")
    weight_decay: float = _option(0.0, "weight decay; decoupled from the gradient with adamw, an L2 term otherwise")
    momentum: float = _option(0.0, "momentum of sgd")
    schedule: Literal["constant", "cosine", "linear", "step", "plateau"] = _option(
        "constant", "course of the learning rate: constant, cosine, linear, step or plateau"
    )
    warmup_steps: int = _option(0, "steps over which the learning rate grows to its full size")
    decay_every: int = _option(1000, "schedule step: updates between decays")
    decay_patience: int = _option(2, "schedule plateau: validations without gain that are borne before a decay")
    decay_factor: float = _option(0.5, "step and plateau: what the learning rate is multiplied by")
    minimum_learning_rate: float = _option(0.0, "the learning rate goes no lower")
    clip_norm: float = _option(5.0, "largest norm of the gradient; 0: not clipped")
    clip_value: float = _option(0.0, "largest size of a gradient's element; 0: not clipped")
    l1: float = _option(0.0, "cost of the sum of all weights' sizes (for squares: weight-decay)", "Regularisation")
    activation_cost: float = _option(0.0, "AR: cost of a layer's large outputs", "Regularisation")
    temporal_cost: float = _option(0.0, "TAR: cost of quick changes of a layer's outputs", "Regularisation")
    gradient_flow: float = _option(
        0.0, "Pascanu's regulariser: cost of steps that shrink or grow the gradient", "Regularisation"
    )
    weight_noise: float = _option(0.0, "standard deviation of noise on the weights at each update", "Regularisation")
    average_after: int = _option(
        0, "average weights once no gain was made for so many validations (NT-ASGD); 0: never", "Regularisation"
    )
    validate_every: int | None = _option(None, "steps between validations (default: at the end of each epoch)")
    patience: int | None = _option(None, "validations without gain after which training stops (default: never)")
    checkpoint_every: int = _option(500, "steps between checkpoints")
    seed: int = _option(0, "seed of all random numbers")
    log_every: int = _option(10, "steps between lines of metrics.jsonl")

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise ArgumentError(f"expected steps or epochs, got both (steps={self.steps}, epochs={self.epochs})")
        whole = ("steps", "epochs", "decay_every", "validate_every", "patience", "checkpoint_every", "log_every")
        for name in whole:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentError(f"{name} must be at least 1, got {value}")
        for name in (
            "weight_decay",
            "momentum",
            "warmup_steps",
            "minimum_learning_rate",
            "clip_norm",
            "clip_value",
            "l1",
            "activation_cost",
            "temporal_cost",
            "gradient_flow",
            "weight_noise",
            "average_after",
            "decay_patience",
        ):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ArgumentError(f"{name} must be zero or above, got {value}")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise ArgumentError(f"learning_rate must be above zero, got {self.learning_rate}")
        if not 0 < self.decay_factor <= 1:
            raise ArgumentError(f"decay_factor must be above 0 and at most 1, got {self.decay_factor}")
        if not 0 <= self.seed < 2**63:
            raise ArgumentError(f"seed must be from 0 to 2**63 - 1, got {self.seed}")
        for name, known in (
            ("optimizer", ("adam", "adamw", "sgd")),
            ("schedule", ("constant", "cosine", "linear", "step", "plateau")),
        ):
            if getattr(self, name) not in known:
                raise ArgumentError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")

    def binding(self) -> dict[str, Any]:
        """Return the options that must be the same when a run is resumed."""
        return {name: value for name, value in asdict(self).items() if name not in _CHANGEABLE}
