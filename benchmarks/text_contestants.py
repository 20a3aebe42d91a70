"""What others do on the same splits: jieba's words, snownlp's classifier, bags of words by scikit-learn.

Used by `text_corpora.py`. Bags of words are tuned as our models are: on the validation part.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recurra.data import LabelledText, tags_of
from recurra.data.tag_schemes import Span

__all__ = ["classifiers", "jieba_words"]


def jieba_words(texts: Sequence[str]) -> tuple[list[tuple[str, ...]], float]:
    """Cut texts by jieba, its dictionary and hidden Markov model as they come; return BMES tags and seconds."""
    jieba = importlib.import_module("jieba")
    jieba.initialize()
    began = time.perf_counter()
    cut = [jieba.lcut(text) for text in texts]
    seconds = time.perf_counter() - began
    found: list[tuple[str, ...]] = []
    for text, words in zip(texts, cut, strict=True):
        at, spans = 0, list[Span]()
        for word in words:
            spans.append(Span(at, at + len(word)))
            at += len(word)
        found.append(tuple(tags_of(spans, len(text), "bmes")))
    return found, seconds


def classifiers(parts: Mapping[str, Sequence[LabelledText]], corpora: Path, *, chinese: bool) -> dict[str, list[str]]:
    """Return the labels that each contestant gives the test part, having learned from the training part."""
    found = {"naive Bayes": _bag(parts, chinese, bayes=True), "TF-IDF, logistic regression": _bag(parts, chinese)}
    if chinese:
        found["snownlp's own classifier"] = _snownlp(parts, corpora)
    return found


def _bag(parts: Mapping[str, Sequence[LabelledText]], chinese: bool, *, bayes: bool = False) -> list[str]:
    """Take the best of twelve settings by the validation part: one to three tokens together, and the strength."""
    text: Any = importlib.import_module("sklearn.feature_extraction.text")
    best: tuple[float, list[str]] = (-1.0, [])
    labels = {k: [t.label for t in v] for k, v in parts.items()}
    for longest in (1, 2, 3):
        cut = {"analyzer": "char" if chinese else "word", "ngram_range": (1, longest)}
        bag = text.CountVectorizer(binary=True, **cut) if bayes else text.TfidfVectorizer(sublinear_tf=True, **cut)
        bag.fit([t.text for t in parts["train"]])
        rows = {k: bag.transform([t.text for t in v]) for k, v in parts.items()}
        for strength in (0.3, 1.0, 3.0, 10.0):
            if bayes:
                model = importlib.import_module("sklearn.naive_bayes").MultinomialNB(alpha=strength)
            else:
                linear: Any = importlib.import_module("sklearn.linear_model").LogisticRegression
                model = linear(C=strength, solver="liblinear")
            model.fit(rows["train"], labels["train"])
            score = model.score(rows["validation"], labels["validation"])
            if score > best[0]:
                best = (score, [str(label) for label in model.predict(rows["test"])])
    return best[1]


def _snownlp(parts: Mapping[str, Sequence[LabelledText]], corpora: Path) -> list[str]:
    """Train snownlp's classifier (its own words, stop words and naive Bayes) on the training part."""
    sys.path.insert(0, str(next(path for path in corpora.glob("snownlp-*") if path.is_dir())))
    classifier: Any = importlib.import_module("snownlp.sentiment").Sentiment()
    sys.path.pop(0)
    classifier.train(*([t.text for t in parts["train"] if t.label == label] for label in ("neg", "pos")))
    return ["pos" if classifier.classify(t.text) > 0.5 else "neg" for t in parts["test"]]
