"""What is known of a token besides itself, and the vectors that come of it."""

from __future__ import annotations

import pytest
import torch

from recurra.core.errors import ArgumentError, CorruptError, ShapeError
from recurra.data import TaggedSentence, token_features
from recurra.data.ragged_batches import padded
from recurra.data.tag_names import TagNames
from recurra.data.token_features import TokenFeatures
from recurra.networks import ColumnEmbedding


def test_bigrams_go_to_both_sides_and_rare_ones_are_unknown() -> None:
    features = TokenFeatures.of([tuple("ab")] * 3 + [tuple("ac")], "bigrams")
    left, right = features.tables
    assert set(left.symbols) == {"\ta", "a\tb"}  # "a c" was seen once, "a" at the beginning four times.
    assert set(right.symbols) == {"a\tb", "b\t"}
    (first, second), (after_first, after_second) = features.encode("ab")
    assert (first, second) == (left.encode(["\ta"])[0], left.encode(["a\tb"])[0])
    assert (after_first, after_second) == (right.encode(["a\tb"])[0], right.encode(["b\t"])[0])
    assert features.encode("xy") == [[0, 0], [0, 0]]
    assert features.sizes == (3, 3)


def test_phrases_go_back_one_token_and_two_and_are_known_from_the_second_time_on() -> None:
    features = TokenFeatures.of([tuple("abc"), tuple("abc"), tuple("xbc")], "phrases")
    pairs, triples = features.tables
    assert pairs.symbols == ("b\tc", "\ta", "a\tb")
    assert triples.symbols == ("\t\ta", "\ta\tb", "a\tb\tc")
    assert features.encode("abcb") == [[2, 3, 1, 0], [1, 2, 3, 0]]
    assert features.encode("") == [[], []]


def test_only_so_many_tokens_are_counted_and_so_many_values_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_features, "_COUNTED", {"phrases": 6})
    monkeypatch.setattr(token_features, "_MOST", 2)
    pairs, _ = TokenFeatures.of([tuple("abc"), tuple("abc"), *[tuple("xyz")] * 9], "phrases").tables
    assert pairs.symbols == ("\ta", "a\tb")


def test_spelling_is_lower_case_ends_and_shape() -> None:
    features = TokenFeatures.of([["McDonald-1970"]] * 3, "spelling")
    assert [table.symbols for table in features.tables] == [
        ("mcdonald-1970",), ("mcd",), ("70",), ("970",), ("AaAa-0",),
    ]  # fmt: skip
    assert features.encode(["mcduck", "x70", "RuAa-5"]) == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_vectors_of_features_are_together_about_as_long_as_that_of_the_token() -> None:
    features = TokenFeatures.of([["a"]] * 3, "spelling")
    assert features.widths(100) == [20] * 5
    assert features.widths(3) == [1] * 5
    assert TokenFeatures("none", ()).widths(9) == []


@pytest.mark.parametrize("kind", ["none", "bigrams", "phrases", "spelling"])
def test_features_come_back_from_json(kind: str) -> None:
    features = TokenFeatures.of([["a", "b"]] * 3, kind)  # pyright: ignore[reportArgumentType]
    assert TokenFeatures.from_json(features.to_json()) == features
    for broken in ({"kind": "x"}, {"tables": 3}, {"tables": [["a"], ["a"], ["a"]]}, {"kind": ["none"]}):
        with pytest.raises(CorruptError):
            TokenFeatures.from_json(features.to_json() | broken)


def test_a_tagger_numbers_tokens_with_their_features() -> None:
    sentences = [TaggedSentence(tuple("ab"), ("B", "E"))] * 3
    names = TagNames.of(sentences, "bmes", min_count=1, check=True, features=True)
    assert names.features.kind == "bigrams"
    rows, lengths = padded([names.encode("ab"), names.encode(""), names.encode("b")])
    assert (rows.shape, lengths.tolist()) == ((3, 2, 3), [2, 0, 1])
    assert rows[0].tolist() == [[1, 1, 1], [2, 2, 2]] or sorted(rows[0].flatten().tolist()) == [1, 1, 1, 2, 2, 2]
    assert rows[2, 1].tolist() == [0, 0, 0]
    assert TagNames.from_json(names.to_json()) == names
    words = [TaggedSentence(("Ab", "cd"), ("N", "V"))] * 3
    assert TagNames.of(words, "none", min_count=1, check=True, features=True).features.kind == "spelling"


@pytest.mark.parametrize("columns", [1, 2])
def test_a_token_is_unknown_with_all_its_features_while_learning(columns: int) -> None:
    torch.manual_seed(0)
    embed = ColumnEmbedding([9, 9][:columns], [2, 3][:columns], unknown=0.3)
    ids = torch.full((40, 25, 2), 4)[..., :columns].squeeze(-1)
    unknown, known = embed.eval()(torch.stack([torch.zeros_like(ids[0, 0]), ids[0, 0]]))
    assert embed(ids).eq(known).all()
    seen = embed.train()(ids)
    gone = seen.eq(unknown).all(-1)
    assert (gone | seen.eq(known).all(-1)).all()
    assert abs(float(gone.float().mean()) - 0.3) < 0.06  # Four standard deviations of a thousand draws.
    assert ids.eq(4).all()


def test_columns_stand_side_by_side() -> None:
    embed = ColumnEmbedding([4, 3], [2, 5])
    ids = torch.tensor([[[3, 0], [1, 2]]])
    tables = [embed.get_parameter(f"columns.{k}.weight") for k in range(2)]
    assert embed.size == 7
    torch.testing.assert_close(embed(ids)[0, 1], torch.cat([tables[0][1], tables[1][2]]))
    one = ColumnEmbedding([4], [2], dropout=0.5)
    assert one(torch.tensor([[1, 2]])).shape == (1, 2, 2)
    assert one.eval()(torch.tensor([1])).tolist() == one.get_parameter("columns.0.weight")[[1]].tolist()
    with pytest.raises(ShapeError):
        embed(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ArgumentError):
        ColumnEmbedding([4], [2, 3])
