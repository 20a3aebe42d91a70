"""The kernels against torch.nn, onnxruntime, JAX, plain eager loops and kernels written by hand: `make bench-kernels`.

    python benchmarks/kernels.py                              everything: about half an hour
    python benchmarks/kernels.py --quick                      two shapes, few turns: about a minute
    python benchmarks/kernels.py --only LSTM streaming --shapes 1,100,64,64 --threads 1

Writes kernels.json and kernels.md to benchmarks/results. A run with any flag writes only where --output says, so that
the committed results are always those of a whole run. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kernel_bench.figures import first_use, import_time
from kernel_bench.report import markdown
from kernel_bench.table import SHAPES
from kernel_contestants.cells import CELLS
from kernel_contestants.workload import CLASSIC
from recurra.core.errors import RecurraError
from recurra.scan import choose

__all__ = ["main"]

_HERE = Path(__file__).parent
_FIGURES = ("streaming", "gemm", "scaling", "memory", "first_use", "import_time")
_QUICK = ((1, 100, 64, 64), (8, 100, 32, 32))
_MEMORY = ((32, 100, 256, 256), (128, 784, 1, 128))


def main() -> None:
    """Measure, print, write."""
    arguments = _arguments()
    only = arguments.only or [*CLASSIC, *CELLS, *_FIGURES]
    shapes = arguments.shapes or (_QUICK if arguments.quick else SHAPES)
    results: dict[str, Any] = {"machine": _machine(), "table": []}
    cells = [name for name in (*CLASSIC, *CELLS) if name in only]
    for threads in arguments.threads if cells else ():
        for entry in _worker("table", threads, arguments.quick, cells=cells, shapes=shapes):
            results["table"].append(entry)
            _print(entry)
    for name in (name for name in _FIGURES if name in only):
        results[name] = _figure(name, arguments.quick)
        print(f"{name}: {results[name]}", flush=True)
    results["machine"]["load"].append(os.getloadavg()[0])
    results["command"] = " ".join(["python benchmarks/kernels.py", *_shown(sys.argv[1:])])
    if arguments.update:
        results = _updated(json.loads((arguments.output / "kernels.json").read_text()), results)
    _write(results, arguments)


def _updated(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured before, with what was measured now in its place."""
    known = {(e["cell"], tuple(e["shape"]), e["threads"], e["mode"]): e for e in (*before["table"], *now["table"])}
    command = f"{before['command']}` and `{now['command']}"
    return {**before, **now, "machine": before["machine"], "table": list(known.values()), "command": command}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few shapes, few turns")
    parser.add_argument("--threads", type=int, nargs="+", help="numbers of threads (1 2)")
    parser.add_argument("--shapes", type=_shape, nargs="+", help="B,T,I,H ...")
    parser.add_argument("--only", nargs="+", choices=[*CLASSIC, *CELLS, *_FIGURES], metavar="NAME",
                        help=f"some of {', '.join([*CLASSIC, *CELLS, *_FIGURES])}")  # fmt: skip
    parser.add_argument("--output", type=Path, help="folder to write to")
    parser.add_argument("--update", action="store_true", help="keep what --output holds and this run did not measure")
    arguments = parser.parse_args()
    whole = not (arguments.quick or arguments.threads or arguments.shapes or arguments.only)
    if arguments.output is None and whole:
        arguments.output = _HERE / "results"
    arguments.threads = arguments.threads or [1, 2]
    return arguments


def _shown(given: Sequence[str]) -> list[str]:
    """Return the arguments, but for where the results go."""
    at = given.index("--output") if "--output" in given else len(given)
    return [*given[:at], *given[at + 2 :]]


def _shape(text: str) -> tuple[int, ...]:
    shape = tuple(int(n) for n in text.split(","))
    if len(shape) != 4:
        raise argparse.ArgumentTypeError(f"expected B,T,I,H, got {text!r}")
    return shape


def _machine() -> dict[str, Any]:
    try:
        choose("cpp")
        backend = "compiled by backend='auto' where it supports the cell"
    except RecurraError:
        backend = "without its compiler: the plain loop"
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    versions = {name: importlib.metadata.version(name) for name in ("torch", "onnxruntime", "jax")}
    return {
        "processor": models[0].split(":")[1].strip() if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": versions,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "backend": backend,
        "load": [os.getloadavg()[0]],
    }


def _worker(what: str, threads: int, quick: bool, **options: Any) -> Iterator[dict[str, Any]]:
    """Measure in a process of its own; yield its results as they come."""
    request = {"what": what, "threads": threads, "quick": quick, **options}
    # The memory of freed tensors goes back to the system at once where peaks are measured.
    environment = {**os.environ, **_ENVIRONMENT, "OMP_NUM_THREADS": str(threads)}
    if what == "memory":
        environment["MALLOC_MMAP_THRESHOLD_"] = "65536"
    command = [sys.executable, "-m", "kernel_bench.worker", json.dumps(request)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        sys.exit(f"the measurement of {what} failed")


def _search_path() -> str:
    return os.pathsep.join([str(_HERE), *filter(None, [os.environ.get("PYTHONPATH")])])


_ENVIRONMENT = {"PYTHONPATH": _search_path()}


def _figure(name: str, quick: bool) -> Any:
    if name == "first_use":
        os.environ.update(_ENVIRONMENT)
        return first_use(quick)
    if name == "import_time":
        return import_time(quick)
    if name == "scaling":
        return list(_worker(name, 2, quick))
    if name == "memory":
        return [_memory("LSTM", shape, quick) for shape in _MEMORY]
    return next(iter(_worker(name, 1, quick)))


def _memory(cell: str, shape: Sequence[int], quick: bool) -> dict[str, Any]:
    peaks = {
        name: next(iter(_worker("memory", 1, quick, cell=cell, shape=shape, contestant=name)))["bytes"]
        for name in ("recurra", "torch.nn")
    }
    return {"cell": cell, "shape": list(shape), **peaks}


def _print(entry: dict[str, Any]) -> None:
    ratios = "  ".join(f"{name} {ratio:.2f}" for name, ratio in entry["ratios"].items())
    milliseconds = 1e3 * entry["seconds"]["recurra"]
    where = f"{entry['threads']} | {entry['cell']:13} {entry['shape']!s:20} {entry['mode']:18}"
    print(f"{where} recurra {milliseconds:9.3f} ms | {ratios}", flush=True)


def _write(results: dict[str, Any], arguments: argparse.Namespace) -> None:
    page = markdown(results)
    if arguments.output is None:
        print(page)
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "kernels.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.output / "kernels.md").write_text(page)
    print(f"written: {arguments.output / 'kernels.md'}")


if __name__ == "__main__":
    main()
