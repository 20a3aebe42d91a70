"""From segmented text to a tagger and back: train, evaluate, predict, segment, resume; and what is refused."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
from pathlib import Path

import pytest
from command import ENVIRONMENT, PROGRAM, assert_same_end, call, refused

import recurra
from recurra.data import Span, read_tagged, sample_path
from recurra.tasks.tagging import Tagging

TRAIN = ("train", "tagging")
SMALL = ("--hidden-size", 8, "--embedding-size", 8, "--batch-size", 16, "--validation", 0.2, "--learning-rate", 0.05)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "model"
    code, stdout, stderr = call(*TRAIN, "--data", sample_path("tiny-words"), "--out", out, "--epochs", 12, *SMALL)
    assert code == 0, stderr
    assert f"recurra predict {out}" in stdout
    return out


def loaded(folder: Path) -> Tagging:
    found = recurra.load(folder)
    assert isinstance(found, Tagging)
    return found


def test_it_learns_the_words_of_sentences_it_has_not_seen(model: Path) -> None:
    metrics = json.loads(call("evaluate", model, "--json")[1])
    assert metrics["sentences"] == 12
    assert metrics["f1"] == metrics["strict_f1"] > metrics["baseline_f1"]
    assert metrics["illegal_sequences"] == 0
    tokens = [sentence.tokens for sentence in read_tagged([sample_path("tiny-words")])]
    assert metrics["sentences_also_in_training"] == sum(row in tokens[:48] for row in tokens[48:]) == 1
    assert json.loads(call("evaluate", model, "--json", "--part", "train")[1])["sentences_also_in_training"] == 48
    (model.parent / "long").write_text("x" * 2_000_000, encoding="utf-8")
    assert "line 1: expected at most 1,000,000" in refused("predict", model, model.parent / "long")
    assert "scheme `bmes`" in (model / "README.md").read_text(encoding="utf-8")


def test_probabilities_are_those_of_all_ways_to_cut(model: Path) -> None:
    tagger = loaded(model)
    text = "他说的确实在理"
    ways = tagger.alternatives(text, 1000)
    assert len(ways) == 2 ** (len(text) - 1)  # A border or none between any two characters.
    assert math.fsum(p for _, p in ways) == pytest.approx(1, abs=1e-5)
    assert [p for _, p in ways] == sorted((p for _, p in ways), reverse=True)
    best = tagger.predict(text)
    assert best.tags == ways[0][0].tags
    for span, p in zip(best.spans, best.span_probabilities, strict=True):
        assert p == pytest.approx(math.fsum(q for way, q in ways if span in way.spans), abs=1e-5)
    for t, p in enumerate(best.probabilities):
        assert p == pytest.approx(math.fsum(q for way, q in ways if way.tags[t] == best.tags[t]), abs=1e-5)


def test_lines_stand_alone_and_empty_ones_stay(model: Path) -> None:
    tagger = loaded(model)
    texts = ["今天我们爱北京。", "", "书"]
    together = tagger.predict(texts)
    for text, found in zip(texts, together, strict=True):
        alone = tagger.predict(text)
        assert alone.tags == found.tags
        assert alone.probabilities == pytest.approx(found.probabilities, abs=1e-5)
    assert together[1].spans == ()


def test_predict_in_every_form(model: Path) -> None:
    words = ("predict", model, "--text", "我们爱北京")
    best = loaded(model).predict("我们爱北京")
    assert call(*words)[1].split() == [best.text_of(s) for s in best.spans]
    table = [line.split("\t") for line in call(*words, "--as", "table")[1].splitlines()]
    assert [row[:2] for row in table] == [[best.text_of(s), "word"] for s in best.spans]
    content = json.loads(call(*words, "--json")[1])
    assert [Span(s["start"], s["end"], s["type"]) for s in content["spans"]] == list(best.spans)
    conll = call(*words, "--as", "conll")[1]
    assert conll == "".join(f"{a}\t{b}\n" for a, b in zip(best.tokens, best.tags, strict=True)) + "\n"
    assert "--as must be one of text, jsonl" in refused(*words, "--as", "xml")


def test_segment_answers_line_by_line(model: Path) -> None:
    lines = ["我爱中国", "", "他们讨论音乐。"]
    code, out, _ = call("segment", model, stdin="\n".join(lines))
    assert code == 0
    assert [line.replace(" ", "") for line in out.split("\n")[:-1]] == lines
    best = call("segment", model, "--n-best", 2, "--probabilities", stdin=lines[0])[1].splitlines()
    assert len(best) == 2
    first, second = (float(line.split("\t")[0]) for line in best)
    assert 1 >= first >= second > 0


@pytest.mark.parametrize("words", [("predict",), ("segment", "--probabilities")])
def test_a_line_is_answered_before_the_next_is_written(model: Path, words: tuple[str, ...]) -> None:
    command = [*PROGRAM, *words[:1], str(model), *words[1:]]
    with subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for line in ("我爱中国", "他们讨论音乐。"):
            running.stdin.write(f"{line}\n".encode())
            running.stdin.flush()
            words_of = [word.split("/")[0] for word in running.stdout.readline().decode().split()]
            assert "".join(words_of) == line
        running.stdin.close()
        assert running.wait(60) == 0


@pytest.mark.parametrize("verb", ["predict", "segment"])
def test_what_is_wrong_in_a_line_of_standard_input_is_named(model: Path, verb: str) -> None:
    for bad, message in (
        (b"\xff", "standard input, line 2: expected UTF-8, got byte 0xFF"),
        ("x" * 2_000_000, "line 2: expected at most 1,000,000 characters, got 2,000,000"),
        ("我" * 2_000_000, "line 2: expected at most 1,000,000 characters, got more"),
    ):
        start = "我爱中国\n".encode()
        code, out, err = call(verb, model, stdin=start + (bad if isinstance(bad, bytes) else bad.encode()))
        assert code == 1
        assert err.count("\n") == 1
        assert message in err
        assert out.replace(" ", "") == "我爱中国\n"


def test_a_resumed_run_ends_as_one_that_was_not_cut(tmp_path: Path) -> None:
    data = ("--data", sample_path("tiny-words"), *SMALL, "--dropout", 0.5, "--validate-every", 2)
    for name, steps in (("whole", 8), ("cut", 4)):  # An epoch has three steps.
        assert call(*TRAIN, *data, "--out", tmp_path / name, "--steps", steps)[0] == 0
    assert call(*TRAIN, "--out", tmp_path / "cut", "--resume", "--steps", 8)[0] == 0
    assert_same_end(tmp_path / "whole", tmp_path / "cut")


def test_large_texts_are_streamed_and_resumed_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recurra.data.streamed.CHUNK", 1000)
    monkeypatch.setattr("recurra.data.streamed.BUFFER", 2)
    data = ("--data", sample_path("tiny-words"), *SMALL, "--in-memory", 0, "--validate-every", 2)
    for name, steps in (("whole", 8), ("cut", 4)):
        assert call(*TRAIN, *data, "--out", tmp_path / name, "--steps", steps)[0] == 0
    assert call(*TRAIN, "--out", tmp_path / "cut", "--resume", "--steps", 8)[0] == 0
    assert_same_end(tmp_path / "whole", tmp_path / "cut")
    assert json.loads(call("evaluate", tmp_path / "cut", "--json")[1])["accuracy"] > 0


def test_names_with_types_by_a_softmax(tmp_path: Path) -> None:
    data = tmp_path / "names.txt"
    data.write_text("小 B-BRAND\n米 I-BRAND\n雷 B-PER\n军 I-PER\n说 O\n\n" * 10, encoding="utf-8")
    out = tmp_path / "m"
    words = (*TRAIN, "--data", data, "--out", out, "--head", "softmax", "--epochs", 15, *SMALL, "--dropout", 0)
    assert call(*words)[0] == 0
    table = [
        line.split("\t")[:2] for line in call("predict", out, "--text", "小米雷军说", "--as", "table")[1].splitlines()
    ]
    assert table == [["小米", "BRAND"], ["雷军", "PER"]]
    assert "cuts text into words" in refused("segment", out)


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("a O\nb I-X\n\nc O\n\n", ("--scheme", "bio"), "text:1: tag 2, 'I-X', cannot follow 'O' in the scheme bio"),
        ("a B\nb Q\n\nc B\n\n", ("--scheme", "bio"), "text:1: token 2: tag 'Q' is not of the scheme bio"),
        ("a X\nb Z\n\nb Y\n\n", ("--validation", 0.5), "text:4: token 1: the tag 'Y' is not in the training part"),
        ("a O\nb B-X\n\na Q-X\n\n", ("--scheme", "bio"), "text:4: token 1: tag 'Q-X' is not of the scheme bio"),
        ("a O\nb B-X\nc Q-X\n\na O\n\n", (), "text:1: token 3: tag 'Q-X' is not of the scheme bio, which the others"),
        ("a N\n\nb N\n\n", (), "expected at least two tags, got N alone"),
        (
            "a O\nb B-X\n\n" * 9 + "c\n\n",
            ("--format", "auto"),
            "text:28: expected 2 columns as in the lines",
        ),
        ("a/O b/N\nb/N c\n" * 9, ("--format", "auto"), "text:2: expected token/tag, got 'c' as piece 2"),
        ("a O\nb N\n\n" * 9, ("--in-memory", 0), "expected data to learn from besides what is held out"),
        ("\n\n", ("--in-memory", 0), "text: expected sentences or texts, found none"),
        ("a X\n", (), "expected sentences to learn from and to validate on, got 1"),
        ("a X\n\nb\n\n", ("--format", "columns"), "text:3: expected 2 columns"),
    ],
)
def test_bad_data_is_refused_in_one_line_and_nothing_is_written(
    tmp_path: Path, content: str, flags: tuple[object, ...], message: str
) -> None:
    (tmp_path / "text").write_text(content, encoding="utf-8")
    line = refused(*TRAIN, "--format", "columns", "--data", tmp_path / "text", "--out", tmp_path / "m", *flags)
    assert message in line
    assert not (tmp_path / "m").exists()


def test_unseen_tags_at_evaluation_are_named_with_their_line(model: Path, tmp_path: Path) -> None:
    for tag, message in (("Q", "tag 'Q' is not of the scheme bmes"), ("S-x", "the tag 'S-x' is not in the training")):
        (tmp_path / "more").write_text(f"我/S 爱/S\n我/S 爱/{tag}\n", encoding="utf-8")
        assert f"more:2: token 2: {message}" in refused("evaluate", model, "--data", tmp_path / "more")


def test_the_sample_reads_as_words() -> None:
    sentences = read_tagged([sample_path("tiny-words")])
    assert len(sentences) == 60
    assert {tag for s in sentences for tag in s.tags} == set("BMES")
    assert all(a != "B" or b in "ME" for s in sentences for a, b in itertools.pairwise(s.tags))


def test_half_a_character_is_refused(model: Path) -> None:
    assert "lone surrogate U+D800" in refused("predict", model, "--text", "我\ud800爱")


@pytest.mark.parametrize("kind", ["rnn", "cnn", "ngrams"])
def test_words_composed_of_characters_over_vectors_are_resumed_bit_for_bit(tmp_path: Path, kind: str) -> None:
    lines = "".join(f"Ann/N saw/V {n}{k}/D dogs/N\nwe/P See/V 1998/D Cats/N\n\n" for n in range(3) for k in range(4))
    (tmp_path / "text").write_text(lines, encoding="utf-8")
    (tmp_path / "v").write_text("saw 1 2 3\nsee 4 5 6\n0000 7 8 9\nnobody 1 1 1\n", encoding="utf-8")
    data = ("--data", tmp_path / "text", *SMALL, "--validate-every", 2, "--characters", kind, "--character-size", 3)
    data = (*data, "--vectors", tmp_path / "v", "--zeros", "--min-count", 1)
    for name, steps in (("whole", 4), ("cut", 2)):
        code, _, stderr = call(*TRAIN, *data, "--out", tmp_path / name, "--steps", steps)
        assert code == 0, stderr
    assert call(*TRAIN, "--out", tmp_path / "cut", "--resume", "--steps", 4)[0] == 0
    assert_same_end(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "v").unlink()  # The folder has all it needs.
    tagger = loaded(tmp_path / "whole")
    vectors = tagger.word_vectors()
    assert {"saw", "See", "0000", "Cats"} <= set(vectors.words)
    assert tagger.config["vectors"]["words"] == 3
    assert tagger.options.embedding_size == 3
    # Learned on from the file: every word's vector is near its own line, capitals or not.
    for word, line in (("saw", (1, 2, 3)), ("See", (4, 5, 6)), ("0000", (7, 8, 9))):
        assert vectors.vectors[vectors.places[word]] == pytest.approx(line, abs=0.5)
    assert tagger.predict("We saw 2015 birds").tokens == ("We", "saw", "2015", "birds")
    assert "cannot be read" in refused(*TRAIN, *data, "--out", tmp_path / "no", "--steps", 1)


@pytest.mark.parametrize("kind", ["rnn", "ngrams"])
def test_a_spelling_never_seen_is_known_by_its_characters(tmp_path: Path, kind: str) -> None:
    words = [(f"{a}{b}{end}", tag) for a in "klmn" for b in "aeio" for end, tag in (("ed", "V"), ("ly", "A"))]
    (tmp_path / "text").write_text("".join(f"{w}/{t}\n" for w, t in words * 3), encoding="utf-8")
    size = ("--hidden-size", 4, "--embedding-size", 4, "--character-size", 6, "--learning-rate", 0.05, "--epochs", 6)
    common = ("--data", tmp_path / "text", "--no-features", *size, "--characters", kind, "--validation", 0.1)
    assert call(*TRAIN, *common, "--out", tmp_path / "m")[0] == 0
    found = loaded(tmp_path / "m").predict(["zuzzed", "zuzzly"])
    assert [f.tags for f in found] == [("V",), ("A",)]


@pytest.mark.parametrize("flags", [(), ("--head", "softmax", "--one-way"), ("--in-memory", 0)])
def test_tokens_without_a_tag_are_learned_from_as_far_as_they_say_anything(
    tmp_path: Path, flags: tuple[object, ...]
) -> None:
    # The last word makes every sentence another one: what is held out is never learned from.
    kinds = (("ab", "BI"), ("cd", "OB"), ("bab", "OBI"))
    whole = [[*zip(a, b, strict=True), (f"x{n}", "O")] for n in range(60) for a, b in kinds]
    draw = random.Random(0)
    for name, share in (("part", 0.4), ("whole", 0.0)):
        lines = (" ".join(f"{w}/{'?' if draw.random() < share else t}" for w, t in row) for row in whole)
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    words = (*TRAIN, "--data", tmp_path / "part", "--unlabelled", "?", *SMALL, *flags)
    code, _, err = call(*words, "--scheme", "bio", "--out", tmp_path / "m", "--epochs", 12, "--dropout", 0)
    assert code == 0, err
    found = json.loads(call("evaluate", tmp_path / "m", "--json", "--data", tmp_path / "whole")[1])
    assert found["accuracy"] > 0.97
    part = json.loads(call("evaluate", tmp_path / "m", "--json", "--data", tmp_path / "part")[1])
    assert 0 < part["tokens"] < 0.7 * found["tokens"]
    assert loaded(tmp_path / "m").names.tags == ("B", "I", "O")
    if "--one-way" in flags:
        code, _, err = call("diagnose", tmp_path / "m", tmp_path / "part", "--steps", 3)
        assert code == 0, err
