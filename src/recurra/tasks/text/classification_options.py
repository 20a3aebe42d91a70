"""What a classifier of texts is made of, and how its data is written, read and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recurra.core.errors import ArgumentError
from recurra.data import LabelledText, read_labelled
from recurra.data.labelled_documents import stream_labelled
from recurra.data.stratified import rarest_label, stratified
from recurra.data.streamed import Stream
from recurra.tasks.contract import option
from recurra.tasks.text.options import TextOptions

__all__ = ["TextClassificationOptions"]

_SAMPLE = 32 << 20
"""Bytes of a stream of texts that are read at once."""


@dataclass(frozen=True)
class TextClassificationOptions(TextOptions):
    """What a classifier is made of, and how its data is written."""

    text_column: str = option("text", "the column of the texts, in CSV, TSV and JSONL")
    label_column: str = option("label", "the column of the labels")
    separator: str = option("", "what stands between the labels of a text, which may be any number: '|', say")
    threshold: float = option(0.5, "how probable one of several labels has to be")
    level: Literal["char", "ngrams", "word", "pieces"] = option(
        "word", "what a token is: char, ngrams (of characters), word (an ideograph is one) or pieces (of words)"
    )
    ngram: int = option(3, "characters of each of the ngrams")
    pieces: int = option(8000, "at most so many pieces are learned, by SentencePiece: the extra 'pieces'")
    phrases: bool = option(True, "inputs too: each token with the one before it, and with the two before it")
    pooling: Literal["last", "mean", "max", "attention"] = option(
        "max", "how all steps become one vector: last, mean, max or attention"
    )
    class_weights: bool = option(False, "let every class weigh alike in the loss, however rare it is")
    dropout: float = option(0.3, "probability of dropout of the inputs, between layers and before the output")
    batch_size: int = option(32, "texts a batch")
    validation: float = option(0.1, "share of the texts of each class kept for validation")
    test: float = option(0.0, "share of the texts of each class kept for a last test")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.threshold < 1:
            raise ArgumentError(f"threshold must be above 0 and below 1, got {self.threshold}")
        if self.separator and self.learning != "bptt":
            raise ArgumentError("texts of several labels are learned by bptt: leave out --learning or --separator")
        for name, most in (("ngram", 16), ("pieces", 1_000_000)):
            if not 1 <= getattr(self, name) <= most:
                raise ArgumentError(f"{name} must be from 1 to {most:,}, got {getattr(self, name)}")

    def labels_of(self, text: LabelledText) -> Sequence[str]:
        """Return the labels of a text."""
        return text.labels(self.separator) if self.separator else [text.label]

    def read(self, paths: Sequence[Path]) -> list[LabelledText]:
        """Read all texts."""
        return read_labelled(
            paths, text_column=self.text_column, label_column=self.label_column, separator=self.separator
        )

    def stream(self, paths: Sequence[Path]) -> Stream[LabelledText] | None:
        """Return the texts as a stream, where there are more than `in_memory` says."""
        return stream_labelled(
            paths, text_column=self.text_column, label_column=self.label_column, separator=self.separator,
            most=self.in_memory << 20,
        )  # fmt: skip

    def held(self, paths: Sequence[Path], stream: Stream[LabelledText] | None) -> list[LabelledText]:
        """Return all texts; of a stream some from everywhere: for the tokens, for measuring, for the baselines."""
        return self.read(paths) if stream is None else stream.sample(_SAMPLE)

    def parts(self, texts: Sequence[LabelledText], seed: int) -> dict[str, list[LabelledText]]:
        """Split texts into `train`, `validation` and `test`."""
        key = rarest_label(texts, self.separator) if self.separator else None
        return stratified(texts, validation=self.validation, test=self.test, seed=seed, key=key)
