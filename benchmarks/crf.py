"""The CRF beside pytorch-crf: log-likelihood forward and backward, and decoding.

    python benchmarks/crf.py [--rows 32] [--steps 100] [--tags 45] [--rounds 15] [--out benchmarks/results/crf.md]

Needs `pip install pytorch-crf`. Both have the same weights, must give the same likelihood and gradient, and take turns.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torchcrf
from torch import Tensor

from recurra.heads import CRF

RESULT = Path(__file__).parent / "results" / "crf.md"


def main() -> None:
    """Compare, print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in (("rows", 32), ("steps", 100), ("tags", 45), ("rounds", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, default=RESULT)
    a = parser.parse_args()
    torch.manual_seed(0)
    ours, theirs = CRF(a.tags), torchcrf.CRF(a.tags, batch_first=True)
    with torch.no_grad():
        theirs.start_transitions.copy_(ours.start)
        theirs.transitions.copy_(ours.between)
        theirs.end_transitions.copy_(ours.end)
    outputs, targets = torch.randn(a.rows, a.steps, a.tags), torch.randint(a.tags, (a.rows, a.steps))
    ragged = torch.arange(a.steps) < torch.randint(a.steps // 2, a.steps + 1, (a.rows, 1))
    lines = [
        "# A CRF beside pytorch-crf",
        "",
        f"{a.rows} rows of {a.steps} steps, {a.tags} tags, single precision. "
        f"Medians of {a.rounds} rounds in turns, in milliseconds.",
        "",
        "| | recurra | pytorch-crf | ratio |",
        "|---|---:|---:|---:|",
    ]
    for label, mask in (("all of one length", torch.ones_like(ragged)), ("ragged, half to full length", ragged)):
        gap = agreement(ours, theirs, outputs, targets, mask)
        print(f"{label}: gradients differ by at most {gap:.1e}")
        pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "log-likelihood, forward and backward": (
                lambda mask=mask: learn(lambda o: ours.loss(o, targets, mask), outputs),
                lambda mask=mask: learn(lambda o: -theirs(o, targets, mask), outputs),
            ),
            "decoding": (
                lambda mask=mask: ours.predict(outputs, mask),
                lambda mask=mask: theirs.decode(outputs, mask),
            ),
        }
        for what, (one, other) in pairs.items():
            mine, others = in_turns(one, other, a.rounds)
            lines.append(f"| {what}, {label} | {mine:.2f} | {others:.2f} | {others / mine:.1f} |")
    machine = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} thread(s)"
    lines += ["", f"Machine: {machine}; torch {torch.__version__}, pytorch-crf {version('pytorch-crf')}."]
    text = "\n".join(lines) + "\n"
    a.out.write_text(text, encoding="utf-8")
    print(text)


def agreement(ours: CRF, theirs: Any, outputs: Tensor, targets: Tensor, mask: Tensor) -> float:
    """Return the largest difference of the gradients by the outputs and by the transitions."""
    o = outputs.clone().requires_grad_()
    first = torch.autograd.grad(ours.loss(o, targets, mask), (o, ours.between))
    second = torch.autograd.grad(-theirs(o, targets, mask), (o, theirs.transitions))
    return max(float((x - y).abs().max()) for x, y in zip(first, second, strict=True))


def learn(loss: Callable[[Tensor], Tensor], outputs: Tensor) -> None:
    """Go forward and backward once."""
    loss(outputs.clone().requires_grad_()).backward()


def in_turns(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Return the median milliseconds of both, run in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 2):
        for run, found in zip((one, other), times, strict=True):
            began = time.perf_counter()
            run()
            if turn > 1:
                found.append(1000 * (time.perf_counter() - began))
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()
