"""What a tagger has to know of its data: the tokens, the tags and their scheme, and what a token of raw text is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, cast, final

import numpy as np
import torch
from torch import Tensor

from recurra.core.errors import CorruptError, DataError
from recurra.data.labelled_text import UNKNOWN_TAG, TaggedSentence
from recurra.data.span_dictionary import SpanDictionary
from recurra.data.spelling import Spelling
from recurra.data.symbols import SymbolTable
from recurra.data.tag_links import Link, TagLinks, links_of
from recurra.data.tag_schemes import SCHEMES, Scheme, detect, legal, odd_tag
from recurra.data.text_units import LONGEST_NGRAM, ngrams
from recurra.data.token_features import TokenFeatures
from recurra.data.vocabulary import utf8
from recurra.data.words import split_words

__all__ = ["TagNames"]

_UNITS = ("characters", "words", "blanks")
_NO_FEATURES = TokenFeatures("none", ())
_AS_IT_IS = Spelling()
_NO_DICTIONARY = SpanDictionary()
_WORD_ENDS = 10
"""Characters of a word's beginning and of its end that are seen: more are looked at of no word."""


@final
@dataclass(frozen=True)
class TagNames:
    """The tokens, the tags, their scheme, and the unit: `characters`, `words` (as `split_words` cuts) or `blanks`.

    features: what else is known of each token; spelling: how it is looked up; characters: theirs, where words are
    composed of them, else None; dictionary: the spans of training that are looked up; lexicon: those of elsewhere;
    ngram: how many characters each of `characters` is, 0: one, and the word's beginning is not among them.

    Immutable; made by `of` or `from_json`.
    """

    tokens: SymbolTable
    tags: tuple[str, ...]
    scheme: Scheme
    unit: str
    features: TokenFeatures = _NO_FEATURES
    spelling: Spelling = _AS_IT_IS
    characters: SymbolTable | None = None
    dictionary: SpanDictionary = _NO_DICTIONARY
    lexicon: SpanDictionary = _NO_DICTIONARY
    ngram: int = 0

    @classmethod
    def of(
        cls,
        sentences: Sequence[TaggedSentence],
        scheme: Scheme | Literal["auto"],
        *,
        min_count: int,
        check: bool,
        features: bool = False,
        characters: bool = False,
        ngram: int = 0,
        dictionary: bool = False,
        lexicon: Sequence[str] = (),
        spelling: Spelling = _AS_IT_IS,
        links: TagLinks | None = None,
    ) -> TagNames:
        """Collect them from the training part; check: raise DataError for a sentence that is illegal in its scheme.

        features: whether to collect the features of the tokens too: of characters pairs, of words how they are spelled;
        characters: whether to number the characters of words; dictionary: whether to collect the spans;
        lexicon: lines of known spans (`read_lexicon`); links: the tags of all sentences, where these are only some of
        them, since there may be too many for memory.
        """
        links = TagLinks.of(sentences) if links is None else links
        if not links.tags:
            raise DataError(f"{sentences[0].place}: expected tags, got none that is known: give some")
        tags = tuple(sorted(links.tags))
        tokens = [token for s in sentences for token in s.tokens]
        whole = sum(len(split_words(token)) == 1 for token in tokens)
        unit = "characters" if max(map(len, tokens)) == 1 else "words" if whole >= 0.99 * len(tokens) else "blanks"
        table = SymbolTable.build((map(spelling, s.tokens) for s in sentences), min_count=min_count)
        letters = (
            SymbolTable.build((_letters(t, ngram) for t in tokens), min_count=min_count if ngram else 1)
            if characters
            else None
        )
        kind = "none" if not features else "bigrams" if unit == "characters" else "spelling"
        features_of = TokenFeatures.of([s.tokens for s in sentences], kind)
        scheme = _detected(links) if scheme == "auto" else scheme
        _check_tags(links, scheme)
        known = SpanDictionary.of(sentences, scheme) if dictionary and scheme != "none" else _NO_DICTIONARY
        names = cls(table, tags, scheme, unit, features_of, spelling, letters, known, ngram=ngram)
        names = replace(names, lexicon=names._listed(lexicon)) if lexicon else names
        for link, (place, at) in links.links.items() if check else ():
            if not names.possible(link):
                fault = _fault(link, at, scheme)
                raise DataError(f"{place}: {fault}: give the right --scheme, mend it, or --head softmax")
        return names

    def tokenise(self, text: str) -> list[str]:
        """Cut raw text into tokens as the training text was: characters, words and signs, or what blanks separate.

        Raises DataError for a lone surrogate.
        """
        utf8(text)
        if self.unit == "characters":
            return [c for c in text if not c.isspace()]
        return text.split() if self.unit == "blanks" else [w for w in split_words(text) if not w.isspace()]

    def encode(self, tokens: Sequence[str]) -> Tensor:
        """Return the numbers of the tokens `(T,)`, or with those of their features `(T, columns)`, int64.

        Where words are composed, twenty columns more (of n-grams 21, which see the beginning): the characters' numbers,
        from 1 for an unknown one; 0: no more.
        """
        own = self.tokens.encode(tokens if self.spelling == _AS_IT_IS else map(self.spelling, tokens))
        more = [*self.features.encode(tokens), *self.dictionary.encode(tokens), *self.lexicon.encode(tokens)]
        if self.characters is not None:
            rows = [[i + 1 for i in self.characters.encode(_letters(token, self.ngram))] for token in tokens]
            width = 2 * _WORD_ENDS + (self.ngram > 0)
            more = [*more, *([row[k] if k < len(row) else 0 for row in rows] for k in range(width))]
        # By numpy, which reads lists twice as fast as torch does.
        return torch.from_numpy(np.array([own, *more] if more else own, dtype=np.int64)).t()

    def numbered(self, sentences: Sequence[TaggedSentence]) -> list[tuple[Tensor, list[int]]]:
        """Return the numbers of tokens and tags, -1 for an unknown one; raise DataError as `check` does."""
        self.check(sentences)
        at = {**self._at, UNKNOWN_TAG: -1}
        return [(self.encode(s.tokens), [at[tag] for tag in s.tags]) for s in sentences]

    def check(self, sentences: Iterable[TaggedSentence]) -> None:
        """Raise DataError for a tag that is not of the scheme, or that the training part lacks, with its place."""
        for s in sentences:
            for i, tag in enumerate(s.tags, 1):
                if tag not in self._at and tag != UNKNOWN_TAG:
                    _check_tag(tag, self.scheme, s.place, i)
                    raise DataError(
                        f"{s.place}: token {i}: the tag {tag!r} is not in the training part: mend it, or shuffle the "
                        "sentences"
                    )

    def fault(self, tags: Sequence[str]) -> str | None:
        """Return what is illegal about a sequence of these tags, None if nothing is."""
        found = next(((link, at) for link, at in links_of(tags) if not self.possible(link)), None)
        return None if found is None else _fault(*found, self.scheme)

    def possible(self, link: Link) -> bool:
        """Tell whether some legal sequence of tags has this link in it."""
        known = self._possible.get(link)
        if known is None:
            legal = self._legal
            border = len(self.tags)
            a, b = (border if tag is None else self._at[tag] for tag in (link.before, link.after))
            ways = legal[a]
            for _ in range(link.unknown):
                ways = (ways[:border, None] & legal[:border]).any(0)
            known = self._possible[link] = bool(ways[b])
        return known

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads: plain data for a JSON file."""
        return {
            "unit": self.unit,
            "scheme": self.scheme,
            "tags": list(self.tags),
            "symbols": self.tokens.to_json(),
            "features": self.features.to_json(),
            "spelling": asdict(self.spelling),
            "characters": None if self.characters is None else self.characters.to_json(),
            "dictionary": self.dictionary.to_json(),
            "lexicon": self.lexicon.to_json(),
            "ngram": self.ngram,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TagNames:
        """Take back what `to_json` gave; raise CorruptError for anything that it cannot have given."""
        tags, scheme, unit = data.get("tags"), data.get("scheme"), data.get("unit")
        known = isinstance(tags, list) and bool(tags) and all(isinstance(tag, str) for tag in cast("list[Any]", tags))
        if not known or scheme not in SCHEMES or unit not in _UNITS:
            raise CorruptError("vocabulary: expected tags, their scheme and a unit: the file is damaged or foreign")
        features = TokenFeatures.from_json(data.get("features"))
        spelling = Spelling.from_json(data.get("spelling", {}))
        letters = None if data.get("characters") is None else SymbolTable.from_json(data["characters"])
        table = SymbolTable.from_json(data.get("symbols"))
        known, lexicon = (SpanDictionary.from_json(data.get(name)) for name in ("dictionary", "lexicon"))
        ngram = data.get("ngram", 0)
        if type(ngram) is not int or not 0 <= ngram <= LONGEST_NGRAM:
            raise CorruptError("vocabulary: expected how many characters an n-gram has: the file is damaged or foreign")
        tags = tuple(cast("list[str]", tags))
        names = cls(table, tags, scheme, unit, features, spelling, letters, known, lexicon, ngram)
        try:
            legal(names.tags, names.scheme)
        except DataError as error:
            raise CorruptError(f"vocabulary: {error}: the file is damaged or foreign") from error
        return names

    def _listed(self, lines: Iterable[str]) -> SpanDictionary:
        ends = None if self.unit == "characters" else "\t"
        return SpanDictionary.listed(self.tokenise(line.split(ends, 1)[0]) for line in lines)

    @cached_property
    def _at(self) -> dict[str, int]:
        return {tag: i for i, tag in enumerate(self.tags)}

    @cached_property
    def _legal(self) -> Tensor:
        """Which tag may follow which; last the border of a sentence, which its first tag follows, and which its last
        is followed by."""
        start, between, end = legal(self.tags, self.scheme)
        return torch.cat([torch.cat([between, end[:, None]], 1), torch.cat([start, torch.ones(1).bool()])[None]])

    @cached_property
    def _possible(self) -> dict[Link, bool]:
        return {}


def _letters(token: str, ngram: int) -> Sequence[str]:
    """Return the characters of a word's ends, or their n-grams, the first of which begins with a blank."""
    ends = token if len(token) <= 2 * _WORD_ENDS else token[:_WORD_ENDS] + token[-_WORD_ENDS:]
    return ngrams(f" {ends}", ngram) if ngram else ends


