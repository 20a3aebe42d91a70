"""What a word is, where a text is read word by word."""

from __future__ import annotations

import re

__all__ = ["split_words"]

# Radicals, 々〆〇, and the ideographs with all their extensions.
_IDEOGRAPH = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LETTER = rf"[^\W{_IDEOGRAPH}]"
_TOKEN = re.compile(rf"{_LETTER}+(?:['’]{_LETTER}+)*|[^\S\n]+|.", re.DOTALL)


def split_words(text: str) -> list[str]:
    """Cut a text into tokens that, joined, give exactly the text again.

    A token is a word: letters, digits and underscores, with apostrophes inside (`don't`); or one
    ideograph, since Chinese sets no spaces between words; or one line end; or a run of other white
    space; or any other single character.
    """
    return _TOKEN.findall(text)
