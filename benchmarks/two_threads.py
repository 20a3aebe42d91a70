"""One sequence on two threads: a layer whose units they share, two layers as a wave, both directions side by side.

    python benchmarks/two_threads.py [--out benchmarks/results/two_threads.md]

Contestants take turns; ratios are medians over the turns. The rules in `scan/dealing.py` (threads that share rows meet
at every step) and in `scan/wave.py` (a thread for each layer, or each direction) stand on these tables.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

import recurra
from recurra.scan import dealing, wave

SIZES = [(100, 64), (100, 96), (100, 128), (100, 192), (100, 256), (50, 384), (50, 512), (50, 768)]
"""Steps, and units of each direction; as many inputs. One sequence."""

NEVER = float("inf")
HEAD = [
    "# One sequence on two threads",
    "",
    "Written by `python benchmarks/two_threads.py`: one sequence, LSTM, float32. A ratio is a contestant's time",
    "divided by that of the first: above 1, the first is faster. torch.nn.LSTM has two threads.",
    f"torch {torch.__version__}.",
    "",
    "## A layer whose units two threads share",
    "",
    "| T | H | thousand operations a step | forward, ms | one thread | torch.nn.LSTM | forward + backward, ms "
    "| one thread | torch.nn.LSTM | the rule takes it |",
    "|---|---|---|---|---|---|---|---|---|---|",
]
LAYERS = [
    "",
    "## Two layers as a wave, forward without gradients",
    "",
    "| T | H | thousand operations a layer's step | as a wave, ms | one thread | one after the other, shared "
    "| torch.nn.LSTM | the rule takes it |",
    "|---|---|---|---|---|---|---|---|",
]
DIRECTIONS = [
    "",
    "## Both directions of a layer",
    "",
    "Without gradients at once, with them one after the other, shared.",
    "",
    "| T | H | thousand operations a step | forward, ms | one thread | one after the other, shared | torch.nn.LSTM "
    "| the rule takes it | forward + backward, ms | one thread | torch.nn.LSTM |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
]


class Rules(NamedTuple):
    """Threads, and where the rules begin."""

    threads: int
    share: float
    wave: float = NEVER
    ways: float = NEVER


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    shared = [_shared(steps, units, arguments.turns) for steps, units in SIZES]
    layers = [_layers(steps, units, arguments.turns) for steps, units in SIZES]
    directions = [_directions(steps, units, arguments.turns) for steps, units in SIZES]
    text = "\n".join([*HEAD, *shared, *LAYERS, *layers, *DIRECTIONS, *directions, ""])
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


def _shared(steps: int, units: int, turns: int) -> str:
    x = torch.randn(steps, 1, units, requires_grad=True)
    ours, theirs = recurra.LSTM(units, units), torch.nn.LSTM(units, units)
    rules = [Rules(2, 1), Rules(1, NEVER), Rules(2, NEVER)]
    operations = 2 * 2 * 4 * units * units
    cells = [str(steps), str(units), f"{operations // 1000:,}"]
    for backward in (False, True):
        calls = [_call(layer, x, backward) for layer in (ours, ours, theirs)]
        cells += _compared(list(zip(rules, calls, strict=True)), turns)
    return _line([*cells, "yes" if operations >= 2 * dealing._WORK_A_SHARE else "no"])


def _layers(steps: int, units: int, turns: int) -> str:
    x = torch.randn(steps, 1, units)
    # How a layer runs is settled at its first calls, so every way has a layer of its own.
    rules = [Rules(2, NEVER, wave=0), Rules(1, NEVER), Rules(2, 1), Rules(2, NEVER)]
    layers = [*(recurra.LSTM(units, units, 2) for _ in rules[1:]), torch.nn.LSTM(units, units, 2)]
    calls = [_call(layer, x, backward=False) for layer in layers]
    operations = 2 * 2 * 4 * units * units
    cells = [str(steps), str(units), f"{operations // 1000:,}", *_compared(list(zip(rules, calls, strict=True)), turns)]
    takes = wave.worth_a_wave(steps, 1, [operations] * 2, 2)
    return _line([*cells, "yes" if takes else "no"])


def _directions(steps: int, units: int, turns: int) -> str:
    x = torch.randn(steps, 1, units, requires_grad=True)
    rules = [Rules(2, NEVER, ways=0), Rules(1, NEVER), Rules(2, 1), Rules(2, NEVER)]
    kinds = [recurra.LSTM, recurra.LSTM, recurra.LSTM, torch.nn.LSTM]
    layers = [kind(units, units, bidirectional=True) for kind in kinds]
    operations = 2 * 2 * 4 * units * units
    calls = [_call(layer, x, backward=False) for layer in layers]
    cells = [str(steps), str(units), f"{operations // 1000:,}", *_compared(list(zip(rules, calls, strict=True)), turns)]
    cells.append("yes" if wave.worth_two_ways(steps, 1, [operations] * 2, 2) else "no")
    calls = [_call(layer, x, backward=True) for layer in (layers[2], layers[1], layers[3])]
    rules = [Rules(2, dealing._WORK_A_SHARE), Rules(1, NEVER), Rules(2, NEVER)]
    return _line([*cells, *_compared(list(zip(rules, calls, strict=True)), turns)])


def _call(layer: Any, x: torch.Tensor, backward: bool) -> Callable[[], None]:
    weights = list(layer.parameters())

    def call() -> None:
        if backward:
            torch.autograd.grad(layer(x)[0].sum(), [x, *weights])
        else:
            with torch.no_grad():
                layer(x)

    return call


def _compared(contestants: list[tuple[Rules, Callable[[], None]]], turns: int) -> list[str]:
    """Return the first one's milliseconds, and the others' times divided by its own."""
    before = Rules(torch.get_num_threads(), dealing._WORK_A_SHARE, wave._WORK, wave._TWO_WAYS)
    times: list[list[float]] = [[] for _ in contestants]
    for turn in range(turns + 3):
        for k, (rules, call) in enumerate(contestants):
            _set(rules)
            call()  # the threads of this contestant are awake
            start = time.perf_counter()
            for _ in range(5):
                call()
            if turn >= 3:
                times[k].append((time.perf_counter() - start) / 5)
    _set(before)
    ratios = [statistics.median(b / a for a, b in zip(times[0], t, strict=True)) for t in times[1:]]
    return [f"{statistics.median(times[0]) * 1e3:.2f}", *(f"{r:.2f}" for r in ratios)]


def _set(rules: Rules) -> None:
    torch.set_num_threads(rules.threads)
    dealing._WORK_A_SHARE = rules.share  # type: ignore[assignment]
    wave._WORK = rules.wave  # type: ignore[assignment]
    wave._TWO_WAYS = rules.ways  # type: ignore[assignment]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
