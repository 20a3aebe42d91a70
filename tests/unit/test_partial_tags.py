"""Tags that are not known: how they are read, what can be illegal about them, and that nothing is measured by them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from recurra.core.errors import DataError
from recurra.data import UNKNOWN_TAG, Scheme, TaggedSentence, legal, read_tagged
from recurra.data.labelled_text import stream_tagged
from recurra.data.span_dictionary import SpanDictionary
from recurra.data.tag_links import Link, TagLinks
from recurra.data.tag_names import TagNames
from recurra.data.tag_scores import FrequentTag, tag_scores
from recurra.heads import UNLABELLED, Softmax


def sentence(tags: str) -> TaggedSentence:
    known = tuple("" if tag == "?" else tag for tag in tags.split())
    return TaggedSentence(tuple(f"w{i}" for i in range(len(known))), known, "f:1")


@pytest.mark.parametrize(
    "text", ["a X\nb ?\n\nc ?\n", "a/X b/?\nc/?\n", "1\ta\t_\tX" + "\t_" * 6 + "\n2\tb\t_\t?" + "\t_" * 6]
)
def test_the_mark_is_read_as_an_unknown_tag_where_it_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "text").write_text(text, encoding="utf-8")
    found = read_tagged([tmp_path / "text"], unlabelled="?")
    assert found[0].tags == ("X", UNKNOWN_TAG)
    assert read_tagged([tmp_path / "text"])[0].tags == ("X", "?")
    assert read_tagged([tmp_path / "text"], unlabelled="X")[0].tags == (UNKNOWN_TAG, "?")
    stream = stream_tagged([tmp_path / "text"], most=0, unlabelled="?")
    assert stream is not None
    assert list(stream) == found


def test_words_without_tags_have_no_mark(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("我 爱 中国 ?\n", encoding="utf-8")
    with pytest.raises(DataError, match="without tags: leave out --unlabelled"):
        read_tagged([tmp_path / "text"], unlabelled="?")


@pytest.mark.parametrize("scheme", ["bio", "iob1", "bioes", "sbe", "none"])
def test_a_sentence_is_legal_where_some_way_to_fill_it_is(scheme: Scheme) -> None:
    tags = {"bio": "B-x I-x I-y O", "iob1": "B-x I-x O", "bioes": "B-x I-x E-x S-y", "sbe": "B E S", "none": "N V"}[
        scheme
    ]
    whole = sentence(tags)
    names = TagNames.of([whole], scheme, min_count=1, check=False)
    start, between, end = (part.tolist() for part in legal(names.tags, scheme))

    def fits(row: tuple[int, ...]) -> bool:
        return start[row[0]] and end[row[-1]] and all(between[a][b] for a, b in itertools.pairwise(row))

    choices = range(len(names.tags))
    seen = set[bool]()
    for row in itertools.product([None, *choices], repeat=4):
        filled = itertools.product(*(choices if k is None else [k] for k in row))
        possible = any(fits(way) for way in filled)
        fault = names.fault([UNKNOWN_TAG if k is None else names.tags[k] for k in row])
        assert (fault is None) == possible, (row, fault)
        seen.add(possible)
    assert seen == ({True} if scheme == "none" else {True, False})


def test_what_is_illegal_is_named_with_its_first_place() -> None:
    def refused(*rows: str) -> str:
        sentences = [sentence(row)._replace(place=f"f:{i}") for i, row in enumerate(rows, 1)]
        with pytest.raises(DataError) as caught:
            TagNames.of(sentences, "bioes", min_count=1, check=True)
        return str(caught.value)

    good = "B-x I-x E-x O"
    assert "f:2: no tag fits between 'B-x' and tag 3, 'E-y', in the scheme bioes" in refused(good, "B-x ? E-y", "I-x ?")
    assert "f:2: tag 1, 'I-x', cannot begin a sentence" in refused(good, "I-x ?")
    assert "f:1: tag 3, 'E-x', cannot follow 'O'" in refused("? O E-x B-x")
    assert "f:2: token 2: tag 'Q' is not of the scheme" in refused(good, "? Q")
    assert "f:1: expected tags, got none that is known" in refused("? ?")


def test_links_hold_what_differs_and_its_first_place() -> None:
    rows = [sentence(row)._replace(place=f"f:{i}") for i, row in enumerate(["A ? B", "A ? B", "?", "A B"], 1)]
    found = TagLinks.of(iter(rows))
    assert found.sentences == 4
    assert dict(found.tags) == {"A": ("f:1", 1), "B": ("f:1", 3)}
    assert dict(found.links) == {
        Link(None, 0, "A"): ("f:1", 1),
        Link("A", 1, "B"): ("f:1", 3),
        Link("B", 0, None): ("f:1", 4),
        Link(None, 1, None): ("f:3", 2),
        Link("A", 0, "B"): ("f:4", 2),
    }


def test_scores_by_hand() -> None:
    gold = [sentence("B-x I-x O ? B-y O")]
    # Of five known tags four are right. The span of y stands beside the unknown token: nobody knows where it begins.
    scores = tag_scores(gold, [["B-x", "I-x", "O", "O", "B-y", "B-x"]], "bio")
    assert scores["accuracy"] == 4 / 5
    assert (scores["precision"], scores["recall"]) == (1 / 2, 1)
    assert (scores["strict_precision"], scores["strict_recall"]) == (1 / 2, 1)
    # What was found over the unknown token counts for nothing.
    scores = tag_scores(gold, [["B-x", "I-x", "O", "B-x", "I-x", "O"]], "bio")
    assert (scores["accuracy"], scores["precision"], scores["recall"]) == (4 / 5, 1, 1)
    assert tag_scores([sentence("? ?")], [["N", "V"]], "none") == {"accuracy": 0}
    assert FrequentTag([sentence("N ?"), sentence("? ?")]).predict(["w0", "w1", "w2"]) == ["N", "N", "N"]


def test_numbers_and_dictionary() -> None:
    known = [sentence("B I ?"), sentence("B I O"), sentence("B I O")]
    names = TagNames.of(known, "bio", min_count=1, check=True, dictionary=True)
    assert names.numbered(known[:1])[0][1] == [names.tags.index("B"), names.tags.index("I"), UNLABELLED]
    assert SpanDictionary.of(known[:2], "bio").entries == {}
    assert names.dictionary == SpanDictionary.of(known[1:], "bio")


def test_a_softmax_learns_from_known_tags_alone() -> None:
    scores = torch.randn(2, 3, 4, requires_grad=True, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, UNLABELLED, 2], [UNLABELLED, 3, 1]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    loss = Softmax().loss(scores, targets, mask)
    logs = scores.log_softmax(-1)
    assert torch.allclose(loss, -(logs[0, 0, 0] + logs[0, 2, 2] + logs[1, 1, 3]))
    (gradient,) = torch.autograd.grad(loss, scores)
    assert [[bool(g.any()) for g in row] for row in gradient] == [[True, False, True], [False, True, False]]
