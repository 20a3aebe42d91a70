"""`--learning` for texts and tags: runs by rules go on bit for bit, have the right gradient, and refuse by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command import assert_same_end, call, refused

from recurra.data import sample_path
from recurra.learning import ByRule
from recurra.tasks.tagging import Tagging, TaggingOptions
from recurra.tasks.text_classification import TextClassification, TextClassificationOptions

SMALL = ("--hidden-size", 4, "--embedding-size", 4, "--batch-size", 8, "--validation", 0.25, "--cell", "elman")
ONE_WAY = ("--one-way", "--dropout", 0)
TASKS = {
    "text-classification": ("--data", sample_path("tiny-reviews"), "--pooling", "max"),
    "tagging": ("--data", sample_path("tiny-words"), "--head", "softmax"),
}


@pytest.mark.parametrize(
    ("task", "rule"),
    [("text-classification", "rtrl"), ("text-classification", "uoro"), ("tagging", "snap1"), ("tagging", "dekf")],
)
def test_a_run_by_a_rule_resumes_bit_for_bit(task: str, rule: str, tmp_path: Path) -> None:
    words = ("train", task, *TASKS[task], *SMALL, *ONE_WAY, "--learning", rule, "--validate-every", 2)
    for name, steps in (("whole", 4), ("cut", 2)):
        code, _, stderr = call(*words, "--out", tmp_path / name, "--steps", steps)
        assert code == 0, stderr
    assert call("train", task, "--out", tmp_path / "cut", "--resume", "--steps", 4)[0] == 0
    assert_same_end(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
@pytest.mark.parametrize("learning", ["rtrl", "tbptt"])
def test_a_class_has_the_gradient_of_backward(pooling: str, learning: str) -> None:
    """Through all steps of a text to its class: exact by RTRL, and by truncated BPTT that looks back far enough."""
    made = {"pooling": pooling, "cell": "gru", "hidden_size": 4, "embedding_size": 3, "batch_size": 8}
    options = TextClassificationOptions(one_way=True, dropout=0.0, class_weights=True, look_back=40, **made)  # type: ignore[arg-type]
    model = TextClassification.prepare(options, [sample_path("tiny-reviews")])
    compare(model, learning)


def test_tags_have_the_gradient_of_backward() -> None:
    options = TaggingOptions(one_way=True, head="softmax", dropout=0.0, hidden_size=4, embedding_size=3, batch_size=8)
    compare(Tagging.prepare(options, [sample_path("tiny-words")]), "rtrl")


def compare(model: TextClassification | Tagging, learning: str) -> None:
    model.network.double()
    training = model.trainable()
    if isinstance(model, TextClassification):
        training._weights = training._weights.double()  # type: ignore[attr-defined]
    batch = next(training.batches(0))
    loss, count = training.loss(batch)
    loss.backward()
    truth = {n: p.grad.clone() for n, p in model.network.named_parameters() if p.grad is not None}
    model.network.zero_grad()
    by_rule, same = ByRule(training, learning, 40).loss(batch)  # type: ignore[arg-type]
    assert same == count
    torch.testing.assert_close(by_rule.detach(), loss.detach())
    by_rule.backward()
    for n, p in model.network.named_parameters():
        assert p.grad is not None
        torch.testing.assert_close(p.grad, truth[n], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("task", "more", "message"),
    [
        ("tagging", ("--learning", "rtrl"), "rtrl goes forward in time and cannot learn a network that reads both"),
        ("tagging", ("--learning", "uoro", *ONE_WAY, "--head", "crf"), "the head crf scores whole sentences"),
        ("text-classification", ("--learning", "snap1", "--one-way"), "this network draws random numbers (dropout)"),
        ("text-classification", ("--learning", "ekf", *ONE_WAY, "--class-weights"), "leave out --class-weights"),
        ("text-classification", ("--learning", "magic"), "learning"),
        ("text-classification", ("--look-back", 0), "look_back must be at least 1"),
        (
            "text-classification",
            ("--learning", "rtrl", *ONE_WAY, "--hidden-size", 700, "--batch-size", 32),
            "GB for the influence of",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_it_starts(task: str, more: tuple, message: str, tmp_path: Path) -> None:
    words = ("train", task, *TASKS[task], *SMALL, *more, "--out", tmp_path / "m", "--steps", 1)
    assert message in refused(*words)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("task", TASKS)
def test_a_model_that_reads_one_way_is_diagnosed(task: str, tmp_path: Path) -> None:
    words = ("train", task, *TASKS[task], *SMALL, *ONE_WAY, "--out", tmp_path / "m", "--steps", 2)
    assert call(*words)[0] == 0
    data = TASKS[task][1]
    code, stdout, stderr = call("diagnose", tmp_path / "m", data, "--steps", 5, "--out", tmp_path / "seen")
    assert code == 0, stderr
    assert "The gradient" in stdout
    found = json.loads((tmp_path / "seen" / "diagnosis.json").read_text("utf-8"))
    assert len(found["gradient"][0]) == 4
    both = ("train", task, *TASKS[task], *SMALL, "--out", tmp_path / "both", "--steps", 1)
    assert call(*both)[0] == 0
    assert "diagnose goes forward in time" in refused("diagnose", tmp_path / "both", data)
