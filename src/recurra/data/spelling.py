"""What is the same word: capitals made small, digits made one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast, final

from recurra.core.errors import CorruptError

__all__ = ["Spelling"]

_DIGIT = re.compile(r"\d")


@final
@dataclass(frozen=True)
class Spelling:
    """How a text is written before its tokens are looked up; what a person sees stays as it was.

    lower: capitals become small letters; zeros: every digit becomes 0, so that 1998 and 2015 are one word (Collobert et
    al. 2011, Lample et al. 2016).
    """

    lower: bool = False
    zeros: bool = False

    def __call__(self, text: str) -> str:
        """Return the text as it is looked up."""
        if self.lower:
            text = text.lower()
        return _DIGIT.sub("0", text) if self.zeros else text

    @classmethod
    def from_json(cls, data: object) -> Spelling:
        """Take back the dictionary of the fields; raise CorruptError for anything else."""
        fields = cast("dict[str, Any]", data) if isinstance(data, dict) else {"": data}
        lower, zeros = fields.get("lower", False), fields.get("zeros", False)
        if set(fields) - {"lower", "zeros"} or not isinstance(lower, bool) or not isinstance(zeros, bool):
            raise CorruptError("vocabulary: expected how tokens are spelled: the file is damaged or foreign")
        return cls(lower, zeros)
