"""What a token of a text is: pieces that joined are the text, numbers that come back, files that are damaged."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from recurra.core.errors import ArgumentError, CorruptError, DataError
from recurra.data.pieces import Pieces
from recurra.data.text_units import TextUnits, Unit

TEXTS = ["the film was good", "the  film was not good", "好看的电影", "don't see it"] * 10
INSTALLED = importlib.util.find_spec("sentencepiece") is not None
UNITS: list[Any] = [
    "char",
    "ngrams",
    "word",
    pytest.param("pieces", marks=pytest.mark.skipif(not INSTALLED, reason="")),
]


@pytest.mark.parametrize("unit", UNITS)
def test_pieces_joined_are_the_text_and_units_come_back(unit: Unit) -> None:
    units = TextUnits.build(TEXTS, unit, min_count=2, pieces=60)
    for text in (*TEXTS[:4], " new  words, 新 ", "a\nb", ""):
        cut = units.cut(text)
        assert "".join(shown for shown, _ in cut) == text
        tokens = [token for _, token in cut if token is not None]
        assert units.encode(text) == ([units.symbols.index(t) + 1 if t in units.symbols else 0 for t in tokens] or [0])
    assert 0 not in units.encode(TEXTS[0])
    assert TextUnits.from_json(units.to_json()) == units
    with pytest.raises(DataError, match="lone surrogate"):
        units.encode("a\ud800")


def test_ngrams_by_hand() -> None:
    units = TextUnits.build(["abab"], "ngrams", length=2)
    assert units.symbols == ("ab", "b", "ba")
    assert units.cut("bab") == [("b", "ba"), ("a", "ab"), ("b", "b")]
    assert units.encode("bac") == [3, 0, 0]
    with pytest.raises(DataError, match="seen at least 9 times"):
        TextUnits.build(["abab"], "ngrams", min_count=9)


@pytest.mark.parametrize("unit", UNITS)
def test_tokens_come_with_those_before_them(unit: Unit) -> None:
    units = TextUnits.build(TEXTS, unit, min_count=2, pieces=60, phrases=True)
    for text in (TEXTS[0], TEXTS[2], "new 新 words", ""):
        tokens = units.tokens(text)
        rows = units.numbers(tokens)
        assert rows.shape == (max(1, len(tokens)), 3)
        assert rows[:, 0].tolist() == units.encode(text)
        for n, column, table in zip((2, 3), rows.T[1:].tolist(), units.phrases.tables, strict=True):
            for t, number in enumerate(column if tokens else []):
                phrase = "\t".join([*[""] * max(0, n - 1 - t), *tokens[max(0, t + 1 - n) : t + 1]])
                assert number == (table.symbols.index(phrase) + 1 if phrase in table else 0)
    assert TextUnits.from_json(units.to_json()) == units
    alone = TextUnits.build(TEXTS, unit, min_count=2, pieces=60)
    assert alone.numbers(alone.tokens(TEXTS[0])).tolist() == alone.encode(TEXTS[0])
    assert TextUnits.from_json({k: v for k, v in alone.to_json().items() if k != "phrases"}) == alone


@pytest.mark.parametrize(
    "broken",
    [
        {"level": "byte"},
        {"length": 0},
        {"length": True},
        {"model": "?"},
        {"model": 3},
        {"symbols": "ab"},
        {"phrases": 3},
    ],
)
def test_what_is_damaged_is_refused(broken: dict[str, Any]) -> None:
    good = TextUnits.build(["abab"], "ngrams").to_json()
    with pytest.raises(CorruptError):
        TextUnits.from_json(good | broken)


@pytest.mark.skipif(INSTALLED, reason="SentencePiece is here")
def test_without_its_library_it_says_what_to_install() -> None:
    with pytest.raises(ArgumentError, match=r"pip install 'recurra\[pieces\]'"):
        Pieces.learn(TEXTS, 60)


@pytest.mark.skipif(not INSTALLED, reason="SentencePiece is not here")
def test_damaged_models_and_too_few_pieces_are_refused_in_one_line() -> None:
    with pytest.raises(CorruptError, match="expected a SentencePiece model"):
        Pieces(b"abc")
    with pytest.raises(DataError, match="no pieces could be learned") as caught:
        Pieces.learn(TEXTS, 3)
    assert "\n" not in str(caught.value)
    units = TextUnits.build(TEXTS, "pieces", pieces=60)
    with pytest.raises(CorruptError, match="not those of its model"):
        TextUnits.from_json(units.to_json() | {"symbols": ["a"]})
