"""Both directions of a layer on two threads: what a second thread brings where there is one sequence.

    python benchmarks/two_directions.py [--out benchmarks/results/two_directions.md]

Every size takes turns: two threads with the directions side by side, one thread, two threads one direction after the
other, and torch.nn.LSTM with two threads. Ratios are medians over the turns. The rule in `layers/side_by_side.py`
stands on this table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import recurra
from recurra.layers import side_by_side

SIZES = [(100, 64), (50, 128), (200, 128), (50, 256), (200, 256), (50, 320), (50, 384), (20, 512), (50, 512), (50, 768)]
"""Steps, and units of each direction; as many inputs. One sequence."""


HEAD = [
    "# Both directions on two threads",
    "",
    "Written by `python benchmarks/two_directions.py`: one sequence, a bidirectional LSTM, float32, forward without",
    "gradients. A ratio is a contestant's time divided by that of the directions side by side on two threads: above 1,",
    f"these are faster. torch {torch.__version__}.",
    "",
    "| T | H | thousands of weights a direction | side by side, ms | one thread | two, one after the other "
    "| torch.nn.LSTM, two | the rule takes it |",
    "|---|---|---|---|---|---|---|---|",
]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = [_row(steps, units, arguments.turns) for steps, units in SIZES]
    text = "\n".join([*HEAD, *rows, ""])
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


def _row(steps: int, units: int, turns: int) -> str:
    x = torch.randn(steps, 1, units)
    ours, theirs = recurra.LSTM(units, units, bidirectional=True), torch.nn.LSTM(units, units, bidirectional=True)
    rule = side_by_side._WEIGHTS

    def run(layer: Any, threads: int, least: float) -> Callable[[], None]:
        def one() -> None:
            layer(x)

        def prepared() -> None:
            torch.set_num_threads(threads)
            side_by_side._WEIGHTS = least  # type: ignore[assignment]
            one()

        return prepared

    contestants = [
        run(ours, 2, 0), run(ours, 1, float("inf")), run(ours, 2, float("inf")), run(theirs, 2, float("inf")),
    ]  # fmt: skip
    times: list[list[float]] = [[] for _ in contestants]
    with torch.no_grad():
        for turn in range(turns + 3):
            for k, contestant in enumerate(contestants):
                contestant()  # the threads of this contestant are awake
                start = time.perf_counter()
                for _ in range(5):
                    contestant()
                if turn >= 3:
                    times[k].append((time.perf_counter() - start) / 5)
    side_by_side._WEIGHTS = rule
    ratios = [statistics.median(b / a for a, b in zip(times[0], t, strict=True)) for t in times[1:]]
    weights = sum(p.numel() for p in ours.parameters()) // 2
    cells = [
        steps,
        units,
        f"{weights // 1000:,}",
        f"{statistics.median(times[0]) * 1e3:.2f}",
        *(f"{r:.2f}" for r in ratios),
    ]
    return "| " + " | ".join(map(str, cells)) + f" | {'yes' if weights >= rule else 'no'} |"


if __name__ == "__main__":
    main()
