"""The public names: few, documented, and all there."""

from __future__ import annotations

import inspect

import recurra
from recurra import testing
from recurra.core import errors


def test_the_names_that_users_rely_on() -> None:
    assert {"Cell", "Wrapper", "Recurrent", "RNN", "LSTM", "GRU", "index_rows", "RecurraError"} <= set(recurra.__all__)
    assert len(recurra.__all__) <= 20
    for name in recurra.__all__:
        assert inspect.getdoc(getattr(recurra, name)), name
    assert {"check_cell", "LAWS"} <= set(testing.__all__)


def test_the_tree_in_the_docstring_is_the_tree_of_the_errors() -> None:
    """Every class stands in the drawing, under the one it derives from, with the built-in it also is."""
    drawn: dict[str, tuple[str | None, str | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        words = line.replace("│", " ").replace("├──", "   ").replace("└──", "   ").split()
        if not words or not words[0].endswith("Error"):
            continue
        depth = (len(line) - len(line.lstrip(" │├└─")) - 4) // 4
        path = [*path[:depth], words[0]]
        also = words[-1].rstrip(")") if "(also" in words else None
        drawn[words[0]] = (path[-2] if depth else None, also)
    assert set(drawn) == set(errors.__all__)
    for name, (parent, also) in drawn.items():
        bases = {base.__name__ for base in getattr(errors, name).__bases__}
        assert bases == {parent or "Exception", *([also] if also else [])}, name
