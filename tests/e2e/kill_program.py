"""Runs one training command again and again in child processes that are killed at random moments.

    python kill_program.py SEED KILLS OUT WORDS...     prints how many kills met a living process

The child is forked with everything imported, so that the moments fall into the command's own work: reading, building,
the first files, steps, checkpoints, the last evaluation. Each child but the first resumes.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from recurra.cli import main


def train(words: list[str]) -> int:
    """Fork a child that runs the command silently; return its process number."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            main(words)
        except SystemExit as end:
            os._exit(int(end.code or 0))
        os._exit(70)
    return child


def run() -> None:
    """Kill, resume, and at the end let one child finish."""
    dice, kills, out = random.Random(int(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3])
    words = ["train", "language-model", "--out", str(out), *sys.argv[4:]]
    met = 0
    for kill in range(kills):
        child = train([*words, *(["--resume"] if (out / "checkpoints").is_dir() else [])])
        time.sleep(dice.uniform(0.0, 0.02 + 0.02 * kill))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
        met += os.WIFSIGNALED(status)
    last = train([*words, *(["--resume"] if (out / "checkpoints").is_dir() else [])])
    assert os.waitstatus_to_exitcode(os.waitpid(last, 0)[1]) == 0
    print(met)


if __name__ == "__main__":
    run()
