"""Every cell keeps every law; every wrapper keeps them over cells of every kind. Nothing is listed by name."""

from __future__ import annotations

from functools import partial

import pytest
from kinds import KINDS, ClockCell, ReadoutCell

from recurra import cells, wrappers
from recurra.testing import LAWS, Subject

each_law = pytest.mark.parametrize("law", LAWS)
# One vector as state; two, and h smaller than c; y that is a state but not the hidden layer; y that is none; a clock.
SAMPLE = {name: cells.get(name) for name in ("elman", "projected_lstm", "jordan")}
SAMPLE |= {cell.__name__: cell for cell in (ReadoutCell, ClockCell)}


@each_law
@pytest.mark.parametrize("cell", cells.names())
def test_cell(cell: str, law: str) -> None:
    LAWS[law](Subject(cell, 3, 4))


@each_law
@pytest.mark.parametrize("cell", SAMPLE)
@pytest.mark.parametrize("wrapper", wrappers.names())
def test_wrapper(wrapper: str, cell: str, law: str) -> None:
    LAWS[law](Subject(partial(wrappers.get(wrapper).of, SAMPLE[cell]), 3, 4))


@each_law
@pytest.mark.parametrize("kind", KINDS)
def test_kind_of_cell_that_the_contract_allows(kind: str, law: str) -> None:
    cell, options = KINDS[kind]
    LAWS[law](Subject(cell, 3, 4, **options))
