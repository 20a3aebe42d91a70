"""A diagnosis in plain words, with what to try."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["verdict"]

_VANISHED, _EXPLODED = 1e-3, 1e3


def verdict(found: Mapping[str, Any], steps: int) -> list[str]:
    """Return sentences about a diagnosis's numbers, the most important first; see `Diagnosis` for their names."""
    said: list[str] = []
    gamma = found["gamma"]
    over = gamma ** (steps - 1) if gamma < 1 else gamma ** min(steps - 1, 300 / max(gamma, 1))
    if over < _VANISHED:
        said.append(
            f"The gradient vanishes: by a factor of {gamma:.3f} a step, {over:.1g} over these {steps} steps. Try a "
            "gated cell with a forget bias or chrono initialisation, an orthogonal start of the recurrent weights, or "
            f"a window no longer than what is heard anyway ({_heard(found)})."
        )
    elif over > _EXPLODED:
        said.append(
            f"The gradient explodes: by a factor of {gamma:.3f} a step, {over:.1g} over these {steps} steps. Clip it "
            "(by norm), start the recurrent weights orthogonal or smaller, or take a shorter window."
        )
    else:
        said.append(f"The gradient lives: a factor of {gamma:.3f} a step, {over:.2g} over these {steps} steps.")
    if found["lyapunov"] > 0.01:
        said.append(
            f"The state itself is chaotic (leading Lyapunov exponent {found['lyapunov']:.3f} > 0): what is small "
            "grows, so that far predictions and far gradients are noise. Try smaller recurrent weights."
        )
    said += [
        f"The squashing function {name} is at its ends for {100 * share:.0f} % of its values, where it hardly has "
        "a slope: try smaller weights or inputs, or layer normalisation."
        for name, share in found["saturation"].items()
        if share > 0.5
    ]
    if found["dead"] > 0.1:
        said.append(
            f"{100 * found['dead']:.0f} % of the state never moves: try other first weights or another nonlinearity."
        )
    large = [name for name, ratio in found["updates"].items() if ratio > 0.1]
    if large:
        said.append(
            f"An update changes {', '.join(large[:3])} by more than a tenth of its size: try a smaller learning rate, "
            "or clip."
        )
    return said


def _heard(found: Mapping[str, Any]) -> str:
    return "the whole sequence" if found["memory"] is None else f"about {found['memory']} steps"
