"""Standard input line by line, each as soon as it is there."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from recurra.core.errors import DataError
from recurra.data.text import decode_text

__all__ = ["LONGEST", "check_length", "input_lines"]

LONGEST = 1_000_000
"""Characters of a line; a recurrent network would take a step for each."""


def input_lines() -> Iterator[str]:
    """Yield the lines of standard input without their ends, empty ones too.

    Raises DataError, in one line with the line's number, for what is no UTF-8 text and for lines that are too long.
    """
    number = 0
    # No more of a line is read than can be right: it may be of any length.
    while data := sys.stdin.buffer.readline(4 * LONGEST + 1):
        number += 1
        if len(data) > 4 * LONGEST:
            raise DataError(f"line {number}: expected at most {LONGEST:,} characters, got more: cut it")
        line = decode_text(f"standard input, line {number}", data).removesuffix("\n")
        check_length(line, number)
        yield line


def check_length(line: str, number: int) -> None:
    """Raise DataError for a line of more than `LONGEST` characters."""
    if len(line) > LONGEST:
        raise DataError(f"line {number}: expected at most {LONGEST:,} characters, got {len(line):,}: cut it")
