"""Guessing which encoding a text is in that is not UTF-8: only to suggest it, never to read by it."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Callable

__all__ = ["suggest_encoding"]

# Longer marks first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE = 1 << 16


def suggest_encoding(data: bytes, offset: int) -> str | None:
    """Return the first encoding under which the bytes from the line of `offset` on read like text, or None.

    Almost any bytes *decode* as gb18030 or latin-1, so decoding is not enough: most characters beyond ASCII
    must be common ones. For gb18030, big5 and shift_jis those are the symbols, kana and first-level
    characters, which each national standard keeps together (two thirds of them, for traditional characters
    in gb18030 are second-level); for cp1252 and latin-1, letters and printed punctuation (nine tenths).
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    start = max(data.rfind(b"\n", 0, offset) + 1, offset - _SAMPLE)
    sample = data[start : start + 2 * _SAMPLE]
    return next((name for name, share, common in _CANDIDATES if _reads_as(sample, name, share, common)), None)


def _reads_as(sample: bytes, name: str, share: float, common: Callable[[str], bool]) -> bool:
    try:
        # Not final: the sample may end in the middle of a character.
        text = codecs.getincrementaldecoder(name)().decode(sample)
    except UnicodeDecodeError:
        return False
    if any(unicodedata.category(c) == "Cc" and c not in "\t\n\v\f\r" for c in text):
        return False
    beyond_ascii = [c for c in text if c > "\x7f"]
    return bool(beyond_ascii) and sum(map(common, beyond_ascii)) >= share * len(beyond_ascii)


def _common_by_lead(encoding: str, *ranges: tuple[int, int]) -> Callable[[str], bool]:
    def common(character: str) -> bool:
        code = character.encode(encoding, "ignore")
        return len(code) == 2 and any(low <= code[0] <= high for low, high in ranges)

    return common


def _is_western(character: str) -> bool:
    return unicodedata.category(character) in ("Ll", "Lu", "Pi", "Pf", "Pd", "Po", "Ps", "Zs")


_CANDIDATES = (
    ("gb18030", 0.66, _common_by_lead("gb2312", (0xA1, 0xA3), (0xB0, 0xD7))),
    ("big5", 0.66, _common_by_lead("big5", (0xA1, 0xA3), (0xA4, 0xC6))),
    ("shift_jis", 0.66, _common_by_lead("shift_jis", (0x81, 0x83), (0x88, 0x97))),
    ("cp1252", 0.9, _is_western),
    ("latin-1", 0.9, _is_western),
)
