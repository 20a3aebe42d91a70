"""The split: in order, complete, by characters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.core.errors import ArgumentError, DataError
from recurra.data import Document, require_window, split


def documents(texts: list[str]) -> list[Document]:
    return [Document(f"{number}.txt", text) for number, text in enumerate(texts)]


def joined(part: list[Document]) -> str:
    return "".join(document.text for document in part)


@given(st.lists(st.text("春眠ab", max_size=30), max_size=6), st.floats(0, 0.45), st.floats(0, 0.45))
def test_the_parts_are_the_text_in_order_and_of_the_shares_asked_for(texts, validation, test):
    whole = "".join(texts)
    parts = split(documents(texts), validation=validation, test=test)
    assert joined(parts.train) + joined(parts.validation) + joined(parts.test) == whole
    assert len(joined(parts.validation)) == round(validation * len(whole))
    assert len(joined(parts.test)) == round(test * len(whole))


@given(st.lists(st.text("ab", min_size=1, max_size=30), min_size=1, max_size=6))
def test_documents_stay_whole_but_for_those_a_cut_goes_through(texts):
    parts = split(documents(texts), validation=0.3)
    names = [document.name for document in parts.train + parts.validation]
    assert len(names) - len(set(names)) <= 1
    assert names == sorted(names)
    for name in set(names):
        pieces = [document.text for document in parts.train + parts.validation if document.name == name]
        assert "".join(pieces) == texts[int(name[0])]


def test_the_last_twentieth_is_for_validation_unless_said_otherwise():
    parts = split(documents(["a" * 60, "b" * 40]))
    assert joined(parts.validation) == "b" * 5
    assert parts.test == []


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0), (1, 0), (float("nan"), 0), (0, 1.5), (0.5, 0.5)])
def test_shares_that_leave_nothing_are_refused(validation, test):
    with pytest.raises(ArgumentError, match="below 1, got"):
        split(documents(["abc"]), validation=validation, test=test)


def test_a_part_shorter_than_one_window_is_refused():
    part = [np.arange(6), np.arange(1), np.arange(0), np.arange(4)]
    require_window(part, 8, "training")
    with pytest.raises(DataError, match="validation part has 8 tokens to predict, expected at least one window of 9"):
        require_window(part, 9, "validation")
    with pytest.raises(DataError, match="has 0 tokens"):
        require_window([], 1, "validation")
