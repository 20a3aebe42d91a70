"""Where a random cell's decisions come from: hypothesis, which can make a failing example small, or a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import hypothesis.strategies as st

__all__ = ["Choices", "FromHypothesis", "FromSeed", "Replayed", "chance", "one_of", "smaller"]

T = TypeVar("T")


class Choices(Protocol):
    """Anything that chooses integers; smaller ones mean simpler cells."""

    def integer(self, least: int, most: int) -> int:
        """Return an integer between two bounds, both possible."""
        ...


class FromHypothesis:
    """Choices by hypothesis."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, least: int, most: int) -> int:
        """Return an integer between two bounds, both possible."""
        return self._draw(st.integers(least, most))


class FromSeed:
    """Choices by a seed, with a record of what was chosen beyond each lower bound."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self.record: list[int] = []

    def integer(self, least: int, most: int) -> int:
        """Return an integer between two bounds, both possible."""
        chosen = self._random.randint(least, most)
        self.record.append(chosen - least)
        return chosen


class Replayed:
    """A record (perhaps changed) chosen once more; where it ends, or is out of bounds, the simplest choice."""

    def __init__(self, record: Sequence[int]) -> None:
        self._left = iter(record)
        self.record: list[int] = []

    def integer(self, least: int, most: int) -> int:
        """Return an integer between two bounds, both possible."""
        chosen = min(next(self._left, 0), most - least)
        self.record.append(chosen)
        return least + chosen


def chance(choices: Choices, in_n: int) -> bool:
    """Return True once in n times; False is the simpler choice."""
    return choices.integer(0, in_n - 1) == in_n - 1


def one_of(choices: Choices, options: Sequence[T]) -> T:
    """Return one of some options, the first being the simplest."""
    return options[choices.integer(0, len(options) - 1)]


def smaller(record: Sequence[int], fails: Callable[[list[int]], bool], tries: int = 200) -> list[int]:
    """Return a simpler record that still fails: parts are left out and numbers made smaller, while tries last."""
    best = list(record)
    width = max(1, len(best) // 2)
    while width and tries > 0:
        at = 0
        while at < len(best) and tries > 0:
            for attempt in ([*best[:at], *best[at + width :]], [*best[:at], *[0] * width, *best[at + width :]]):
                if attempt == best or len(attempt) > len(best):
                    continue
                tries -= 1
                if fails(attempt):
                    best = attempt
                    break
            else:
                at += width
        width //= 2
    return best
