"""How good predicted tags are: accuracy, spans by conlleval's rules and strictly, words that were never seen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

from recurra.data.labelled_text import UNKNOWN_TAG, TaggedSentence
from recurra.data.tag_schemes import Scheme, Span, spans, strict_spans

__all__ = ["FrequentTag", "f1_scores", "tag_scores"]


def tag_scores(
    gold: Sequence[TaggedSentence],
    predicted: Sequence[Sequence[str]],
    scheme: Scheme,
    known: Collection[str] | None = None,
) -> dict[str, float]:
    """Return the accuracy over all tokens and, where the scheme has spans, precision, recall and F1 of spans.

    A span counts where borders and type are right. `precision`, `recall`, `f1` read both sides by conlleval's generous
    rules; `strict_...` count only spans that are spelled as the scheme says. known: the words (or names) of the
    training text; gives `unseen_recall`, the recall of spans whose text is not among them (out-of-vocabulary recall),
    and `unseen`, their number.

    A token whose tag is not known does not count, and neither does a span, on either side, that holds or touches one.
    """
    both = [(a, b) for s, tags in zip(gold, predicted, strict=True) for a, b in zip(s.tags, tags, strict=True)]
    pairs = [(a, b) for a, b in both if a != UNKNOWN_TAG]
    scores = {"accuracy": sum(a == b for a, b in pairs) / max(len(pairs), 1)}
    if scheme == "none":
        return scores
    for prefix, read in (("", spans), ("strict_", strict_spans)):
        wanted = [_sure(read([tag or "O" for tag in s.tags], scheme), s.tags) for s in gold]
        found = [_sure(read(tags, scheme), s.tags) for s, tags in zip(gold, predicted, strict=True)]
        hits = [a & b for a, b in zip(wanted, found, strict=True)]
        counts = (sum(map(len, hits)), sum(map(len, found)), sum(map(len, wanted)))
        scores |= {prefix + name: value for name, value in f1_scores(*counts).items()}
        if known is not None and not prefix:
            unseen = [(i, s) for i, w in enumerate(wanted) for s in w if _text(gold[i], s) not in known]
            scores["unseen_recall"] = sum(s in hits[i] for i, s in unseen) / len(unseen) if unseen else 0.0
            scores["unseen"] = float(len(unseen))
    return scores


def f1_scores(right: int, found: int, wanted: int) -> dict[str, float]:
    """Return precision, recall and F1; 0 where nothing was found or wanted."""
    precision, recall = right / found if found else 0.0, right / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


class FrequentTag:
    """The baseline: each token's most frequent tag in the training text; for a token never seen, the text's own."""

    def __init__(self, sentences: Sequence[TaggedSentence]) -> None:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        whole: Counter[str] = Counter()
        for sentence in sentences:
            for token, tag in zip(sentence.tokens, sentence.tags, strict=True):
                if tag != UNKNOWN_TAG:
                    whole[tag] += 1
                    counts[token][tag] += 1
        self._best = {token: _first(c) for token, c in counts.items()}
        self._otherwise = _first(whole)

    def predict(self, tokens: Sequence[str]) -> list[str]:
        """Return the tags."""
        return [self._best.get(token, self._otherwise) for token in tokens]


def _sure(found: Sequence[Span], tags: Sequence[str]) -> set[Span]:
    """Return the spans that neither hold a token whose tag is not known nor stand beside one."""
    if UNKNOWN_TAG not in tags:
        return set(found)
    return {s for s in found if UNKNOWN_TAG not in tags[max(0, s.start - 1) : s.end + 1]}


def _first(counts: Counter[str]) -> str:
    return min(counts, key=lambda tag: (-counts[tag], tag))


def _text(sentence: TaggedSentence, span: Span) -> str:
    return " ".join(sentence.tokens[span.start : span.end])
