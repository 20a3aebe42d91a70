"""Writes the two tiny corpora that come with recurra, from a small grammar: the same bytes every time.

    python benchmarks/data/make_tiny_corpora.py

tiny_words.txt: Chinese sentences with blanks between words. tiny_reviews.csv: a text and its label, where "not" turns a
judgement around, so that single words do not tell.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

SAMPLES = Path(__file__).parents[2] / "src" / "recurra" / "data" / "samples"
PEOPLE = ["我", "你", "他", "她", "老师", "学生", "我们", "他们", "小朋友", "科学家"]
VERBS = ["爱", "看见", "喜欢", "研究", "讨论", "帮助", "介绍"]
THINGS = ["中国", "北京", "音乐", "图书馆", "电影", "苹果", "自行车", "神经网络", "书"]
TIMES = ["今天", "昨天", "现在", "星期天", "有时候"]
GOOD, BAD = ["good", "great", "lovely", "clever"], ["bad", "poor", "boring", "silly"]
SUBJECTS = ["the film", "the book", "this song", "the play", "her story"]


def main() -> None:
    """Write both."""
    draw = random.Random(1)
    words = [sentence(draw) for _ in range(60)]
    (SAMPLES / "tiny_words.txt").write_text("".join(f"{line}\n" for line in words), encoding="utf-8")
    with (SAMPLES / "tiny_reviews.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("text", "label"))
        rows.writerows(review(draw) for _ in range(120))


def sentence(draw: random.Random) -> str:
    """Return one sentence, its words apart."""
    head = [draw.choice(TIMES)] if draw.random() < 0.5 else []
    return " ".join([*head, draw.choice(PEOPLE), draw.choice(VERBS), draw.choice(THINGS), "。"])


def review(draw: random.Random) -> tuple[str, str]:
    """Return a text and its label."""
    kind, negated = draw.random() < 0.5, draw.random() < 0.5
    words = f"{draw.choice(SUBJECTS)} was {'not ' if negated else ''}{draw.choice(GOOD if kind else BAD)}"
    return words, "positive" if kind != negated else "negative"


if __name__ == "__main__":
    main()
