"""Peak memory of training on files larger than memory: the two tasks over labelled text, on generated files.

A file of words is written, `recurra train` learns some steps from it in a process of its own, and the most memory that
process ever held is told, beside that of a file ten times as small: what is streamed must not grow with the file.

python benchmarks/streamed_training.py [--megabytes 30 300 ...] [--out FILE]
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = 50_000
TASKS = {"text-classification": "a.csv", "tagging": "a.txt"}


def write(file: Path, megabytes: float, *, labels: bool) -> None:
    """Write lines of twenty words, drawn by Zipf's law: as a table of two classes, or each word with a tag."""
    draw = random.Random(0)
    words = [f"w{i}" if labels else f"w{i}/{'NVA'[i % 3]}" for i in range(WORDS)]
    weights = [1 / (i + 1) for i in range(WORDS)]
    drawn = iter(draw.choices(words, weights, k=200_000))
    lines = [" ".join(row) for row in zip(*[drawn] * 20, strict=True)]
    number = 0
    with file.open("w", encoding="utf-8") as out:
        if labels:
            out.write("text,label\n")
        while out.tell() < megabytes * 2**20:
            for line in lines:
                number += 1  # No two lines are equal.
                out.write(
                    f"n{number} {line},{'odd' if len(line) % 2 else 'even'}\n" if labels else f"n{number}/C {line}\n"
                )


def measure(task: str, megabytes: float, steps: int) -> tuple[float, float]:
    """Return the most megabytes that training held, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, TASKS[task])
        write(file, megabytes, labels=task != "tagging")
        command = [
            sys.executable, __file__, "--child", "train", task, "--data", file, "--out", Path(folder, "model"),
            "--steps", steps, "--in-memory", "0", "--validation", "0.01", "--hidden-size", "32",
        ]  # fmt: skip
        began = time.perf_counter()
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        return float(done.stdout.splitlines()[-1]), time.perf_counter() - began


def child(arguments: list[str]) -> None:
    """Run the command line in this process, and print the most megabytes that it held."""
    from recurra.cli import main as command_line

    sys.argv = ["recurra", *arguments]
    try:
        command_line()
    except SystemExit as end:
        if end.code:
            raise
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Measure both tasks on files of several sizes and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[20, 200])
    parser.add_argument("--tasks", nargs="+", choices=[*TASKS], default=[*TASKS])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()
    rows = [
        "# Training on files larger than memory",
        "",
        "The most memory a process ever held that learned from a generated file, streamed (`--in-memory 0`), in "
        f"{a.steps} steps,",
        "and its seconds: it reads the whole file once or twice before, for its labels and its faults. "
        "`benchmarks/streamed_training.py`.",
        "",
        "| task | file, MB | peak memory, MB | seconds |",
        "|---|---:|---:|---:|",
    ]
    for task in a.tasks:
        for megabytes in a.megabytes:
            peak, seconds = measure(task, megabytes, a.steps)
            rows.append(f"| {task} | {megabytes:g} | {peak:.0f} | {seconds:.0f} |")
            print(rows[-1], flush=True)
    if a.out is not None:
        a.out.write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    child(sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main()
