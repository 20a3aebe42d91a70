"""The small parts of the command line: repeated flags, and a curve in a line."""

from __future__ import annotations

import pytest

from recurra.cli.main import spread
from recurra.cli.report import sparkline
from recurra.core.errors import CorruptError
from recurra.learning import TrainerOptions
from recurra.tasks.contract import read_options


def test_a_flag_that_may_be_repeated_takes_several_values() -> None:
    words = ["train", "--data", "a", "b", "c", "--out", "o", "--data", "d"]
    expected = ["train", "--data", "a", "--data", "b", "--data", "c", "--out", "o", "--data", "d"]
    assert spread(words) == expected
    assert spread(["predict", "m", "--text", "a", "b"]) == ["predict", "m", "--text", "a", "b"]


def test_a_curve_in_a_line() -> None:
    assert sparkline([]) == ""
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert sparkline([0.0, 7.0, 3.0]) == "▁█▄"
    assert len(sparkline([float(i) for i in range(1000)])) == 40


def test_options_come_back_as_they_were_or_not_at_all() -> None:
    assert read_options(TrainerOptions, {"steps": 3, "learning_rate": 1}, "x") == TrainerOptions(
        steps=3, learning_rate=1
    )
    for wrong in (
        {"steps": True},
        {"steps": 2.0},
        {"optimizer": "lbfgs"},
        {"clip_norm": None},
        {"a": 1},
        {"seed": -1},
        3,
    ):
        with pytest.raises(CorruptError, match=r"^x: "):
            read_options(TrainerOptions, wrong, "x")
