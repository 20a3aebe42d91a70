"""Order and negation: pairs of sentences that a bag of words cannot tell apart, and a recurrent network can.

我喜欢你 and 我不喜欢你 differ by one word, and so do 我讨厌你 and 我不讨厌你, but there it does the contrary: what
不 does depends on what follows. And 狗追猫 has the same words as 猫追狗. A grammar writes all such sentences; the
classifier learns from some of them and is asked for the others, beside naive Bayes, which counts words.

python examples/word_order.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from recurra.learning import TrainerOptions
from recurra.tasks.contract import train
from recurra.tasks.text_classification import TextClassification, TextClassificationOptions

__all__ = ["chases", "judgements", "learn", "main"]

PEOPLE = ("我", "你", "他", "她", "妈妈", "老师", "孩子", "朋友")
JUDGEMENTS = {"喜欢": True, "赞成": True, "欣赏": True, "讨厌": False, "反对": False, "害怕": False}
ANIMALS = ("狗", "猫", "鸡", "牛", "羊", "马", "猪", "鸭")


def judgements() -> Iterator[tuple[str, str]]:
    """Yield sentences like 我不喜欢你, and whether the one is for the other or against."""
    for (a, b), (verb, kind), no in itertools.product(
        itertools.permutations(PEOPLE, 2), JUDGEMENTS.items(), (False, True)
    ):
        yield f"{a}{'不' if no else ''}{verb}{b}", "for" if kind != no else "against"


def chases() -> Iterator[tuple[str, str]]:
    """Yield sentences like 狗追猫 and 猫追狗, and which animal comes first in the list above."""
    for a, b in itertools.permutations(range(len(ANIMALS)), 2):
        for verb in ("追", "赶", "找", "看", "叫"):
            yield f"{ANIMALS[a]}{verb}{ANIMALS[b]}", "forwards" if a < b else "backwards"


def learn(rows: Iterator[tuple[str, str]], out: Path, epochs: int) -> TextClassification:
    """Write the sentences as CSV, train a classifier on them, and return it."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "sentences.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    options = TextClassificationOptions(
        hidden_size=16,
        embedding_size=16,
        batch_size=16,
        pooling="last",
        validation=0.25,
        min_count=1,
        dropout=0.1,
        phrases=False,
    )
    run = train(
        TextClassification, "text-classification", options, TrainerOptions(epochs=epochs, learning_rate=0.01),
        [out / "sentences.csv"], out / "model", overwrite=True,
    )  # fmt: skip
    assert isinstance(run.model, TextClassification)
    return run.model


def main() -> None:
    """Learn both, and print the accuracy on sentences that were not learned from."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep data and models in this folder")
    parser.add_argument("--epochs", type=int, default=20)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = a.out or Path(scratch)
        asked = {"negation": ("我喜欢你", "我不喜欢你", "我讨厌你", "我不讨厌你"), "order": ("狗追猫", "猫追狗")}
        for name, rows in (("negation", judgements()), ("order", chases())):
            model = learn(rows, out / name, a.epochs)
            metrics = model.evaluate()
            print(f"{name}: recurrent {metrics['accuracy']:.1%}, naive Bayes {metrics['naive_bayes_accuracy']:.1%}, "
                  f"of {metrics['texts']:.0f} sentences")  # fmt: skip
            for found in model.predict(asked[name]):
                print(f"  {found.text}  {found.label}")


if __name__ == "__main__":
    main()
