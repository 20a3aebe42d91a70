"""A training command that is killed or stopped, and resumed, ends where an uninterrupted one ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import ENVIRONMENT, PROGRAM, SMALL, assert_same_end, call, spawn, text_file

KILLER = str(Path(__file__).with_name("kill_program.py"))
RUNS = {
    "dropout": ["--dropout", "0.3", "--layers", "2", "--schedule", "cosine", "--seed", "3"],
    "k2 above k1": ["--backprop", "30", "--tie", "--optimizer", "adamw"],
}


def flags(data: Path, name: str, steps: int = 40) -> list[str]:
    often = ["--checkpoint-every", "3", "--validate-every", "7"]
    return ["--data", str(data), "--steps", str(steps), *SMALL, *often, *RUNS[name]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_file(tmp_path_factory.mktemp("data") / "plays.txt")


def whole(data: Path, name: str, out: Path) -> Path:
    assert call("train", "language-model", "--out", out, *flags(data, name))[0] == 0
    return out


@pytest.mark.parametrize(("name", "kills"), [("dropout", 20), ("k2 above k1", 8)])
def test_killed_at_random_moments_and_resumed_ends_identical(data: Path, tmp_path: Path, name: str, kills: int) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, KILLER, "7", str(kills), str(out), *flags(data, name)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > kills // 2
    assert_same_end(whole(data, name, tmp_path / "whole"), out)


@contextlib.contextmanager
def start(*words: object) -> Iterator[subprocess.Popen[str]]:
    """Run a command in the background; whatever happens, it does not outlive the test."""
    command = [*PROGRAM, *map(str, words)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_steps(model: Path, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        if (model / "metrics.jsonl").is_file() and (model / "metrics.jsonl").stat().st_size:
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(data: Path, tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "stopped"
    with start("train", "language-model", "--out", out, *flags(data, "dropout", 100_000)) as process:
        wait_for_steps(out, process)
        busy = call("train", "language-model", "--out", out, "--resume", "--steps", 50)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert busy[0] == 1
    assert f"process {process.pid} is training in it" in busy[2]
    assert f"go on with: recurra train language-model --out {out} --resume" in stdout
    step = int(re.search(r"after step (\d+)", stdout)[1])  # type: ignore[index]
    assert 0 < step < 100_000
    code, stdout, stderr = call("train", "language-model", "--out", out, "--resume", "--steps", step + 5)
    assert code == 0, stderr
    assert f"trained {step + 5} steps" in stdout


def test_stopped_and_resumed_ends_identical(data: Path, tmp_path: Path) -> None:
    out, words = tmp_path / "stopped", flags(data, "k2 above k1", 400)
    with start("train", "language-model", "--out", out, *words) as process:
        wait_for_steps(out, process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert call("train", "language-model", "--out", out, "--resume")[0] == 0
    assert call("train", "language-model", "--out", tmp_path / "whole", *words)[0] == 0
    assert_same_end(tmp_path / "whole", out)


def test_a_second_signal_leaves_at_once_and_loses_nothing_saved(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with start("train", "language-model", "--out", out, *flags(data, "dropout", 100_000)) as process:
        wait_for_steps(out, process)
        # Both wait until it goes on, and come one right after the other.
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
            process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode in (130, 143)
    assert call("evaluate", out)[0] == 0


def test_lengthened_runs_end_where_longer_ones_end(data: Path, tmp_path: Path) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    assert call("train", "language-model", "--out", short, *flags(data, "k2 above k1", 14))[0] == 0
    assert call("train", "language-model", "--out", short, "--resume", "--steps", 28)[0] == 0
    assert call("train", "language-model", "--out", short, "--resume")[0] == 0
    assert call("train", "language-model", "--out", long, *flags(data, "k2 above k1", 28))[0] == 0
    assert_same_end(long, short)


def test_a_pipe_closed_early_is_quiet(data: Path, tmp_path: Path) -> None:
    model = whole(data, "dropout", tmp_path / "model")
    with start("generate", model, "--length", 100_000) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        os.read(process.stdout.fileno(), 10)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 0
    done = spawn("generate", model, "--length", 0, "--prompt", "That is all")
    assert (done.returncode, done.stdout, done.stderr) == (0, "That is all\n", "")
