"""Every cell keeps every law; every wrapper keeps them over cells of every kind. Nothing is listed by name."""

from __future__ import annotations

from functools import partial

import pytest
from kinds import KINDS, ClockCell, ReadoutCell

from recurra import cells, wrappers
from recurra.core.errors import ArgumentError
from recurra.testing import LAWS, Subject

each_law = pytest.mark.parametrize("law", LAWS)
# One vector as state; two, and h smaller than c; y that is a state but not the hidden layer; y that is none; a clock.
SAMPLE = {name: cells.get(name) for name in ("elman", "projected_lstm", "jordan", "gru")}
SAMPLE |= {cell.__name__: cell for cell in (ReadoutCell, ClockCell)}


@each_law
@pytest.mark.parametrize("cell", cells.names())
def test_cell(cell: str, law: str) -> None:
    LAWS[law](Subject(cell, 3, 4))


def wrapped(wrapper: str, cell: str) -> Subject | None:
    """Return a wrapper over a cell; over one of 4 inputs, already built, if it wants sizes that agree; or None."""
    of = partial(wrappers.get(wrapper).of, SAMPLE[cell])
    try:
        return Subject(of, 3, 4)
    except ArgumentError:
        pass
    try:
        return Subject(of(4, 4), 4, 4)
    except ArgumentError:
        return None


PAIRS = [(w, c) for w in wrappers.names() for c in SAMPLE if wrapped(w, c) is not None]


def test_every_wrapper_takes_several_cells() -> None:
    taken = {w: [c for v, c in PAIRS if v == w] for w in wrappers.names()}
    assert {w: cells for w, cells in taken.items() if len(cells) < 3} == {}


@each_law
@pytest.mark.parametrize(("wrapper", "cell"), PAIRS)
def test_wrapper(wrapper: str, cell: str, law: str) -> None:
    subject = wrapped(wrapper, cell)
    assert subject is not None
    LAWS[law](subject)


@each_law
@pytest.mark.parametrize("kind", KINDS)
def test_kind_of_cell_that_the_contract_allows(kind: str, law: str) -> None:
    cell, options = KINDS[kind]
    LAWS[law](Subject(cell, 3, 4, **options))
