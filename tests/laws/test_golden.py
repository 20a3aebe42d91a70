"""What a cell shows of itself: names and shapes of its weights, and what its docstring must say."""

from __future__ import annotations

import inspect
import json
import re

import pytest

from golden import FOLDER, parameters_of
from recurra import cells, wrappers

each_cell = pytest.mark.parametrize("name", cells.names())


@each_cell
def test_names_and_shapes_of_weights(name: str) -> None:
    file = FOLDER / f"{name}.json"
    assert file.exists(), f"{file} is missing: make it by `python tests/laws/golden.py`, look at it, and commit it"
    expected = json.loads(file.read_text())
    assert list(parameters_of(cells.get(name)).items()) == list(expected.items())


def test_no_golden_file_is_left_over() -> None:
    assert sorted(file.stem for file in FOLDER.iterdir()) == cells.names()


@each_cell
def test_docstring(name: str) -> None:
    text = inspect.getdoc(cells.get(name)) or ""
    assert re.search(r"^ +\w+_t = ", text, re.MULTILINE), "the equation, on a line of its own, with `_t =`"
    for part in ("Shapes: x `(B, ", "state `(", "y ", "Weights: ", "Deviation: "):
        assert part in text, part
    assert re.search(r"^Papers?: .*", text, re.MULTILINE), "the paper"
    paper = text[text.index("Paper") : text.index("Deviation: ")]
    assert re.search(r"\((19|20)\d\d\)", paper), "the paper's year"


@each_cell
def test_class_is_named_after_its_file(name: str) -> None:
    cell = cells.get(name)
    assert cell.__name__.lower() == name.replace("_", "") + "cell"
    assert getattr(cells, cell.__name__) is cell


@pytest.mark.parametrize("name", wrappers.names())
def test_wrapper_docstring(name: str) -> None:
    text = inspect.getdoc(wrappers.get(name)) or ""
    assert re.search(r"^ +\w+_t(, \w+)* = ", text, re.MULTILINE), "the equation, on a line of its own, with `_t =`"
    for part in ("State: ", "Source: ", "Deviation: "):
        assert part in text, part
    assert wrappers.get(name).__name__.lower() == name.replace("_", "")
