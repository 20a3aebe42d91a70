"""Two taggers from a page of text each: how a sentence may be cut into words, and which names are in another.

他说的确实在理 can be read with 的确 (indeed) or with 确实 (truly), and 实在 stands across both: the n best cuts say so,
each with its probability. The second tagger learns entities of the user's own, brands, people and times, and lists
those of a new sentence as a table. Texts this short teach no Chinese: they show what `recurra segment --n-best` and
`recurra predict --as table` print.

python examples/words_and_names.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

from recurra.data import Span
from recurra.data.tag_schemes import tags_of
from recurra.learning import TrainerOptions
from recurra.tasks.contract import train
from recurra.tasks.tagging import Tagging, TaggingOptions

__all__ = ["learn", "main", "named", "segmented"]

WORDS = [
    "他 说 的 确实 在理", "她 的确 在理", "他 的确 很 忙", "你 说 的 确实 对", "这 话 实在 在理", "他 实在 很 忙",
    "我 说 的 话 在理", "她 确实 很 忙", "你 的确 对", "他 说 的 实在", "这 话 说 的 确实 对", "她 说 的确 实在 忙",
]  # fmt: skip
BRANDS = ("小米", "华为", "格力", "联想", "海尔")
PEOPLE = ("雷军", "任正非", "董明珠", "柳传志", "张瑞敏")
TIMES = ("2015年", "2010年", "1998年", "2021年", "去年")
PATTERNS = ("{person}在{time}创办了{brand}", "{time}{brand}的{person}来了", "{brand}的{person}说{time}很好")


def segmented() -> str:
    """Return lines of words with blanks between: a tagger's simplest input."""
    return "\n".join(WORDS * 4) + "\n"


def named() -> str:
    """Return sentences as columns, a character and its tag a line; 小米, 雷军 and 2015年 are never in one of them."""
    sentences: list[str] = []
    for pattern, brand, person, time in itertools.product(PATTERNS, BRANDS, PEOPLE, TIMES):
        if (brand == BRANDS[0]) + (person == PEOPLE[0]) + (time == TIMES[0]) > 1:
            continue
        text = pattern.format(brand=brand, person=person, time=time)
        found = [
            Span(text.index(name), text.index(name) + len(name), kind)
            for name, kind in ((brand, "BRAND"), (person, "PERSON"), (time, "TIME"))
        ]
        tags = tags_of(found, len(text), "bioes")
        sentences.append("".join(f"{c} {tag}\n" for c, tag in zip(text, tags, strict=True)))
    return "\n".join(sentences[::2])


def learn(text: str, out: Path, epochs: int) -> Tagging:
    """Write a text, train a tagger on it, and return it."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "text.txt").write_text(text, encoding="utf-8")
    options = TaggingOptions(
        hidden_size=24, embedding_size=24, batch_size=16, validation=0.1, min_count=1, features=False
    )
    run = train(
        Tagging, "tagging", options, TrainerOptions(epochs=epochs, learning_rate=0.02), [out / "text.txt"],
        out / "model", overwrite=True,
    )  # fmt: skip
    assert isinstance(run.model, Tagging)
    return run.model


def main() -> None:
    """Train both, and print what they find."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep texts and models in this folder")
    parser.add_argument("--epochs", type=int, default=6)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = a.out or Path(scratch)
        words, names = learn(segmented(), out / "words", a.epochs), learn(named(), out / "names", max(1, a.epochs // 2))
        for found, p in words.alternatives("他说的确实在理", 3):
            print(f"{p:.4f}\t{words.render(found, 'text').rstrip()}")
        print(names.render(names.predict("雷军在2015年创办了小米"), "table").rstrip())


if __name__ == "__main__":
    main()
