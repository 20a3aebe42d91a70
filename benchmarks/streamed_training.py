"""Peak memory of training on files larger than memory: the two tasks over labelled text, on generated files.

A file of words is written (or a folder of them for each label), `recurra train` learns some steps from it in a process
of its own, and the most memory that process ever held is told, for several sizes: what is streamed must not grow with
the file. The index of the file, which does grow, is weighed by itself. Rows that are not measured anew stay.

python benchmarks/streamed_training.py [--megabytes 30 100 300] [--contestants ...] [--out FILE]
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from recurra.data.labelled_documents import stream_labelled
from recurra.data.labelled_text import stream_tagged

__all__ = ["main"]

RESULT = Path(__file__).parent / "results" / "streamed_training.md"
WORDS = 50_000
CONTESTANTS = {
    "classification, CSV": ("text-classification", "a.csv"),
    "classification, a folder a label": ("text-classification", "texts"),
    "tagging, token/tag": ("tagging", "a.txt"),
}
LINES_A_FILE = 20
"""In a folder a text is of so many lines: file systems hold few short files."""

SAMPLE = 64
"""Megabytes above which the sample that is held, of 8 or 32 MB, no longer grows."""


class Row(NamedTuple):
    """What was measured of one file."""

    name: str
    megabytes: float
    peak: float
    indexed: float
    seconds: float


def main() -> None:
    """Measure all on files of several sizes and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[30, 100, 300])
    parser.add_argument("--contestants", nargs="+", choices=[*CONTESTANTS], default=[*CONTESTANTS])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out", type=Path, default=RESULT)
    a = parser.parse_args()
    rows = {(row.name, row.megabytes): row for row in _earlier(a.out)}
    for name in a.contestants:
        for megabytes in a.megabytes:
            row = rows[name, megabytes] = _measured(name, megabytes, a.steps)
            print(_cells(row), flush=True)
            text = "\n".join(_report(sorted(rows.values()), a.steps)) + "\n"
            a.out.write_text(text, encoding="utf-8")


def _report(rows: list[Row], steps: int) -> list[str]:
    names = [name for name in CONTESTANTS if any(row.name == name for row in rows)]
    ordered = {name: [row for row in rows if row.name == name] for name in names}
    return [
        "# Training on files larger than memory",
        "",
        "The most memory a process ever held that learned from a generated file, streamed (`--in-memory 0`), in "
        f"{steps} steps: Python, torch and the model are in it. Beside it the index of the file, which alone grows "
        "with it, and the seconds of all that: the whole file is read once before, for its labels and its faults. "
        f"Lines of twenty words; in the folders a file is {LINES_A_FILE} of them.",
        "",
        "| what | file, MB | peak memory, MB | index, MB | seconds |",
        "|---|---:|---:|---:|---:|",
        *(_cells(row) for group in ordered.values() for row in group),
        "",
        *(_slope(name, group) for name, group in ordered.items()),
        "",
        "An index has under 200 bytes for each 256 KiB of a file, however many lines those are. Of a folder it has the "
        "names of its files: what a file costs is the length of its name.",
        "",
        "Made by `benchmarks/streamed_training.py`; the sizes in the table were measured, 10 GB are extrapolated.",
    ]


def _earlier(file: Path) -> list[Row]:
    """Return the rows of a table that was written before."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [Row(name, *map(float, numbers)) for name, *numbers in cells if name in CONTESTANTS]


def _measured(name: str, megabytes: float, steps: int) -> Row:
    task, file_name = CONTESTANTS[name]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, file_name)
        if "." in file_name:
            file.write_text("text,label\n" if file.suffix == ".csv" else "", encoding="utf-8")
            with file.open("a", encoding="utf-8") as out:
                out.writelines(_lines(file.suffix, megabytes))
        else:
            _write_files(file, megabytes)
        command = [
            sys.executable, __file__, "--child", "train", task, "--data", file, "--out", Path(folder, "model"),
            "--steps", steps, "--in-memory", "0", "--validation", "0.01", "--hidden-size", "32",
        ]  # fmt: skip
        began = time.perf_counter()
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(done.stderr)
        return Row(name, megabytes, float(done.stdout.splitlines()[-1]), _index(task, file) / 2**20, seconds)


def _lines(suffix: str, megabytes: float) -> Iterator[str]:
    """Yield lines of twenty words, drawn by Zipf's law, no two alike: rows of a table, or each word with a tag."""
    draw = random.Random(0)
    words = [f"w{i}/{'NVA'[i % 3]}" if suffix == ".txt" else f"w{i}" for i in range(WORDS)]
    drawn = iter(draw.choices(words, [1 / (i + 1) for i in range(WORDS)], k=200_000))
    rows = [" ".join(row) for row in zip(*[drawn] * 20, strict=True)]
    written = number = 0
    while written < megabytes * 2**20:
        row = rows[number % len(rows)]
        if suffix == ".csv":
            line = f"n{number} {row},{_label(row)}\n"
        else:
            line = f"n{number}/C {row}\n" if suffix == ".txt" else f"n{number} {row}\n"
        written, number = written + len(line), number + 1
        yield line


def _label(text: str) -> str:
    return "odd" if len(text) % 2 else "even"


def _write_files(folder: Path, megabytes: float) -> None:
    """Write texts of several lines into a folder for each label."""
    for label in ("odd", "even"):
        (folder / label).mkdir(parents=True)
    for number, rows in enumerate(zip(*[_lines("", megabytes)] * LINES_A_FILE, strict=False)):
        text = "".join(rows)
        (folder / _label(text) / f"{number}.txt").write_text(text, encoding="utf-8")


def _index(task: str, file: Path) -> int:
    """Return the bytes of what a stream remembers of a file."""
    if task == "tagging":
        stream = stream_tagged([file], most=0)
    else:
        stream = stream_labelled([file], text_column="text", label_column="label", most=0)
    assert stream is not None
    shared = {id(chunk.file): sys.getsizeof(chunk.file) for chunk in stream.chunks}
    own = (sys.getsizeof(chunk) + sum(map(sys.getsizeof, chunk[1:])) + 8 for chunk in stream.chunks)
    return sum(own) + sum(shared.values())


def _cells(row: Row) -> str:
    return f"| {row.name} | {row.megabytes:g} | {row.peak:.0f} | {row.indexed:.2f} | {row.seconds:.0f} |"


def _slope(name: str, rows: list[Row]) -> str:
    """Return in words how the peak changes beyond the sample that is held, and what a file of 10 GB would take."""
    large = [row for row in rows if row.megabytes > SAMPLE] or rows
    mean = sum(row.megabytes for row in large) / len(large)
    level = sum(row.peak for row in large) / len(large)
    spread = sum((row.megabytes - mean) ** 2 for row in large)
    slope = sum((row.megabytes - mean) * (row.peak - level) for row in large) / spread if spread else None
    last, peaks = large[-1], [row.peak for row in rows]
    growth = last.indexed / last.megabytes
    line = "" if slope is None else (
        f" A line through those above {SAMPLE} MB, by least squares, changes by {1024 * slope:+.0f} MB a GB: "
        f"{level + slope * (10_240 - mean):.0f} MB at 10 GB, if that is no scatter."
    )  # fmt: skip
    return (
        f"- {name}: peaks from {min(peaks):.0f} to {max(peaks):.0f} MB, of files from {rows[0].megabytes:g} to "
        f"{last.megabytes:g} MB. The index takes {1024 * growth:.1f} MB a GB: with the highest peak "
        f"{max(peaks) + growth * 10_240:.0f} MB at 10 GB.{line}"
    )


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


if __name__ == "__main__":
    child(sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main()
