"""What is shown while training goes on: the curve in dots, lines for programs."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from recurra.cli.progress import make_progress
from recurra.core.errors import ArgumentError
from recurra.learning import JsonProgress, RichProgress, SilentProgress
from recurra.learning.terminal_curve import History, draw_dots


def test_a_straight_line_is_a_diagonal_of_dots() -> None:
    (lines,), low, high = draw_dots([[(0, 4.0), (10, 0.0)]], 2, 1, 10)
    # From the upper left to the lower right: dots 1 and 5, then 3 and 8 (numbered as in Braille).
    assert (low, high) == (0.0, 4.0)
    assert lines == ["⠑⢄"]
    (lines,), _, _ = draw_dots([[(0, 1.0), (10, 1.0)]], 3, 2, 10)
    assert lines == ["⠉⠉⠉", "   "]


def test_two_curves_have_one_scale_and_no_points_none() -> None:
    (one, other, none), low, high = draw_dots([[(1, 2.0)], [(2, 6.0)], []], 2, 1, 2)
    assert (low, high) == (2.0, 6.0)
    assert one[0].strip()
    assert other[0].strip()
    assert none == ["  "]


@given(st.integers(0, 5000))
def test_a_history_stays_small_and_keeps_its_ends(count: int) -> None:
    history = History()
    for k in range(count):
        history.add(k, float(k))
    assert len(history.points) < 512
    xs = [x for x, _ in history.points]
    assert xs == sorted(xs)
    assert all(x == y for x, y in history.points)
    if count:
        assert xs[0] <= 16
        assert xs[-1] >= count - 40
    history.add(1.0, float("nan"))
    assert all(y == y for _, y in history.points)


def test_json_lines_tell_everything() -> None:
    stream = io.StringIO()
    progress = JsonProgress(stream)
    progress.started(0, 2)
    progress.stepped(1, 1, 2.5, 30, 0.25)
    progress.validated(1, {"val_loss": 2.25}, lambda: "你好\n")
    progress.note("a note")
    progress.finished()
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "started", "step": 0, "total": 2},
        {"event": "step", "step": 1, "epoch": 1, "loss": 2.5, "tokens": 30, "gradient_norm": 0.25},
        {"event": "validated", "step": 1, "metrics": {"val_loss": 2.25}, "sample": "你好\n"},
        {"event": "note", "message": "a note"},
        {"event": "finished"},
    ]


def test_steps_may_be_told_seldom() -> None:
    stream = io.StringIO()
    progress = JsonProgress(stream, every=10)
    progress.started(0, 25)
    for step in range(1, 26):
        progress.stepped(step, 1, 1.0, 1, 1.0)
    assert [json.loads(line)["step"] for line in stream.getvalue().splitlines()[1:]] == [10, 20, 25]


def test_the_live_view_shows_curve_norm_speed_and_sample() -> None:
    text = io.StringIO()
    console = Console(file=text, width=100, height=40, force_terminal=True, legacy_windows=False)
    progress = RichProgress(console)
    progress.started(0, 40)
    for step in range(1, 41):
        progress.stepped(step, 1, 4.0 / step, 100, 0.5)
    progress.validated(40, {"val_loss": 0.3}, lambda: "To be, or not to be")
    console.begin_capture()
    console.print(progress.render())
    shown = console.end_capture()
    progress.finished()
    assert "To be, or not to be" in shown
    assert "|g| 0.5" in shown
    assert "tokens/s" in shown
    assert "validation" in shown
    assert any(0x2800 < ord(c) < 0x2900 for c in shown)


def test_kinds_of_progress() -> None:
    assert isinstance(make_progress("quiet"), SilentProgress)
    assert isinstance(make_progress("json"), JsonProgress)
    assert isinstance(make_progress("auto"), RichProgress)
    plain = make_progress("plain")
    assert isinstance(plain, RichProgress)
    assert not plain.console.is_terminal
    with pytest.raises(ArgumentError, match="expected --progress to be auto, plain, json or quiet, got 'loud'"):
        make_progress("loud")
