"""Which tags follow which in many sentences, and where first: all that can be illegal of them, in few words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, final

from recurra.data.labelled_text import UNKNOWN_TAG, TaggedSentence

__all__ = ["Link", "TagLinks", "links_of"]


class Link(NamedTuple):
    """A tag, how many unknown ones follow it, and the next that is known; None for a sentence's beginning and end.

    A sentence is legal if each of its links is: a chain has no memory but the tag beside.
    """

    before: str | None
    unknown: int
    after: str | None


@final
@dataclass(frozen=True)
class TagLinks:
    """What was seen in some sentences: each tag and each link, with its first sentence's place and the token there.

    The sentences may be too many for memory: it holds what differs alone.
    """

    sentences: int
    tags: Mapping[str, tuple[str, int]]
    links: Mapping[Link, tuple[str, int]]

    @classmethod
    def of(cls, sentences: Iterable[TaggedSentence]) -> TagLinks:
        """Go through the sentences once."""
        count, tags, links = 0, dict[str, tuple[str, int]](), dict[Link, tuple[str, int]]()
        pairs = set[tuple[str | None, str | None]]()
        for count, sentence in enumerate(sentences, 1):  # noqa: B007 (how many there were)
            row = sentence.tags
            # Nearly always: nothing new, and nothing unknown, which is in no pair.
            if pairs.issuperset(zip((None, *row), (*row, None), strict=True)):
                continue
            for link, at in links_of(row):
                if link not in links:
                    links[link] = sentence.place, at
                    if not link.unknown:
                        pairs.add((link.before, link.after))
                    if link.after is not None:
                        tags.setdefault(link.after, links[link])
        return cls(count, tags, links)


def links_of(tags: Sequence[str]) -> Iterator[tuple[Link, int]]:
    """Yield the links of a sentence, each with the number of its second tag, from 1 on."""
    known = [(i, tag) for i, tag in enumerate(tags, 1) if tag != UNKNOWN_TAG]
    for (i, a), (j, b) in pairwise([(0, None), *known, (len(tags) + 1, None)]):
        yield Link(a, j - i - 1, b), j
