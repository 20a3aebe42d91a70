"""Vectors that were learned elsewhere, as the first weights of an embedding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from recurra.core.errors import ArgumentError, DataError
from recurra.data import Vocabulary
from recurra.data.word_vectors import WordVectors, read_vectors
from recurra.networks import Embedding

__all__ = ["HasVectors", "learned_table", "place_vectors", "pretrained", "vectors_of", "vectors_record"]


@runtime_checkable
class HasVectors(Protocol):
    """A model that has a vector for each word it knows."""

    def word_vectors(self) -> WordVectors:
        """Return the words and their vectors."""
        ...


def pretrained(source: str, words: Sequence[str]) -> WordVectors:
    """Return the vectors of some words, in their order, from a file (see `read_vectors`) or a folder of a model.

    A word that the source lacks is looked for in small letters, since many files hold those alone; what is not found
    then is left out. Raises DataError where nothing at all is found.
    """
    wanted = {*words, *(word.lower() for word in words)}
    found = _of_folder(Path(source)) if Path(source).is_dir() else read_vectors(source, wanted)
    named = [(word, word if word in found.places else word.lower()) for word in words]
    kept = [(word, name) for word, name in named if name in found.places]
    if not kept:
        raise DataError(f"{source}: expected vectors of words that the training text has, found none: give others")
    return WordVectors(tuple(word for word, _ in kept), found.vectors[[found.places[name] for _, name in kept]])


def vectors_record(source: str, vectors: WordVectors) -> dict[str, Any]:
    """Return what config.json says of vectors: where they were, how many words had one, and their fingerprint."""
    digest = hashlib.sha256("\n".join(vectors.words).encode() + vectors.vectors.tobytes()).hexdigest()
    return {"source": Path(source).name, "words": len(vectors.words), "sha256": digest}


@torch.no_grad()
def place_vectors(embedding: Embedding, words: Sequence[str], vectors: WordVectors) -> None:
    """Put vectors in the rows of their words; all other rows are made as wide as these.

    words: those of the rows from 1 on; row 0 is the unknown word's.
    """
    if vectors.vectors.shape[1] != embedding.size:
        raise ArgumentError(f"expected vectors of size {embedding.size}, got {vectors.vectors.shape[1]}")
    at = {word: row for row, word in enumerate(words, 1)}
    table = torch.from_numpy(vectors.vectors)
    embedding.weight.mul_(table.square().mean().sqrt() / embedding.weight.square().mean().sqrt())
    embedding.weight[[at[word] for word in vectors.words]] = table.to(embedding.weight.dtype)


def learned_table(embed: nn.Module) -> Embedding:
    """Return an embedding as the table that it is. Raises ArgumentError for unit vectors."""
    if not isinstance(embed, Embedding):
        raise ArgumentError("expected a model that learned vectors, got one of unit vectors: train without --one-hot")
    return embed


def vectors_of(model: object) -> WordVectors:
    """Return the words that a model knows and their vectors. Raises ArgumentError for one without."""
    if isinstance(model, HasVectors):
        return model.word_vectors()
    # A language model: what it reads and what it knows.
    embed, known = getattr(getattr(model, "network", None), "embed", None), getattr(model, "vocabulary", None)
    if not isinstance(embed, Embedding) or not isinstance(known, Vocabulary) or not known.symbols:
        raise ArgumentError(
            "expected a model with a vector for each word, got one without: give one of recurra train embeddings, or "
            "another that reads words or characters by an embedding"
        )
    return WordVectors(known.symbols, embed.weight.detach()[1:].numpy())


def _of_folder(folder: Path) -> WordVectors:
    from recurra import tasks  # The tasks themselves import this.

    return vectors_of(tasks.load(folder))
