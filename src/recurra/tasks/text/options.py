"""The options that the tasks over labelled text have in common: how tokens are read, and what the network is of."""

from __future__ import annotations

from dataclasses import dataclass

from recurra.core.errors import ArgumentError
from recurra.data.spelling import Spelling
from recurra.tasks.contract import LearningOptions, check_fields, option

__all__ = ["TextOptions"]

_COUNTS = ("hidden_size", "layers", "embedding_size", "batch_size", "min_count")


@dataclass(frozen=True)
class TextOptions(LearningOptions):
    """What the options of a task over labelled text begin with; it checks a subclass's words and shares too."""

    lower: bool = option(False, "look tokens up in small letters")
    zeros: bool = option(False, "look tokens up with every digit as 0")
    vectors: str = option("", "file of word vectors to begin from, or a model folder; embedding_size is theirs then")
    one_hot: bool = option(False, "tokens as unit vectors, as in the tutorials, and not as learned ones")
    cell: str = option("lstm", "a registered cell, or FILE.py:Class for your own")
    hidden_size: int = option(128, "units in each layer and direction")
    layers: int = option(1, "layers, each in both directions (unless --one-way)")
    dropout: float = option(0.3, "probability of dropout")
    token_dropout: float = option(0.0, "probability that a token is taken for an unknown one while learning")
    embedding_size: int = option(100, "size of a token's vector")
    batch_size: int = option(32, "sequences a batch")
    validation: float = option(0.1, "share kept for validation")
    test: float = option(0.0, "share kept for a last test")
    in_memory: int = option(64, "megabytes of data that are read at once; larger data are streamed")
    min_count: int = option(2, "tokens seen less often than this in training are unknown")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, _COUNTS)
        if not 0.0 <= self.token_dropout < 1.0:
            raise ArgumentError(f"token_dropout must be at least 0 and below 1, got {self.token_dropout}")
        if self.in_memory < 0:
            raise ArgumentError(f"in_memory must be at least 0, got {self.in_memory}")
        if self.one_hot and self.vectors:
            raise ArgumentError("unit vectors are not learned: leave out --one-hot or --vectors")

    @property
    def spelling(self) -> Spelling:
        """How tokens are written before they are looked up."""
        return Spelling(self.lower, self.zeros)
