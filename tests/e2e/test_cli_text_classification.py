"""From labelled texts to a classifier and back; negation, where a bag of words fails; what is refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from command import assert_same_end, call, refused

import recurra
from recurra.core.errors import DataError
from recurra.data import LabelledText, read_labelled, sample_path
from recurra.data.class_scores import NaiveBayes, class_scores, confusion
from recurra.data.label_scores import label_scores
from recurra.data.stratified import rarest_label, stratified
from recurra.learning import ModelFolder
from recurra.tasks.text_classification import TextClassification

TRAIN = ("train", "text-classification")
SMALL = ("--hidden-size", 8, "--embedding-size", 8, "--batch-size", 16, "--validation", 0.25, "--learning-rate", 0.05)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "model"
    words = (*TRAIN, "--data", sample_path("tiny-reviews"), "--out", out, "--epochs", 25, *SMALL)
    code, _, stderr = call(*words, "--pooling", "last", "--no-phrases")
    assert code == 0, stderr
    return out


def test_it_reads_a_not_where_a_bag_of_words_cannot(model: Path) -> None:
    metrics = json.loads(call("evaluate", model, "--json")[1])
    assert metrics["accuracy"] > metrics["naive_bayes_accuracy"] + 0.1
    table = [metrics[f"{a}_as_{b}"] for a in ("negative", "positive") for b in ("negative", "positive")]
    assert sum(table) == metrics["texts"]
    assert (table[0] + table[3]) / sum(table) == metrics["accuracy"]
    lines = call("predict", model, "--text", "the book was good", "--text", "the book was not good")[1].splitlines()
    assert [line.split("\t")[0] for line in lines] == ["positive", "negative"]


def test_probabilities_are_calibrated_on_the_validation_part(model: Path, tmp_path: Path) -> None:
    classifier = recurra.load(model)
    assert isinstance(classifier, TextClassification)
    metrics = classifier.evaluate()
    assert {"calibration_error", "uncalibrated_error"} <= set(metrics)
    assert any(name.startswith("right_where_sure_by_") for name in metrics)
    saved = classifier.temperature
    assert saved == json.loads((model / "vocabulary.json").read_text(encoding="utf-8"))["temperature"] != 1.0
    classifier.finish()
    assert classifier.temperature == pytest.approx(saved)
    scores = classifier.scores(["the book was not good"])[0]
    found = list(classifier.predict("the book was not good").probabilities.values())
    assert found == pytest.approx((scores / saved).softmax(0).tolist())
    copied = ModelFolder.open(shutil.copytree(model, tmp_path / "copy"))
    copied.write_vocabulary({**copied.read_vocabulary(), "temperature": -1.0})
    assert "has no temperature" in refused("predict", copied.path, "--text", "a")


def test_the_validation_loss_is_that_of_calibrated_answers(model: Path) -> None:
    classifier = recurra.load(model)
    assert isinstance(classifier, TextClassification)
    trainable = classifier.trainable()
    with torch.no_grad():
        before = trainable.validate()["val_loss"]
        for parameter in classifier.network.readout.parameters():
            parameter *= 3  # Three times as sure, of the same answers.
        assert trainable.validate()["val_loss"] == pytest.approx(before, rel=1e-4)


def test_predictions_are_probabilities_and_alone_as_among_others(model: Path) -> None:
    classifier = recurra.load(model)
    assert isinstance(classifier, TextClassification)
    texts = ["the film was great", "", "never seen words , here and there"]
    for text, found in zip(texts, classifier.predict(texts), strict=True):
        assert math.fsum(found.probabilities.values()) == pytest.approx(1, abs=1e-6)
        assert classifier.predict(text).probabilities == pytest.approx(found.probabilities, abs=1e-5)
    content = json.loads(call("predict", model, "--text", texts[0], "--json")[1])
    assert content["label"] == "positive"
    assert len(call("predict", model, "--text", texts[0], "--as", "table")[1].splitlines()) == 3


def test_a_text_may_have_several_labels_or_none(tmp_path: Path) -> None:
    rows = [
        {"text": f"{a} {b} {n}", "topic": [*(["sport"] if a == "ball" else []), *(["art"] if b == "song" else [])]}
        for a in ("ball", "box") for b in ("song", "sand") for n in range(20)
    ]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = (*TRAIN, "--data", tmp_path / "a.jsonl", "--label-column", "topic", "--separator", "|", *SMALL)
    code, _, stderr = call(*words, "--out", tmp_path / "m", "--epochs", 20, "--class-weights", "--dropout", 0)
    assert code == 0, stderr
    metrics = json.loads(call("evaluate", tmp_path / "m", "--json")[1])
    assert metrics["accuracy"] == metrics["micro_f1"] == metrics["macro_f1"] == 1
    assert metrics["majority_micro_f1"] < metrics["naive_bayes_micro_f1"] <= 1
    predict = ("predict", tmp_path / "m", "--text", "ball song seven", "--text", "box sand seven")
    lines = [line.split("\t") for line in call(*predict)[1].splitlines()]
    assert [line[0] for line in lines] == ["art|sport", ""]
    found = [json.loads(line) for line in call(*predict, "--json")[1].splitlines()]
    assert [answer["labels"] for answer in found] == [["art", "sport"], []]
    pieces = json.loads(call("explain", tmp_path / "m", "ball song", "--label", "sport", "--json")[1])["pieces"]
    assert pieces[0]["contribution"] > abs(pieces[2]["contribution"])
    assert "learned by bptt" in refused(*words, "--out", tmp_path / "n", "--one-way", "--learning", "rtrl")
    assert "threshold must be above 0" in refused(*words, "--out", tmp_path / "n", "--threshold", 1)
    assert "no loss at their last step" in refused("diagnose", tmp_path / "m", tmp_path / "a.jsonl")


@pytest.mark.parametrize("method", ["occlusion", "gradients"])
def test_explain_marks_what_each_word_contributed(model: Path, tmp_path: Path, method: str) -> None:
    words = ("explain", model, "the  book was good", "--method", method)
    content = json.loads(call(*words, "--json", "--html", tmp_path / "page.html")[1])
    assert content["label"] == "positive"
    shares = {piece["text"]: piece["contribution"] for piece in content["pieces"]}
    assert shares.pop("  ") is shares.pop(" ") is None
    assert "".join(piece["text"] for piece in content["pieces"]) == "the  book was good"
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<span") == 4
    assert ">good</span>" in page
    shown = call(*words, "--label", "negative")[1].splitlines()
    assert shown[0].startswith("negative 0.")
    if method == "occlusion":
        assert max(shares, key=lambda word: shares[word]) == "good"
        assert "rgba(46, 160, 67, 1.00)" in page
        assert shown[1].split()[1] == "good"
        assert float(shown[1].split()[0]) < 0
    assert "label must be one of negative, positive" in refused(*words, "--label", "x")


@pytest.mark.parametrize(("pooling", "level"), [("mean", "ngrams"), ("max", "pieces"), ("attention", "char")])
def test_each_pooling_is_resumed_bit_for_bit(tmp_path: Path, pooling: str, level: str) -> None:
    if level == "pieces":
        pytest.importorskip("sentencepiece")
    data = ("--data", sample_path("tiny-reviews"), *SMALL, "--pooling", pooling, "--validate-every", 2)
    data = (*data, "--level", level, "--pieces", 50)
    for name, steps in (("whole", 8), ("cut", 4)):
        assert call(*TRAIN, *data, "--out", tmp_path / name, "--steps", steps, "--class-weights")[0] == 0
    assert call(*TRAIN, "--out", tmp_path / "cut", "--resume", "--steps", 8)[0] == 0
    assert_same_end(tmp_path / "whole", tmp_path / "cut")
    pieces = json.loads(call("explain", tmp_path / "whole", "the film", "--json")[1])["pieces"]
    assert "".join(piece["text"] for piece in pieces) == "the film"


@pytest.mark.parametrize("folders", [False, True])
def test_large_texts_are_streamed_and_resumed_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: bool
) -> None:
    monkeypatch.setattr("recurra.data.streamed.CHUNK", 1000)
    monkeypatch.setattr("recurra.data.streamed.BUFFER", 2)
    source = sample_path("tiny-reviews")
    if folders:
        for i, t in enumerate(read_labelled([source])):
            (tmp_path / "texts" / t.label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "texts" / t.label / str(i)).write_text(t.text, encoding="utf-8")
        source = tmp_path / "texts"
    data = ("--data", source, *SMALL, "--in-memory", 0, "--validate-every", 2)
    for name, steps in (("whole", 8), ("cut", 4)):
        assert call(*TRAIN, *data, "--out", tmp_path / name, "--steps", steps)[0] == 0
    assert call(*TRAIN, "--out", tmp_path / "cut", "--resume", "--steps", 8)[0] == 0
    assert_same_end(tmp_path / "whole", tmp_path / "cut")
    assert json.loads(call("evaluate", tmp_path / "cut", "--json")[1])["accuracy"] > 0


def test_it_begins_from_given_vectors_and_reads_capitals_as_small(tmp_path: Path) -> None:
    (tmp_path / "v").write_text("good 1 2 3 4\nnot 5 6 7 8\n", encoding="utf-8")
    words = ("--data", sample_path("tiny-reviews"), *SMALL, "--vectors", tmp_path / "v", "--lower")
    code, _, stderr = call(*TRAIN, *words, "--out", tmp_path / "m", "--steps", 1, "--learning-rate", 0.001)
    assert code == 0, stderr
    classifier = recurra.load(tmp_path / "m")
    assert isinstance(classifier, TextClassification)
    vectors = classifier.word_vectors()
    assert vectors.vectors[vectors.places["not"]] == pytest.approx([5, 6, 7, 8], abs=0.01)
    assert classifier.predict("NOT Good").probabilities == classifier.predict("not good").probabilities
    (tmp_path / "v").write_text("gut 1 2\n", encoding="utf-8")
    assert "found none" in refused(*TRAIN, *words, "--out", tmp_path / "no", "--steps", 1)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("task", "sample"), [("text-classification", "tiny-reviews"), ("tagging", "tiny-words")]
)  # fmt: skip
def test_tokens_may_be_unit_vectors(tmp_path: Path, task: str, sample: str) -> None:
    words = ("train", task, "--data", sample_path(sample), "--one-hot", "--hidden-size", 4, "--steps", 1)
    code, _, stderr = call(*words, "--out", tmp_path / "m")
    assert code == 0, stderr
    model = recurra.load(tmp_path / "m")
    assert model.predict("a film")
    assert "one of unit vectors" in refused("similar", tmp_path / "m", "a")
    assert "leave out --one-hot or --vectors" in refused(*words, "--out", tmp_path / "no", "--vectors", "v")


ROWS = "text,label\n" + "".join(f"good {i},x\nbad {i},y\n" for i in range(4))
SAID = '{"text": "good", "label": "x"}\n'


@pytest.mark.parametrize("flags", [(), ("--in-memory", 0)])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\na,x\nb,x\n", "expected at least two classes, got x alone"),
        ("a.csv", "text,label\na,x\nb,x\nc,y\n", "got 1 of 'y'"),
        ("a.csv", "words,label\na,x\n", "expected columns 'text' and 'label', got words, label"),
        ("a.csv", "text,label,text\na,x,b\n", "the column 'text' is there 2 times"),
        ("a.csv", ROWS + "a,b,c\n", "a.csv:10: expected 2 fields as in the first line, got 3"),
        ("a.csv", ROWS + '"a,x\n' + "b,y\n", "a.csv:10: cannot be read (unexpected end of data)"),
        ("a.csv", ROWS + " ,x\n", "a.csv:10: expected a text, got an empty one"),
        ("a.csv", ROWS + "x" * 2_000_000 + ",x\n", "a.csv:10: expected a text of at most 1,000,000 characters"),
        ("a.csv", "text,label\n", "found none: name another file"),
        ("a.csv", ROWS + "\0,x\n", "got a NUL byte"),
        (
            "a.jsonl",
            SAID + '{"text": "a", "text": "b", "label": "x"}\n',
            "a.jsonl:2: the column 'text' is there 2",
        ),
        ("a.jsonl", SAID + '{"word": "a", "label": "x"}\n', "a.jsonl:2: expected columns 'text' and 'label', got word"),
        ("a.jsonl", SAID + '{"text": "\\ud800", "label": "x"}\n', "a.jsonl:2: expected a text that UTF-8 can hold"),
    ],
)
def test_bad_data_is_refused_in_one_line_and_nothing_is_written(
    tmp_path: Path, name: str, content: str, message: str, flags: tuple[object, ...]
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert message in refused(*TRAIN, "--data", tmp_path / name, "--out", tmp_path / "m", *flags)
    assert not (tmp_path / "m").exists()


def test_unseen_labels_at_evaluation_are_named_with_their_line(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,positive\nb,other\n", encoding="utf-8")
    assert "a.csv:3: the label 'other' is unknown" in refused("evaluate", model, "--data", tmp_path / "a.csv")


def test_scores_by_hand() -> None:
    table = confusion([0, 0, 1, 2], [0, 1, 1, 0], 4)
    assert table == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    scores = class_scores(table)
    assert scores["accuracy"] == 0.5
    assert scores["macro_f1"] == pytest.approx((0.5 + 2 / 3 + 0) / 3)


def test_scores_of_several_labels_by_hand() -> None:
    gold, predicted = [[True, True, False], [False, True, False]], [[True, False, False], [False, True, False]]
    scores = label_scores(gold, predicted)
    # Two right of three wanted and two found; the first label right, the second right once of two, the third not there.
    assert scores == {"accuracy": 0.5, "micro_f1": pytest.approx(4 / 5), "macro_f1": pytest.approx((1 + 2 / 3) / 2)}
    assert label_scores([[False]], [[False]]) == {"accuracy": 1, "micro_f1": 0, "macro_f1": 0}


def test_texts_of_several_labels_are_cut_by_the_rarest() -> None:
    texts = [LabelledText(f"t{i}", "a" if i % 10 else "a|b") for i in range(50)]
    texts += [LabelledText("c1", "c"), LabelledText("c2", "c|a")]
    parts = stratified(texts, validation=0.2, test=0, seed=0, key=rarest_label(texts, "|"))
    kinds = [sum("b" in t.label for t in parts[name]) for name in ("train", "validation")]
    assert kinds == [4, 1]
    assert sum("c" in t.label for t in parts["validation"]) == 1
    assert {t.text for t in parts["train"]} | {t.text for t in parts["validation"]} == {t.text for t in texts}
    for few, message in (([LabelledText("x", "a|b")], "got 1 of"), ([LabelledText(n, "") for n in "xy"], "got none")):
        with pytest.raises(DataError, match=message):
            rarest_label(few, "|")


def test_naive_bayes_equals_its_formula() -> None:
    bag = NaiveBayes(["aab", "b", "ac"], [0, 1, 1], 2)
    # p(0) = 1/3, p(a|0) = 3/6, p(b|0) = 2/6;
    # p(1) = 2/3, p(a|1) = 2/6, p(b|1) = 2/6; so p(0, aa) = 1/12 > p(1, aa) = 2/27.
    assert bag.predict(["aa", "a", "b", "", "?"]) == [0, 1, 1, 1, 1]


def test_parts_keep_the_shares_and_equal_texts_together() -> None:
    texts = [LabelledText(f"{label}{i}", label) for label, n in (("x", 40), ("y", 10)) for i in range(n)]
    texts += texts[:30]
    parts = stratified(texts, validation=0.2, test=0.1, seed=1)
    sets = {name: {t.text for t in found} for name, found in parts.items()}
    assert sum(map(len, parts.values())) == 80
    assert sum(map(len, sets.values())) == len(set.union(*sets.values())) == 50
    for name, x, y in (("validation", 8, 2), ("test", 4, 1)):
        assert [sum(t[0] == label for t in sets[name]) for label in "xy"] == [x, y]
    assert parts == stratified(texts, validation=0.2, test=0.1, seed=1)
    assert parts != stratified(texts, validation=0.2, test=0.1, seed=2)
    with pytest.raises(DataError, match="two different texts"):
        stratified([LabelledText("a", "x")] * 3, validation=0.2, test=0, seed=0)