def _detected(links: TagLinks) -> Scheme:
    """Return the scheme that all tags are of; raise DataError where a slip alone keeps them from one."""
    scheme = detect(links.tags)
    odd = odd_tag(links.tags) if scheme == "none" else None
    if odd is not None:
        tag, near = odd
        place, at = links.tags[tag]
        raise DataError(
            f"{place}: token {at}: tag {tag!r} is not of the scheme {near}, which the others are of: mend it, or give "
            "--scheme none"
        )
    return scheme


def _check_tags(links: TagLinks, scheme: Scheme) -> None:
    """Raise DataError for the first tag that is not of the scheme, with its place."""
    for tag, (place, at) in links.tags.items():
        _check_tag(tag, scheme, place, at)


def _check_tag(tag: str, scheme: Scheme, place: str, at: int) -> None:
    try:
        legal((tag,), scheme)
    except DataError as error:
        raise DataError(f"{place}: token {at}: {error}") from error


def _fault(link: Link, at: int, scheme: Scheme) -> str:
    a, b = link.before, link.after
    if link.unknown:
        first, last = "the beginning" if a is None else repr(a), "the end" if b is None else f"tag {at}, {b!r},"
        fitting = "no tag fits" if link.unknown == 1 else f"no {link.unknown} tags fit"
        return f"{fitting} between {first} and {last} in the scheme {scheme}"
    if b is None:
        return f"the last tag, {a!r}, cannot end a sentence in the scheme {scheme}"
    follows = "begin a sentence" if a is None else f"follow {a!r}"
    return f"tag {at}, {b!r}, cannot {follows} in the scheme {scheme}"
