"""What no kernel can pass: torch.nn's time over that of its products alone, at the best rate of a matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kernel_bench.targets import geometric_mean

__all__ = ["bounds"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_PASSES = {"forward": 1, "forward + backward": 3}
"""Products over a state and an input; the backward has two of the size of each, for weights and for inputs."""


def bounds(results: dict[str, Any]) -> Iterator[str]:
    """Yield a section: for every shape on one thread, the largest ratio that this machine allows, and ours."""
    if "gemm" not in results:
        return
    rate = max(results["gemm"]["gemm_gflops"], *results["gemm"]["lstm_gflops"].values()) * 1e9
    rows: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    for e in results["table"]:
        if e["cell"] in _GATES and e["threads"] == 1 and "torch.nn" in e["ratios"]:
            steps, seconds = e["shape"][1] * e["shape"][0], e["seconds"]["torch.nn"]
            products = (
                2 * steps * _GATES[e["cell"]] * e["shape"][3] * (e["shape"][2] + e["shape"][3]) * _PASSES[e["mode"]]
            )
            shape = ", ".join(map(str, e["shape"]))
            found = (f"({shape})", seconds * rate / products, e["ratios"]["torch.nn"])
            rows.setdefault((e["cell"], e["mode"]), []).append(found)
    if not rows:
        return
    yield "\n## What the machine allows\n"
    yield (
        "torch.nn's time divided by what its products alone take at the best rate measured "
        f"({rate / 1e9:.0f} GFLOP/s): no kernel's ratio can be larger, whatever else it does. Where ours is "
        "near it, what was asked is out of reach of this machine. For one sequence (B = 1) the weights have to be read "
        f"from the cache at every step, so that no kernel comes near.{_of_a_call(results)}\n"
    )
    yield "| cell | mode | (B, T, I, H) | no more than | recurra |\n|---|---|---|---|---|"
    for (cell, mode), found in rows.items():
        for shape, most, ours in found:
            yield f"| {cell} | {mode} | {shape} | {most:.2f} | {ours:.2f} |"
        large = [(most, ours) for shape, most, ours in found if not shape.startswith("(1,")]
        if large:
            means = [geometric_mean(values) for values in zip(*large, strict=True)]
            yield f"| {cell} | {mode} | geometric mean of B > 1 | {means[0]:.2f} | {means[1]:.2f} |"


def _of_a_call(results: dict[str, Any]) -> str:
    """Return a sentence on what a call costs that has next to nothing to compute."""
    found = {
        e["mode"]: e["seconds"]["recurra"] * 1e6
        for e in results["table"]
        if (e["cell"], e["threads"], tuple(e["shape"])) == ("LSTM", 1, (1, 1, 64, 64))
    }
    if len(found) < 2:
        return ""
    forward, both = found["forward"], found["forward + backward"]
    return (
        f" One step of one row takes {forward:.0f} us forward and {both:.0f} us with its backward, nearly all of it "
        "Python's and autograd's part of a call, which every small shape pays too: that is what is missing there, in "
        "streaming, and beside contestants that are called from C++ or compiled whole."
    )
