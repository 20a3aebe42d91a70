"""Vectors of words from text: words that are used alike come to lie together, and other models begin from them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from command import assert_same_end, call, refused

import recurra
from recurra.data import sample_path
from recurra.tasks.embeddings import Embeddings

TRAIN = ("train", "embeddings")
SMALL = ("--embedding-size", 8, "--window", 2, "--min-count", 2, "--subsample", 0, "--batch-size", 256)
GROUPS = (("cat", "dog", "cow", "pig"), ("red", "blue", "green", "gold"), ("一", "二", "三", "四"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return lines that take each word from one group: within a group, all words are used alike."""
    draw = random.Random(0)
    lines = [" ".join(draw.choices(draw.choice(GROUPS), k=6)) for _ in range(600)]
    file = tmp_path_factory.mktemp("text") / "lines.txt"
    file.write_text("\n".join(["Once was here", *lines]), encoding="utf-8")
    return file


@pytest.mark.parametrize("method", ["skipgram", "cbow"])
def test_words_used_alike_lie_together(tmp_path: Path, text: Path, method: str) -> None:
    words = (*TRAIN, "--data", text, "--out", tmp_path / "m", *SMALL, "--method", method)
    code, _, stderr = call(*words, "--epochs", 3, "--learning-rate", 0.05)
    assert code == 0, stderr
    lines = call("similar", tmp_path / "m", *sum(GROUPS, ()), "-n", 3, "--json")[1].splitlines()
    near = {found["word"]: {n["word"] for n in found["neighbours"]} for found in map(json.loads, lines)}
    assert near == {word: set(group) - {word} for group in GROUPS for word in group}
    metrics = json.loads(call("evaluate", tmp_path / "m", "--json")[1])
    assert metrics["nats"] < metrics["untrained_nats"] - 0.5
    assert "expected one of the 12 words" in refused("similar", tmp_path / "m", "once")
    lines = call("similar", tmp_path / "m", "cat", "dog", "-n", 2)[1].splitlines()
    assert [line.split("\t")[0] for line in lines] == ["cat", "cat", "dog", "dog"]
    assert call("predict", tmp_path / "m", "--text", "cat")[1].count("\n") == 11


def test_a_run_that_was_cut_ends_as_one_that_was_not(tmp_path: Path, text: Path) -> None:
    data = ("--data", text, *SMALL, "--validate-every", 2)
    for name, steps in (("whole", 8), ("cut", 4)):
        assert call(*TRAIN, *data, "--out", tmp_path / name, "--steps", steps)[0] == 0
    assert call(*TRAIN, "--out", tmp_path / "cut", "--resume", "--steps", 8)[0] == 0
    assert_same_end(tmp_path / "whole", tmp_path / "cut")


def test_other_models_begin_from_a_folder_and_have_neighbours_too(tmp_path: Path) -> None:
    reviews = sample_path("tiny-reviews")
    small = ("--min-count", 2, "--steps", 2, "--learning-rate", 1e-9)
    assert call(*TRAIN, "--data", reviews, "--out", tmp_path / "v", *small, "--embedding-size", 6)[0] == 0
    begin = ("--data", reviews, "--hidden-size", 4, "--vectors", tmp_path / "v", *small)
    assert call("train", "text-classification", *begin, "--out", tmp_path / "c")[0] == 0
    assert call("train", "language-model", "--data", reviews, "--level", "word", "--hidden-size", 4, "--window", 5,
                "--batch-size", 2, "--steps", 1, "--out", tmp_path / "l")[0] == 0  # fmt: skip
    source, other = recurra.load(tmp_path / "v"), recurra.load(tmp_path / "c")
    assert isinstance(source, Embeddings)
    for word in ("film", "not"):
        mine = source.word_vectors().vectors[source.words.symbols.index(word)]
        theirs = other.word_vectors()  # pyright: ignore[reportAttributeAccessIssue]
        np.testing.assert_allclose(theirs.vectors[theirs.places[word]], mine, atol=1e-6)
        for folder in ("c", "l"):
            assert len(call("similar", tmp_path / folder, word, "-n", 3)[1].splitlines()) == 3


def test_what_is_refused(tmp_path: Path, text: Path) -> None:
    (tmp_path / "few").write_text("a b\n", encoding="utf-8")
    out = ("--out", tmp_path / "m")
    assert "at least two words seen 5 times" in refused(*TRAIN, "--data", tmp_path / "few", *out)
    assert "window must be at least 1" in refused(*TRAIN, "--data", text, *out, "--window", 0)
    assert "subsample must be" in refused(*TRAIN, "--data", text, *out, "--subsample", 2)
    assert not (tmp_path / "m").exists()
    (tmp_path / "b").write_bytes(bytes(range(97, 123)) * 40)
    assert call("train", "language-model", "--data", tmp_path / "b", "--level", "byte", "--hidden-size", 4, "--window",
                5, "--batch-size", 2, "--steps", 1, "--out", tmp_path / "l")[0] == 0  # fmt: skip
    assert "with a vector for each word" in refused("similar", tmp_path / "l", "a")
