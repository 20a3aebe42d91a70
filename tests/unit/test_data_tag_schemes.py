"""Spans out of tags and back, what is legal, and the rules of conlleval, against definitions written differently."""

from __future__ import annotations

import itertools

import pytest

from recurra.core.errors import ArgumentError, DataError
from recurra.data.tag_schemes import SCHEMES, Scheme, Span, detect, legal, spans, strict_spans, tags_of

SPELLED = tuple(scheme for scheme in SCHEMES if scheme != "none")
TAGS: dict[str, tuple[str, ...]] = {
    "bio": ("O", "B-x", "I-x", "B-y", "I-y"),
    "iob1": ("O", "B-x", "I-x", "B-y", "I-y"),
    "bioes": ("O", "B-x", "I-x", "E-x", "S-x"),
    "bmes": ("b", "m", "e", "s", "O"),
    "sbe": ("B", "E", "S", "O"),
}


def is_legal(tags: tuple[str, ...], known: tuple[str, ...], scheme: Scheme) -> bool:
    start, between, end = legal(known, scheme)
    at = [known.index(tag) for tag in tags]
    return bool(start[at[0]] & end[at[-1]]) and all(between[a, b] for a, b in itertools.pairwise(at))


@pytest.mark.parametrize("scheme", SPELLED)
def test_legal_are_exactly_the_sequences_that_spell_spans(scheme: Scheme) -> None:
    known = TAGS[scheme]
    for tags in itertools.product(known, repeat=4):
        upper = [tag[0].upper() + tag[1:] for tag in tags]
        strict = strict_spans(tags, scheme)
        rewritten = tags_of(strict, len(tags), scheme)
        assert is_legal(tags, known, scheme) == (rewritten == upper), tags
        if rewritten == upper:
            assert strict == spans(tags, scheme)


def test_schemes_become_one_another() -> None:
    found = [Span(0, 1, "x"), Span(1, 4, "x"), Span(5, 7, "y")]
    for one, other in itertools.product(SPELLED, SPELLED):
        tags = tags_of(found, 8, one)
        assert spans(tags, one) == strict_spans(tags, one) == found
        assert tags_of(spans(tags, one), 8, other) == tags_of(found, 8, other)
    assert tags_of(found, 8, "iob1") == ["I-x", "B-x", "I-x", "I-x", "O", "I-y", "I-y", "O"]
    assert tags_of(found, 8, "bmes") == ["S-x", "B-x", "M-x", "E-x", "O", "B-y", "E-y", "O"]


def test_the_tutorials_scheme_tags_the_inside_as_b() -> None:
    assert tags_of([Span(0, 1), Span(1, 5)], 5, "sbe") == ["S", "B", "B", "B", "E"]
    assert spans(["B", "B", "E", "S", "B"], "sbe") == [Span(0, 3), Span(3, 4), Span(4, 5)]
    assert strict_spans(["B", "B", "E", "S", "B"], "sbe") == [Span(0, 3), Span(3, 4)]


@pytest.mark.parametrize(
    ("scheme", "tags", "generous", "strict"),
    [
        ("bio", "O I-x I-x O", [(1, 3, "x")], []),
        ("bio", "B-x I-y", [(0, 1, "x"), (1, 2, "y")], [(0, 1, "x")]),
        ("bio", "B-x B-x I-x", [(0, 1, "x"), (1, 3, "x")], [(0, 1, "x"), (1, 3, "x")]),
        ("iob1", "I-x I-x B-x I-y", [(0, 2, "x"), (2, 3, "x"), (3, 4, "y")], [(0, 2, "x"), (2, 3, "x"), (3, 4, "y")]),
        ("iob1", "O B-x", [(1, 2, "x")], []),
        ("bioes", "B-x E-x E-x I-x", [(0, 2, "x"), (2, 3, "x"), (3, 4, "x")], [(0, 2, "x")]),
        ("bioes", "B-x O S-x", [(0, 1, "x"), (2, 3, "x")], [(2, 3, "x")]),
        ("bmes", "B M M E S M", [(0, 4, ""), (4, 5, ""), (5, 6, "")], [(0, 4, ""), (4, 5, "")]),
    ],
)
def test_generous_and_strict_spans(
    scheme: Scheme, tags: str, generous: list[tuple[int, int, str]], strict: list[tuple[int, int, str]]
) -> None:
    assert spans(tags.split(), scheme) == generous
    assert strict_spans(tags.split(), scheme) == strict


def test_which_scheme_it_is() -> None:
    assert detect(["O", "B-x", "I-x"]) == "bio"
    assert detect(["b", "m", "e", "s"]) == "bmes"
    assert detect(["B-a", "I-a", "E-a", "S-a", "O"]) == "bioes"
    assert detect(["NN", "VB", "O"]) == detect(["n", "v", "s"]) == detect(["PRP$", "."]) == "none"


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(DataError, match="tag 2, 'M', is not of the scheme bio"):
        spans(["B", "M"], "bio")
    with pytest.raises(DataError, match="tag 'B-' is not"):
        legal(["B-"], "bio")
    with pytest.raises(ArgumentError, match="no spans"):
        spans(["NN"], "none")
    with pytest.raises(ArgumentError, match="do not overlap"):
        tags_of([Span(0, 2), Span(1, 3)], 3, "bio")
    assert all(part.all() for part in legal(["NN", "VB"], "none"))
