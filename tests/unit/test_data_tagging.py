"""What a tagger counts and numbers: scores by hand, symbols, batches of sentences."""

from __future__ import annotations

import pytest

from recurra.core.errors import CorruptError
from recurra.data import TaggedSentence
from recurra.data.ragged_batches import batch_order, padded
from recurra.data.symbols import SymbolTable
from recurra.data.tag_names import TagNames
from recurra.data.tag_scores import FrequentTag, tag_scores


def sentence(tokens: str, tags: str) -> TaggedSentence:
    return TaggedSentence(tuple(tokens.split()), tuple(tags.split()))


def test_scores_by_hand() -> None:
    gold = [sentence("a b c d e", "B-x I-x O B-y O")]
    scores = tag_scores(gold, [["B-x", "I-x", "O", "I-y", "B-x"]], "bio", known={"a b"})
    assert scores["accuracy"] == 3 / 5
    # Generously read, I-y is a span: 2 of 3 found ones are right, of 2. Strictly it is none: 1 of 2, of 2.
    assert (scores["precision"], scores["recall"], scores["f1"]) == (2 / 3, 1, pytest.approx(0.8))
    assert (scores["strict_precision"], scores["strict_recall"], scores["strict_f1"]) == (0.5, 0.5, 0.5)
    assert (scores["unseen"], scores["unseen_recall"]) == (1, 1)
    assert tag_scores(gold, [["O"] * 5], "bio", known=())["unseen"] == 2
    assert tag_scores([sentence("a", "N")], [["V"]], "none") == {"accuracy": 0}
    assert tag_scores(gold, [["O"] * 5], "bio")["f1"] == 0


def test_the_baseline_takes_the_most_frequent_tag() -> None:
    frequent = FrequentTag([sentence("the dog runs", "D N V"), sentence("dog dog the", "N V D"), sentence("x", "N")])
    assert frequent.predict(["the", "dog", "runs", "never"]) == ["D", "N", "V", "N"]


def test_symbols_go_by_frequency_and_come_back() -> None:
    table = SymbolTable.build([["b", "a", "b"], ["c", "a", "b"]], min_count=2)
    assert table.symbols == ("b", "a")
    assert table.encode(["a", "c", "b"]) == [2, 0, 1]
    assert "a" in table
    assert SymbolTable.from_json(table.to_json()) == table
    for wrong in ("ab", [1], ["a", "a"]):
        with pytest.raises(CorruptError):
            SymbolTable.from_json(wrong)


def test_every_sequence_is_in_one_batch_of_an_epoch_and_epochs_differ() -> None:
    lengths = [i % 17 for i in range(103)]
    epochs = [list(batch_order(lengths, 4, seed=3, epoch=e)) for e in (0, 1, 0)]
    assert epochs[0] == epochs[2] != epochs[1]
    assert sorted(i for batch in epochs[0] for i in batch) == list(range(103))
    assert max(map(len, epochs[0])) == 4
    assert list(batch_order(lengths, 4, seed=3, epoch=0, start=5)) == epochs[0][5:]
    assert list(batch_order(lengths, 4, seed=4, epoch=0)) != epochs[0]


def test_padding() -> None:
    rows, lengths = padded([[1, 2], [], [3]])
    assert rows.tolist() == [[1, 2], [0, 0], [3, 0]]
    assert lengths.tolist() == [2, 0, 1]
    assert padded([[]])[0].shape == (1, 0)


def test_a_token_of_raw_text_is_what_the_training_text_had() -> None:
    def unit(tokens: str) -> TagNames:
        sentences = [sentence(tokens, " ".join("N" for _ in tokens.split()))]
        return TagNames.of(sentences, "auto", min_count=1, check=True)

    assert unit("我 爱").tokenise("我爱 你") == ["我", "爱", "你"]
    assert unit("it runs .").tokenise("It runs.") == ["It", "runs", "."]
    assert unit("我们 爱").tokenise("我们 爱你") == ["我们", "爱你"]
    names = unit("a bc")
    assert TagNames.from_json(names.to_json()) == names
    for broken in ({"tags": []}, {"scheme": "x"}, {"unit": 3}, {"symbols": None}, {"scheme": "bio"}):
        with pytest.raises(CorruptError):
            TagNames.from_json(names.to_json() | broken)


def test_a_word_is_cut_into_ngrams_that_know_where_it_begins_and_ends() -> None:
    words = [sentence("cat act at", "N V P"), sentence("cat x" + 24 * "y", "N N")]
    names = TagNames.of(words, "none", min_count=1, check=True, characters=True, ngram=3)
    assert names.characters is not None
    table = dict(enumerate(names.characters.symbols, 2))  # 0: no more, 1: unknown.
    (cat, tacs, _) = names.encode(["cat", "tacs", words[1].tokens[1]])[:, -21:].tolist()
    assert [table[i] for i in cat if i] == [" ca", "cat", "at", "t"]
    assert [table.get(i) for i in tacs if i] == [None] * 5
    assert TagNames.from_json(names.to_json()) == names
    with pytest.raises(CorruptError):
        TagNames.from_json(names.to_json() | {"ngram": -1})
    rare = TagNames.of(words, "none", min_count=2, check=True, characters=True, ngram=3).characters
    assert rare is not None
    assert {"cat", "at", "yyy"} <= set(rare.symbols)
    assert "act" not in rare
