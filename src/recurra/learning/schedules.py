"""The learning rate's course over training, a pure function of where the run stands."""

from __future__ import annotations

import math

from recurra.learning.checkpoint import Counters
from recurra.learning.options import TrainerOptions

__all__ = ["learning_rate", "watch_plateau"]

_THRESHOLD = 1e-4


def learning_rate(options: TrainerOptions, counters: Counters, total: int) -> float:
    """Return the learning rate of the next step; `total`: steps of the whole run.

    With the base rate r, the lowest rate m, w steps of warm-up and step s (from 0), u = s - w and U = total - w:

        warm-up    r (s + 1) / w                     while s < w
        constant   r
        cosine     m + (r - m) (1 + cos(pi u / U)) / 2     (Loshchilov and Hutter 2017, without restarts)
        linear     m + (r - m) (1 - u / U)
        step       r f^floor(u / decay_every)              f: decay_factor
        plateau    r f^k, k: decays made by `watch_plateau`
    """
    base, low = options.learning_rate, options.minimum_learning_rate
    step, warmup = counters.step, options.warmup_steps
    if step < warmup:
        return base * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    match options.schedule:
        case "constant":
            rate = base
        case "cosine":
            rate = low + (base - low) * (1 + math.cos(math.pi * done)) / 2
        case "linear":
            rate = low + (base - low) * (1 - done)
        case "step":
            rate = base * options.decay_factor ** ((step - warmup) // options.decay_every)
        case "plateau":
            rate = base * counters.rate_factor
    return max(rate, low)


def watch_plateau(options: TrainerOptions, counters: Counters, val_loss: float) -> None:
    """Note a validation: after more than `decay_patience` in a row without a gain of 0.01 %, the rate decays.

    As `torch.optim.lr_scheduler.ReduceLROnPlateau` with `patience=decay_patience`.
    """
    best = counters.plateau_best
    if best is None or val_loss < best * (1 - _THRESHOLD):
        counters.plateau_best, counters.plateau_waited = val_loss, 0
        return
    counters.plateau_waited += 1
    if counters.plateau_waited > options.decay_patience:
        counters.plateau_waited = 0
        counters.rate_factor *= options.decay_factor
