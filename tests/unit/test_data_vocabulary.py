"""Vocabularies: there and back, sizes, and files that no vocabulary wrote."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recurra.core.errors import ArgumentError, CorruptError, DataError
from recurra.data import LEVELS, UNKNOWN, Vocabulary, split_words

levels = st.sampled_from(LEVELS)
# Every plane of Unicode, but no surrogates.
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TEXT = "It's 3 o'clock,  don't\n\twait:\r\n 春眠不覺曉。café_1"


@given(anything)
def test_words_joined_are_the_text(text):
    assert "".join(split_words(text)) == text


def test_words_are_cut_as_the_rule_says():
    assert split_words(TEXT) == [
        *("It's", " ", "3", " ", "o'clock", ",", "  ", "don't", "\n", "\t", "wait", ":", "\r", "\n", " "),
        *("春", "眠", "不", "覺", "曉", "。", "café_1"),
    ]
    assert split_words("'quoted' rock'n'roll’s\n\n") == ["'", "quoted", "'", " ", "rock'n'roll’s", "\n", "\n"]
    assert split_words("中文word々𠀀") == ["中", "文", "word", "々", "𠀀"]


@given(levels, st.lists(anything, min_size=1, max_size=3).filter(any))
def test_a_text_it_was_built_from_comes_back(level, texts):
    vocabulary = Vocabulary.build(texts, level)
    for text in texts:
        ids = vocabulary.encode(text)
        assert ids.dtype == np.int64
        assert ids.ndim == 1
        assert vocabulary.unknown_id is None or (ids != vocabulary.unknown_id).all()
        assert (
            vocabulary.decode(ids)
            == vocabulary.decode(torch.from_numpy(ids))
            == vocabulary.decode(ids.tolist())
            == text
        )
        decoder = vocabulary.stream_decoder()
        assert "".join(decoder.push(number) for number in ids.tolist()) + decoder.finish() == text


@given(levels, st.lists(anything, min_size=1, max_size=3).filter(any))
def test_json_gives_the_same_vocabulary(level, texts):
    vocabulary = Vocabulary.build(texts, level)
    again = Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json())))
    assert again == vocabulary
    assert hash(again) == hash(vocabulary)


@given(st.sampled_from(["char", "word"]), anything.filter(bool), anything)
def test_numbers_are_places_in_the_symbols_and_others_are_unknown(level, text, other):
    vocabulary = Vocabulary.build([text], level)
    tokens = list(other) if level == "char" else split_words(other)
    wanted = [vocabulary.symbols.index(t) + 1 if t in vocabulary.symbols else 0 for t in tokens]
    assert vocabulary.encode(other).tolist() == wanted
    assert vocabulary.decode([0]) == UNKNOWN


def test_characters_go_by_code_point_and_words_by_frequency():
    assert Vocabulary.build(["b🂡a", "é"]).symbols == ("a", "b", "é", "🂡")
    words = Vocabulary.build(["to be or not to be", " or"], "word")
    assert words.symbols == (" ", "be", "or", "to", "not")
    assert words.size == 6
    assert Vocabulary.build([""], "byte").size == 256


@pytest.mark.parametrize("level", ["char", "word"])
def test_rare_tokens_are_left_out(level):
    text = "a a a b b c d"
    assert set(Vocabulary.build([text], level, min_count=2).symbols) == {" ", "a", "b"}
    limited = Vocabulary.build([text], level, max_size=5)
    assert limited.size == 5
    assert set(limited.symbols) == {" ", "a", "b", "c"}
    with pytest.raises(DataError, match="at least 9 times"):
        Vocabulary.build([text], level, min_count=9)


def test_bytes_that_are_no_utf8_become_the_replacement_character():
    vocabulary = Vocabulary.build([], "byte")
    broken = [0x61, 0xE6, 0x98, 0xFF, 0x62, 0xE6]
    decoder = vocabulary.stream_decoder()
    pieces = [decoder.push(number) for number in broken]
    assert "".join(pieces) + decoder.finish() == vocabulary.decode(broken) == f"a{UNKNOWN * 2}b{UNKNOWN}"
    assert [decoder.push(number) for number in "春".encode()] == ["", "", "春"]


@pytest.mark.parametrize("level", LEVELS)
def test_lone_surrogates_are_refused_in_one_line(level):
    vocabulary = Vocabulary.build(["abc"], level)
    with pytest.raises(DataError, match=r"lone surrogate U\+D83D at character 2"):
        vocabulary.encode("ab\ud83d")
    if level != "byte":
        with pytest.raises(DataError, match="lone surrogate"):
            Vocabulary.build(["\udc80"], level)


@pytest.mark.parametrize("level", LEVELS)
def test_numbers_outside_are_refused(level):
    vocabulary = Vocabulary.build(["abc"], level)
    for bad in ([-1], [0, vocabulary.size], [0.5]):
        with pytest.raises(ArgumentError, match=f"integers from 0 to {vocabulary.size - 1}"):
            vocabulary.decode(bad)
    for bad in (-1, vocabulary.size):
        with pytest.raises(ArgumentError, match="token numbers"):
            vocabulary.stream_decoder().push(bad)


def test_bad_arguments_are_refused():
    for options in ({"level": "syllable"}, {"min_count": 0}, {"max_size": 1}):
        with pytest.raises(ArgumentError, match="must be"):
            Vocabulary.build(["abc"], **options)
    for level in ("char", "word"):
        with pytest.raises(DataError, match="expected text"):
            Vocabulary.build(["", ""], level)


def test_it_cannot_be_changed():
    vocabulary = Vocabulary.build(["abc"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        vocabulary.level = "byte"


GOOD = {
    "char": Vocabulary.build(["ab春"]).to_json(),
    "word": Vocabulary.build(["two words"], "word").to_json(),
    "byte": Vocabulary.build([], "byte").to_json(),
}


@pytest.mark.parametrize(
    ("level", "change"),
    [
        ("char", {"level": "chars"}),
        ("char", {"level": ["char"]}),
        ("char", {"level": "byte"}),
        ("char", {"level": "word", "symbols": ["two words"], "size": 2}),
        ("char", {"size": 5}),
        ("char", {"size": 4.0}),
        ("char", {"size": "4"}),
        ("char", {"symbols": "ab春"}),
        ("char", {"symbols": ["a", "b", "b"]}),
        ("char", {"symbols": ["b", "a", "春"]}),
        ("char", {"symbols": ["a", "b", 3]}),
        ("char", {"symbols": ["a", "b", ""]}),
        ("char", {"symbols": ["a", "b", "cd"]}),
        ("char", {"symbols": ["a", "b", "\ud800"]}),
        ("char", {"symbols": [], "size": 1}),
        ("char", {"more": 1}),
        ("word", {"symbols": ["two", "two", " "]}),
        ("word", {"symbols": ["two", "words", "\udfff"]}),
        ("byte", {"symbols": ["a"]}),
        ("byte", {"size": 257}),
        ("byte", {"size": True}),
    ],
)
def test_what_no_vocabulary_wrote_is_corrupt(level, change):
    assert Vocabulary.from_json(copy.deepcopy(GOOD[level])).to_json() == GOOD[level]
    with pytest.raises(CorruptError) as caught:
        Vocabulary.from_json({**GOOD[level], **change})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("data", [None, [], "char", 3, {}, {"level": "char", "size": 2}])
def test_what_is_no_object_of_a_vocabulary_is_corrupt(data):
    with pytest.raises(CorruptError, match="level, size and symbols"):
        Vocabulary.from_json(data)
