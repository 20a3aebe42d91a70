"""Finding cells: by name, in a package, in a user's own file."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from recurra import Cell, cells, wrappers
from recurra.core.errors import ArgumentError, CellError, UnknownNameError
from recurra.core.registry import class_from_file, discover, lookup
from recurra.testing import check_cell

LEAKY = """
import torch
from torch import nn
from recurra import Cell

class Leaky(Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.mix = nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, state):
        h = 0.5 * state[0] + 0.5 * torch.tanh(self.mix(torch.cat([x, state[0]], -1)))
        return h, (h,)
"""


def test_an_unknown_name_lists_the_known_and_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        cells.get("lsmt")
    assert str(caught.value) == (
        f"no cell is called 'lsmt': did you mean 'lstm'? the known ones are {', '.join(cells.names())}"
    )
    assert isinstance(caught.value, KeyError)
    with pytest.raises(UnknownNameError, match="no wrapper is called 'xyz': the known ones are back_projection"):
        wrappers.get("xyz")
    assert lookup({"a": 1}, "a", "letter") == 1


def test_a_package_must_hold_one_class_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "found_cells"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "leaky.py").write_text(LEAKY)
    (package / "_private.py").write_text("raise RuntimeError('never imported')")
    monkeypatch.syspath_prepend(tmp_path)
    found = discover("found_cells", [str(package)], Cell)
    assert [(name, cell.__name__) for name, cell in found.items()] == [("leaky", "Leaky")]
    (package / "none.py").write_text("")
    with pytest.raises(CellError, match=r"found_cells\.none must define exactly one public Cell, found none"):
        discover("found_cells", [str(package)], Cell)
    for name in [m for m in sys.modules if m.startswith("found_cells")]:
        del sys.modules[name]


def test_a_class_in_a_users_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(LEAKY)
    cell, digest = class_from_file(f"{file}:Leaky", Cell)
    assert issubclass(cell, Cell)
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    check_cell(cell, 2, 3)


@pytest.mark.parametrize(
    ("spec", "source", "message"),
    [
        ("mine.py", LEAKY, r"expected FILE.py:Class, got "),
        ("mine.txt:Leaky", LEAKY, r"expected FILE.py:Class, got "),
        ("mine.py:", LEAKY, r"expected FILE.py:Class, got "),
        ("other.py:Leaky", LEAKY, r"expected a Python file that defines Leaky, but there is no file .*other.py"),
        ("mine.py:Leeky", LEAKY, r"mine.py defines no Cell called 'Leeky'; it defines: Leaky"),
        ("mine.py:torch", LEAKY, r"mine.py defines no Cell called 'torch'; it defines: Leaky"),
        ("mine.py:Leaky", "", r"mine.py defines no Cell called 'Leaky'; it defines: none"),
        ("mine.py:Leaky", "1 / 0", r"mine.py could not be run: ZeroDivisionError"),
        ("mine.py:Leaky", "def (", r"mine.py could not be run: SyntaxError"),
    ],
)
def test_a_users_file_that_cannot_be_used(tmp_path: Path, spec: str, source: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(ArgumentError, match=message) as caught:
        class_from_file(str(tmp_path / spec), Cell)
    assert "\n" not in str(caught.value)
