"""Random cells by the thousands: `PYTHONPATH=tests python -m random_cells.many 2000 --backend cpp --least 30`.

Prints in how many cells that were equal each operation took part. With `--least`, further cells are written until every
operation took part in so many.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from random_cells.check import check_random_cell, kernels_needed
from random_cells.choices import FromSeed, Replayed, smaller
from random_cells.strategy import OPERATIONS, Written, write_cell
from random_cells.together import built_together
from recurra.compiler import build
from recurra.core.errors import BackendError

__all__ = ["Report", "case", "run_many", "shrunk", "top_up"]


@dataclass
class Report:
    """What came of many cells.

    operations, carried: in how many cells that passed, with their gradients, each operation took part, and in how many
    of them inside the loop; refused: the backend's reasons; failed: seeds and messages, sources included.
    """

    cases: int = 0
    passed: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    carried: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)

    def rare(self, least: int = 30) -> list[str]:
        """Return the operations that took part in fewer cells than that."""
        return sorted(name for name in OPERATIONS if self.operations[name] < least)

    def __str__(self) -> str:
        lines = [
            f"{self.cases} cells: {self.passed} equal, {sum(self.refused.values())} refused, {len(self.failed)} failed"
        ]
        lines += [f"  {n:4} refused: {reason}" for reason, n in self.refused.most_common()]
        lines.append("  operation, cells, in the loop:")
        lines += [f"    {name:16} {self.operations[name]:5} {self.carried[name]:5}" for name in sorted(OPERATIONS)]
        return "\n".join(lines)


def case(seed: int, number: int) -> tuple[Written, FromSeed]:
    """Return cell `number` of a seed, which features the operations in turn, and the choices made for it."""
    choices = FromSeed(f"{seed}:{number}")
    return write_cell(choices, _feature(number)), choices


def run_many(n: int, seed: int, backend: str, *, first: int = 0, verbose: bool = False) -> Report:
    """Check n random cells and count."""
    report = Report()
    _check_together(range(first, first + n), seed, backend, report, verbose)
    return report


def top_up(report: Report, seed: int, backend: str, *, least: int, first: int, verbose: bool = False) -> None:
    """Check more cells, from number `first` on, until each operation took part in so many that were equal.

    Gives up after sixteen rounds: some operations seldom take part even in cells that were to contain them.
    """
    turn = -(-first // len(OPERATIONS))
    for _ in range(_ROUNDS):
        rare = report.rare(least)
        missing = max((least - report.operations[name] for name in rare), default=0)
        more = -(-missing // 2)
        if not more:
            return
        names = list(OPERATIONS)
        numbers = [k * len(names) + names.index(name) for k in range(turn, turn + more) for name in rare]
        _check_together(numbers, seed, backend, report, verbose)
        turn += more


def _check_together(numbers: Sequence[int], seed: int, backend: str, report: Report, verbose: bool) -> None:
    for batch in (numbers[k : k + _TOGETHER] for k in range(0, len(numbers), _TOGETHER)):
        needed = [run for number in batch for run in kernels_needed(case(seed, number)[0].source, backend)]
        with built_together(needed if backend == "cpp" else ()):
            _check_all(batch, seed, backend, report, verbose)


_MISHAP = re.compile(r": (compile|build|trial|trace): ")
"""Refusals that no cell should meet: an exception inside the compiler, C++ that is wrong, or other values."""

_TOGETHER = 16
"""How many cells' kernels are built as one translation unit."""

_ROUNDS = 16


def _check_all(numbers: Iterable[int], seed: int, backend: str, report: Report, verbose: bool) -> None:
    for number in numbers:
        written, _ = case(seed, number)
        report.cases += 1
        began = time.perf_counter()
        try:
            check_random_cell(written.source, backend)
        except Exception as failure:
            if isinstance(failure, BackendError) and not _MISHAP.search(str(failure)):
                report.refused[_reason(failure)] += 1
                continue
            report.failed[f"{seed}:{number}"] = f"{type(failure).__name__}: {failure}"
            if verbose:
                print(f"--- {seed}:{number} ({_feature(number)})\n{type(failure).__name__}: {failure}", flush=True)
        else:
            report.passed += 1
            report.operations.update(written.operations)
            report.carried.update(written.carried)
        if verbose and number % 20 == 19:
            print(f"{number + 1}: {report.passed} equal, {len(report.failed)} failed, "
                  f"{time.perf_counter() - began:.2f} s for the last", flush=True)  # fmt: skip


def shrunk(seed: int, number: int, backend: str, tries: int = 150) -> str:
    """Return the source of a simpler cell than `number` of a seed, one that fails with the same sort of exception."""
    written, choices = case(seed, number)
    wanted = _failure(written.source, backend)
    feature = _feature(number)

    def fails(record: list[int]) -> bool:
        return _failure(write_cell(Replayed(record), feature).source, backend) == wanted

    return write_cell(Replayed(smaller(choices.record, fails, tries)), feature).source


def _feature(number: int) -> str:
    return list(OPERATIONS)[number % len(OPERATIONS)]


def _failure(source: str, backend: str) -> str | None:
    try:
        check_random_cell(source, backend)
    except Exception as failure:
        return type(failure).__name__
    return None


def _reason(refusal: BackendError) -> str:
    """Return the reason without the place."""
    return str(refusal).split(" (<random cell")[0].replace("\n", " ")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first cell")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--least", type=int, default=0, help="cells that each operation is to take part in")
    parser.add_argument("-O", dest="level", default="1", help="the C++ compiler's level of optimisation; 1 is quickest")
    parser.add_argument("--shrink", action="store_true", help="make the first cell smaller while it fails")
    arguments = parser.parse_args()
    build.FLAGS = tuple(f"-O{arguments.level}" if flag.startswith("-O") else flag for flag in build.FLAGS)
    if arguments.shrink:
        print(shrunk(arguments.seed, arguments.first, arguments.backend))
        return
    report = run_many(arguments.n, arguments.seed, arguments.backend, first=arguments.first, verbose=True)
    if arguments.least:
        after = arguments.first + arguments.n
        top_up(report, arguments.seed, arguments.backend, least=arguments.least, first=after, verbose=True)
    print(report)
    print("failed:", ", ".join(report.failed) or "none")


if __name__ == "__main__":
    main()
