"""The results as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel_bench.bounds import bounds
from kernel_bench.targets import geometric_mean, ratios, targets

__all__ = ["markdown"]

_NAMES = {True: "yes", False: "**no**", None: "not measured"}


def markdown(results: dict[str, Any]) -> str:
    """Return the page: the machine, every target, the table, the single figures."""
    return "\n".join(_page(results)) + "\n"


def _page(results: dict[str, Any]) -> Iterator[str]:
    machine = results["machine"]
    yield "# Kernels\n"
    yield (
        f"{machine['processor']}, {machine['cores']} processors, {machine['system']}; "
        f"{', '.join(f'{name} {version}' for name, version in machine['versions'].items())}; {machine['date']}. "
        f"Load while measuring: {machine['load'][0]:.1f} at the start, {machine['load'][1]:.1f} at the end. "
        f"recurra: {machine['backend']}.\n"
    )
    yield (
        f"Written by `{results.get('command', 'python benchmarks/kernels.py')}`. float32. A ratio is a contestant's "
        "time divided by recurra's: above 1, recurra is faster. Contestants take turns, and a ratio is the median over "
        "the turns. Before anything is timed, every contestant's output and gradients are checked against a plain "
        "eager loop in float64. The gradient of the input counts in everybody's backward. The hand-written kernels are "
        "single-threaded.\n"
    )
    yield "## What was to be reached\n"
    yield "| figure | to reach | measured | reached |\n|---|---|---|---|"
    for t in targets(results):
        measured = "-" if t.measured is None else f"{t.measured:.3g}{t.unit}"
        yield f"| {t.text} | {'>=' if t.at_least else '<='} {t.bound:g}{t.unit} | {measured} | {_NAMES[t.reached]} |"
    threads = sorted({entry["threads"] for entry in results["table"]})
    for n in threads:
        for mode in ("forward", "forward + backward"):
            yield from _table(results, n, mode)
    yield from bounds(results)
    yield from _figures(results)


_BUSY = """\
Other contestants' threads wait for work by keeping their processor busy for a while after their turn, and here and
there an entry is that of a thread which had to share one: what scales worst here scales as the figures of two threads
below say where nothing else is measured beside it.
"""


def _table(results: dict[str, Any], threads: int, mode: str) -> Iterator[str]:
    entries = [e for e in results["table"] if e["threads"] == threads and e["mode"] == mode]
    if not entries:
        return
    others = list(dict.fromkeys(name for e in entries for name in e["ratios"]))
    yield f"\n## {mode.capitalize()}, {threads} thread{'s' * (threads > 1)}\n"
    if threads > 1:
        yield _BUSY
    yield f"| cell | (B, T, I, H) | recurra, ms | {' | '.join(others)} |\n|---|---|---|{'---|' * len(others)}"
    for cell in dict.fromkeys(e["cell"] for e in entries):
        for e in (e for e in entries if e["cell"] == cell):
            cells = (f"{e['ratios'][name]:.2f}" if name in e["ratios"] else "" for name in others)
            shape = ", ".join(map(str, e["shape"]))
            yield f"| {cell} | ({shape}) | {1e3 * e['seconds']['recurra']:.3g} | {' | '.join(cells)} |"
        means = (ratios(results, name, [cell], mode, threads) for name in others)
        cells = (f"**{geometric_mean(m):.2f}**" if m else "" for m in means)
        yield f"| {cell} | geometric mean | | {' | '.join(cells)} |"


def _figures(results: dict[str, Any]) -> Iterator[str]:
    if stream := results.get("streaming"):
        yield "\n## One streaming step, H = 64, one sequence\n"
        yield "; ".join(f"{name} {1e6 * s:.1f} us" for name, s in stream["seconds"].items()) + "."
    if gemm := results.get("gemm"):
        yield "\n## Rate of the LSTM forward, one thread\n"
        shares = (f"{s}: {gemm['lstm_gflops'][s]:.0f} GFLOP/s ({share:.2f})" for s, share in gemm["share"].items())
        yield f"Best large matrix product: {gemm['gemm_gflops']:.0f} GFLOP/s. LSTM at {'; '.join(shares)}."
    if scaling := results.get("scaling"):
        yield "\n## Gain of two threads over one\n"
        yield "| (B, T, I, H) | torch.mm | LSTM forward | LSTM forward + backward |\n|---|---|---|---|"
        for e in scaling:
            gain = e["gain"]
            shape = ", ".join(map(str, e["shape"]))
            yield f"| ({shape}) | {gain['mm']:.2f} | {gain['forward']:.2f} | {gain['forward + backward']:.2f} |"
    if memory := results.get("memory"):
        yield "\n## Peak memory of training, beyond the input and the weights\n"
        yield "| cell | (B, T, I, H) | recurra, MB | torch.nn, MB |\n|---|---|---|---|"
        for e in memory:
            shape = ", ".join(map(str, e["shape"]))
            yield f"| {e['cell']} | ({shape}) | {e['recurra'] / 1e6:.1f} | {e['torch.nn'] / 1e6:.1f} |"
    if use := results.get("first_use"):
        yield "\n## First training step of a cell, beyond the second\n"
        yield "| cell | empty cache, s | from the cache, s |\n|---|---|---|"
        for cell, seconds in use.items():
            yield f"| {cell} | {seconds['fresh']:.2f} | {seconds['cached']:.3f} |"
    if (seconds := results.get("import_time")) is not None:
        yield f"\n`import recurra` takes {seconds:.3f} s after `import torch`."
