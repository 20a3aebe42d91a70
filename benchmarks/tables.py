"""Tables of results as Markdown: written whole, or with some rows measured anew among those that stand there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["merged", "read", "report", "write"]

Rows = Sequence[Sequence[str]]


def write(
    out: Path | None,
    title: str,
    notes: Sequence[str],
    header: Sequence[str],
    rows: Rows,
    *,
    only: Sequence[str] = (),
    keys: int = 1,
) -> None:
    """Print the table, and write it if `out` is given.

    With `only`, the rows are some of all: they take the places of those in `out` that have the same first `keys`
    columns, and the others stay. Raises ValueError if the notes there tell of other settings.
    """
    paragraphs = [f"# {title}", *notes]
    if only and out is not None and out.exists():
        rows = merged(out, paragraphs, header, rows, keys)
    lines = [line for paragraph in paragraphs for line in (paragraph, "")]
    text = "\n".join([*lines, *_table(header, rows)]) + "\n"
    print(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")


def report(out: Path | None, title: str, *parts: str | tuple[Sequence[str], Rows]) -> None:
    """Print paragraphs and tables (header and rows), and write them if `out` is given."""
    lines = [f"# {title}"]
    for part in parts:
        lines += ["", part] if isinstance(part, str) else ["", *_table(*part)]
    text = "\n".join(lines) + "\n"
    print(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")


def merged(out: Path, paragraphs: Sequence[str], header: Sequence[str], rows: Rows, keys: int) -> Rows:
    """Return the rows of a file, those measured anew in their places, new ones last."""
    before = read(out)
    if (list(paragraphs), list(header)) != before[:2]:
        raise ValueError(f"{out} was made with other settings: run all contestants, or give another --out")
    every = {tuple(row[:keys]): row for row in before[2]}
    return list((every | {tuple(row[:keys]): row for row in rows}).values())


def read(out: Path) -> tuple[list[str], list[str], list[list[str]]]:
    """Return the paragraphs, the header and the rows of a file that `write` made."""
    lines = [line for line in out.read_text("utf-8").splitlines() if line]
    table = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines if line.startswith("| ")]
    return [line for line in lines if not line.startswith("|")], table[0], table[1:]


def _table(header: Sequence[str], rows: Rows) -> list[str]:
    return [_line(header), "|---" * len(header) + "|", *map(_line, rows)]


def _line(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"
