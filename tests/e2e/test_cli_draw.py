"""`recurra draw`, as its user calls it: pictures and equations, and one line for whatever cannot be drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from command import LEAKY, call, refused


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(LEAKY, encoding="utf-8")
    return tmp_path


def title(path: Path) -> str:
    root = ET.parse(path).getroot()
    return root.attrib["aria-label"]


def test_cells_trees_topologies_and_own_cells_are_drawn(folder: Path) -> None:
    for words, file, expected in (
        (["lstm"], "lstm.svg", "LSTM: diagram of one step"),
        (["own.py:Leaky"], "Leaky.svg", "Leaky: diagram of one step"),
        (["child_sum_tree_lstm"], "child_sum_tree_lstm.svg", "Child Sum Tree LSTM: diagram of one step"),
        (["n-to-one", "--steps", 3, "--out", "n.svg"], "n.svg", "N to 1: one output, of the last state"),
        (["gru", "--over-time", "--units"], "gru.svg", "GRU"),
        (["gru", "--folded", "--layers", 2, "--out", "f.svg"], "f.svg", "GRU, 2 layers, folded"),
        (["gru", "--bidirectional", "--notation", "w_hx", "--out", "b.svg"], "b.svg", "GRU, both directions"),
    ):
        code, out, err = call("draw", *words)
        assert (code, err) == (0, "")
        assert out.strip() == f"wrote {file}"
        assert title(folder / file) == expected


def test_equations_are_printed_as_text_or_latex(folder: Path) -> None:
    code, out, _ = call("draw", "own.py:Leaky", "--equations", "--notation", "uvw")
    assert code == 0
    expected = "a = σ(leak)\nh_t = (1 - a) ⊙ h_{t-1} + a ⊙ tanh(U x_t + W h_{t-1} + b)\ny_t = h_t\n"
    assert out == expected
    code, out, _ = call("draw", "gru", "--latex")
    assert code == 0
    assert out.startswith("\\begin{aligned}\nr_{t} &= \\sigma(W_{r} x_{t} + U_{r} h_{t-1} + b_{r}) \\\\\n")
    assert not list(folder.glob("*.svg"))


def test_what_cannot_be_drawn_is_refused_in_one_line() -> None:
    message = refused("draw", "lstn")
    assert "did you mean 'lstm'?" in message
    assert "the topologies are one-to-one, n-to-n" in message
    assert "expected a file name that ends in .svg or .png, got 'x.gif'" in refused("draw", "lstm", "--out", "x.gif")
    assert "make nowhere first" in refused("draw", "lstm", "--out", "nowhere/x.svg")
    assert "expected a cell to print the equations of, got the topology 'deep'" in refused("draw", "deep", "--latex")
    assert "no notation is called 'q'" in refused("draw", "lstm", "--notation", "q")
    assert "at least one step" in refused("draw", "n-to-n", "--steps", 0)
    assert "whose order is a tree's" in refused("draw", "recursive", "--over-time")
    assert "input_size must be" in refused("draw", "lstm", "--input-size", 0)
