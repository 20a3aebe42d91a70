"""Tag schemes: how the tags of single tokens spell spans (words, names), what is legal, and how one becomes another.

A tag is a letter and, after a hyphen, a type (`B-PER`), or a letter alone (`B`); `O` is outside of every span.

- `bio` (IOB2): B begins a span, I goes on.
- `iob1`: I begins a span and goes on; B begins one that follows another of its type at once (CoNLL 2003's own).
- `bioes`, `bmes`: S is a span of one token; B, then I (or M), then E spell a longer one.
- `sbe`: the tutorials' scheme for words: S; and B for all tokens of a longer word but the last, which is E.
- `none`: tags with no spans (parts of speech).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError, DataError

__all__ = ["SCHEMES", "Scheme", "Span", "detect", "legal", "odd_tag", "spans", "strict_spans", "tags_of"]

Scheme = Literal["none", "bio", "iob1", "bioes", "bmes", "sbe"]

SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
"""The schemes there are."""

_LETTERS = {"bio": "BIO", "iob1": "BIO", "bioes": "BIOES", "bmes": "BMESO", "sbe": "BESO"}


class Span(NamedTuple):
    """The tokens from `start` up to, but not including, `end`, and their type ("" where the scheme names none)."""

    start: int
    end: int
    type: str = ""


def spans(tags: Sequence[str], scheme: Scheme) -> list[Span]:
    """Return the spans by conlleval's rules, which read illegal sequences generously.

    A span ends before every token that begins one or is outside, and where the type changes; one that should have begun
    with B and begins with I, M or E begins there. In `sbe` a B goes on with the B before it.
    """
    found: list[Span] = []
    start, kind, before = 0, None, "O"
    for i, (letter, type_) in enumerate(_parsed(tags, scheme)):
        begins = letter in "BS" or before in "ESO" or type_ != kind
        if kind is not None and (letter == "O" or begins):
            found.append(Span(start, i, kind))
            kind = None
        if letter != "O" and begins:
            start, kind = i, type_
        before = letter
    return [*found, Span(start, len(tags), kind)] if kind is not None else found


def strict_spans(tags: Sequence[str], scheme: Scheme) -> list[Span]:
    """Return only those spans that are spelled exactly as the scheme says; what is not is no span."""
    if scheme == "iob1":
        return [s for s in spans(tags, scheme) if list(tags[s.start : s.end]) in _spellings(tags, s)]
    return [
        s
        for s in spans(tags, scheme)
        if [_letter(t) for t in tags[s.start : s.end]] == _spelled(s.end - s.start, scheme)
    ]


def tags_of(found: Iterable[Span], length: int, scheme: Scheme) -> list[str]:
    """Return the tags that spell some spans, which must not overlap, over `length` tokens.

    With `spans` it turns one scheme into another: `tags_of(spans(tags, "iob1"), len(tags), "bioes")`.
    """
    tags = ["O"] * length
    before = Span(0, 0)
    for span in sorted(found):
        if not before.end <= span.start < span.end <= length:
            raise ArgumentError(f"expected spans that do not overlap, within {length} tokens, got {before} and {span}")
        letters = _spelled(span.end - span.start, scheme)
        if scheme == "iob1":
            letters = ["B" if before.end == span.start and before.type == span.type and span.start else "I"]
            letters += ["I"] * (span.end - span.start - 1)
        tags[span.start : span.end] = [f"{letter}-{span.type}" if span.type else letter for letter in letters]
        before = span
    return tags


def legal(tags: Sequence[str], scheme: Scheme) -> tuple[Tensor, Tensor, Tensor]:
    """Return which of the tags of a tag set may begin `(K,)`, which follow which `(K, K)`, which end `(K,)`: bool."""
    pairs = [_pair(tag, scheme, f"tag {tag!r}") for tag in tags] if scheme != "none" else [("S", tag) for tag in tags]
    outside = ("O", "")

    rule = _RULES["bioes" if scheme in ("bmes", "none") else scheme]
    start, end = [rule(outside, pair) for pair in pairs], [rule(pair, outside) for pair in pairs]
    between = [[rule(a, b) for b in pairs] for a in pairs]
    # These are facts and no weights: they have values also where a network is built without memory.
    return tuple(torch.tensor(part, dtype=torch.bool, device="cpu") for part in (start, between, end))  # pyright: ignore[reportReturnType]


def detect(tags: Iterable[str]) -> Scheme:
    """Return the scheme that a set of tags seems to be of; `none` where it is of none.

    B and I may be `bio` or `iob1`, which cannot be told apart: it says `bio`. B, E and S alone are `bmes`.
    """
    known = set(tags)
    letters = {_letter(tag) for tag in known}
    shaped = all(len(tag.partition("-")[0]) == 1 and not tag.endswith("-") for tag in known)
    if not shaped or not letters & set("BI") or not letters <= set("BIOESM"):
        return "none"
    if "I" in letters:
        return "none" if "M" in letters else "bioes" if letters & set("ES") else "bio"
    return "bmes" if letters & set("MES") else "bio"


def odd_tag(tags: Iterable[str]) -> tuple[str, Scheme] | None:
    """Return the first tag but for which most would be of a scheme with types, and that scheme; None if there is none.

    To be asked of tags that are of no scheme: `B-PER`, `I-PER`, `O` and `Q-PER` are `bio` with a slip, no word classes.
    """
    known = list(tags)
    typed = [tag for tag in known if _letter(tag) in "BIOESM" and tag[1:2] == "-" and len(tag) > 2]
    fitting = [*typed, *(tag for tag in known if tag.upper() == "O")]
    odd = next((tag for tag in known if tag not in fitting), None)
    scheme = detect(fitting)
    return None if odd is None or scheme == "none" or 2 * len(fitting) <= len(known) else (odd, scheme)


def _parsed(tags: Sequence[str], scheme: Scheme) -> list[tuple[str, str]]:
    """Return letters and types, brought to B, I, E, S, O, with I wherever a span goes on."""
    if scheme == "none":
        raise ArgumentError("the scheme 'none' has no spans: give the scheme of the tags")
    pairs = [_pair(tag, scheme, f"tag {i + 1}, {tag!r},") for i, tag in enumerate(tags)]
    if scheme != "sbe":
        return pairs
    going = [i > 0 and b[0] == "B" and pairs[i - 1] == b for i, b in enumerate(pairs)]
    return [("I", b[1]) if on else b for b, on in zip(pairs, going, strict=True)]


def _letter(tag: str) -> str:
    return tag[:1].upper()


def _pair(tag: str, scheme: Scheme, what: str) -> tuple[str, str]:
    letter, hyphen, type_ = tag.partition("-")
    letter = letter.upper()
    if len(letter) != 1 or letter not in _LETTERS[scheme] or bool(hyphen) != bool(type_) or (letter == "O" and type_):
        raise DataError(
            f"{what} is not of the scheme {scheme}, which has {', '.join(_LETTERS[scheme])} and types after a hyphen: "
            "give the scheme of the data"
        )
    return "I" if letter == "M" else letter, type_


def _spelled(length: int, scheme: Scheme) -> list[str]:
    if scheme == "none":
        raise ArgumentError("the scheme 'none' has no spans: give another")
    if scheme == "bio":
        return ["B", *["I"] * (length - 1)]
    inside = {"bmes": "M", "sbe": "B"}.get(scheme, "I")
    return ["S"] if length == 1 else ["B", *[inside] * (length - 2), "E"]


def _spellings(tags: Sequence[str], span: Span) -> list[list[str]]:
    """Return how IOB1 may spell a span: with B where one of its type comes before it at once, with I elsewhere."""
    hyphen = f"-{span.type}" if span.type else ""
    touches = span.start > 0 and tags[span.start - 1][1:] == hyphen and _letter(tags[span.start - 1]) != "O"
    return [[f"{'B' if touches else 'I'}{hyphen}", *[f"I{hyphen}"] * (span.end - span.start - 1)]]


def _bio(a: tuple[str, str], b: tuple[str, str]) -> bool:
    return b[0] != "I" or (a[0] in "BI" and a[1] == b[1])


def _iob1(a: tuple[str, str], b: tuple[str, str]) -> bool:
    return b[0] != "B" or (a[0] in "BI" and a[1] == b[1])


def _bioes(a: tuple[str, str], b: tuple[str, str]) -> bool:
    return (b[0] in "IE" and a[1] == b[1]) if a[0] in "BI" else b[0] in "BSO"


def _sbe(a: tuple[str, str], b: tuple[str, str]) -> bool:
    return (b[0] in "BE" and a[1] == b[1]) if a[0] == "B" else b[0] in "BSO"


_RULES = {"bio": _bio, "iob1": _iob1, "bioes": _bioes, "sbe": _sbe}
