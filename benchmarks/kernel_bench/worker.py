"""One process of the benchmark: `python -m kernel_bench.worker REQUEST`, which prints one JSON object a line.

A process has one number of threads from its start to its end, and is bound to as many processors, which also holds for
contestants that take no such setting (JAX). REQUEST is a JSON object: `what` to measure, `threads`, and its options.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["main"]


def main(request: dict[str, Any]) -> None:
    """Measure what was asked for, printing results as they come."""
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, processors[: request["threads"]])
    import torch

    torch.set_num_threads(request["threads"])
    for result in _measure(**request):
        print(json.dumps(result), flush=True)


def _measure(what: str, threads: int, quick: bool, **options: Any) -> Iterator[dict[str, Any]]:
    # Imported here: what is imported decides the memory that is measured, and must come after the binding.
    if what == "table":
        from kernel_bench.table import table

        return table(threads=threads, quick=quick, **options)
    if what == "memory":
        from kernel_bench.memory import memory

        return memory(**options)
    from kernel_bench import figures

    return {"streaming": figures.streaming, "gemm": figures.gemm, "scaling": figures.scaling}[what](quick=quick)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
