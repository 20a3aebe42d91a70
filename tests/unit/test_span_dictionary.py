"""The spans that training met, looked up in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from recurra.core.errors import CorruptError, DataError
from recurra.data import TaggedSentence, sample_path
from recurra.data.span_dictionary import SpanDictionary, read_lexicon
from recurra.data.tag_names import TagNames
from recurra.data.tag_schemes import Scheme
from recurra.tasks.tagging import Tagging, TaggingOptions


def _cut(text: str) -> TaggedSentence:
    """Return characters cut into words at blanks, as BMES."""
    tags = ["S" if len(w) == 1 else "B" + "M" * (len(w) - 2) + "E" for w in text.split()]
    return TaggedSentence(tuple(text.replace(" ", "")), tuple("".join(tags)))


def test_the_longest_known_span_begins_ends_and_goes_on_at_a_token() -> None:
    known = SpanDictionary.of([_cut("ab abc d bcde"), _cut("abc ab bcde d")], "bmes")
    assert known.entries is not None
    assert {text.replace("\t", ""): kind for text, kind in known.entries.items()} == {"ab": 0, "abc": 0, "bcde": 0}
    begins, ends, through = known.encode("xabcde")
    assert begins == [0, 3, 4, 0, 0, 0]  # A number is the length: there is one type. "abc" hides "ab".
    assert ends == [0, 0, 2, 3, 0, 4]
    assert through == [0, 0, 3, 4, 4, 0]  # Through c goes "bcde", longer than what ends there.
    assert known.sizes == (7, 7, 7)
    assert known.encode("") == [[], [], []]


def test_what_a_single_sentence_says_is_not_known() -> None:
    known = SpanDictionary.of([_cut("ab ab ab cd"), _cut("a b cd")], "bmes")
    assert known.encode("abcd")[0] == [0, 0, 2, 0]


def test_a_number_tells_the_most_frequent_type_and_long_spans_are_one_length() -> None:
    def sentence(kind: str) -> TaggedSentence:
        return TaggedSentence(("New", "York"), (f"B-{kind}", f"I-{kind}"))

    long = TaggedSentence(tuple("abcdefgh"), ("B-ORG", *["I-ORG"] * 7))
    known = SpanDictionary.of([sentence("PER"), sentence("LOC"), sentence("LOC"), long, long], "bio")
    assert known.types == ("LOC", "ORG")
    assert known.encode(["New", "York", "New"]) == [[2, 0, 0], [0, 2, 0], [0, 0, 0]]
    assert known.encode("abcdefgh")[2] == [0, *[1 + 6 + 5] * 6, 0]


@pytest.mark.parametrize(("scheme", "columns"), [("bmes", 4), ("none", 1)])
def test_a_tagger_numbers_them_beside_its_tokens_and_they_come_back_from_json(scheme: Scheme, columns: int) -> None:
    names = TagNames.of([_cut("ab c")] * 2, scheme, min_count=1, check=True, dictionary=True)
    assert names.encode("abc").shape == ((3, columns) if columns > 1 else (3,))
    assert TagNames.from_json(names.to_json()) == names
    assert TagNames.from_json({k: v for k, v in names.to_json().items() if k != "dictionary"}).dictionary.sizes == ()


def test_the_network_reads_them() -> None:
    options = TaggingOptions(dictionary=True, features=False, hidden_size=4, embedding_size=4, head="softmax")
    model = Tagging.prepare(options, [sample_path("tiny-words")])
    columns = model.network.scores.embed.get_submodule("columns")
    assert [tuple(p.shape)[1] for p in columns.parameters()] == [4, 10, 10, 10]
    assert model.names.dictionary.entries
    known = next(iter(model.names.dictionary.entries)).replace("\t", "")
    rows = model.names.encode(known)
    model.network.eval()
    with_it = model.network.scores.embed(rows)
    rows[:, 1:] = 0
    assert not with_it.equal(model.network.scores.embed(rows))
    assert len(model.predict(known).tags) == len(known)


@pytest.mark.parametrize(
    ("text", "sentence", "found"),
    [("bc 3 nz\nabc\t7\nd 2 n\n", "ab c", [3, 2, 0]), ("c d\tLOC\n\nx y z\n", "ab c d", [0, 2, 0])],
)
def test_words_are_known_from_a_list_too(tmp_path: Path, text: str, sentence: str, found: list[int]) -> None:
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    lines = read_lexicon(tmp_path / "list.txt")
    tokens = tuple(sentence.replace(" ", "")) if found[0] else tuple(sentence.split())
    names = TagNames.of([TaggedSentence(tokens, ("S",) * 3)], "bmes", min_count=1, check=True, lexicon=lines)
    assert names.encode(tokens)[:, 1].tolist() == found
    assert names.encode(tokens).shape == (3, 4)
    assert TagNames.from_json(names.to_json()) == names


def test_a_tagger_reads_a_list_and_notes_which(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    found: list[str] = []
    for text in ("他说\n", "他说\n的确\n"):
        path.write_text(text, encoding="utf-8")
        options = TaggingOptions(lexicon=str(path), features=False, hidden_size=4, embedding_size=4, head="softmax")
        model = Tagging.prepare(options, [sample_path("tiny-words")])
        found.append(model.config["data"]["lexicon"])
        assert model.names.lexicon.encode("的确")[0][0] == (2 if "的确" in text else 0)
        assert model.config["options"]["lexicon"] == str(path)
    assert found[0] != found[1]
    path.write_text("\n \n", encoding="utf-8")
    with pytest.raises(DataError, match="a word or name a line"):
        read_lexicon(path)


@pytest.mark.parametrize(
    "broken", [3, {}, {"types": ["a"], "entries": {"x": 1}}, {"types": [2], "entries": {}}, {"types": [], "entries": 1}]
)
def test_what_is_no_dictionary_is_told(broken: object) -> None:
    with pytest.raises(CorruptError, match="dictionary of spans"):
        SpanDictionary.from_json(broken)
