"""A text with its tags, as a tagger answers it, and as it is written."""

from __future__ import annotations

import json
from dataclasses import dataclass

from recurra.data import Span

__all__ = ["TaggedText"]


@dataclass(frozen=True)
class TaggedText:
    """A text with its tags, the probability of each tag, and its spans (words, names) with theirs.

    A span's probability is that of all its tags together; with the head `softmax` it is their product.
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    probabilities: tuple[float, ...]
    spans: tuple[Span, ...]
    span_probabilities: tuple[float, ...]
    joiner: str

    def text_of(self, span: Span) -> str:
        """Return what a span says."""
        return self.joiner.join(self.tokens[span.start : span.end])

    def render(self, form: str, *, segments: bool, probabilities: bool = False) -> str:
        """Return it as text, ends of lines included: text, jsonl, conll or table.

        segments: whether its spans are all words of the text, and `text` has them; probabilities: with theirs.
        """
        found = list(zip(self.spans, self.span_probabilities, strict=True))
        if form == "conll":
            return "".join(f"{a}\t{b}\n" for a, b in zip(self.tokens, self.tags, strict=True)) + "\n"
        if form == "table":
            return "".join(f"{self.text_of(s)}\t{s.type or 'word'}\t{q:.3f}\n" for s, q in found)
        if form == "jsonl":
            parts = [{"text": self.text_of(s), **s._asdict(), "probability": round(q, 6)} for s, q in found]
            content = {"tokens": self.tokens, "tags": self.tags, "spans": parts}
            return json.dumps(content, ensure_ascii=False) + "\n"
        if segments:
            return " ".join(self.text_of(s) + (f"/{q:.3f}" if probabilities else "") for s, q in found) + "\n"
        return " ".join(f"{a}/{b}" for a, b in zip(self.tokens, self.tags, strict=True)) + "\n"
