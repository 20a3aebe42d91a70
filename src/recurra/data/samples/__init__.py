"""The texts that come with recurra, each with its licence beside it (see README.md in this folder)."""

from __future__ import annotations

from pathlib import Path

from recurra.core.registry import lookup

__all__ = ["SAMPLES", "sample_path"]

SAMPLES = {
    "shakespeare": "shakespeare.txt",
    "tang-poems": "tang_poems.txt",
    "tiny-reviews": "tiny_reviews.csv",
    "tiny-words": "tiny_words.txt",
}
"""Name and file of every bundled text: nine plays (1.1 million characters), 300 Tang poems (17 thousand), and two tiny
corpora from a grammar, for tests and first tries: judgements with labels, and Chinese sentences cut into words."""


def sample_path(name: str) -> Path:
    """Return the file of a bundled text; `UnknownNameError` lists the names there are."""
    return Path(__file__).with_name(lookup(SAMPLES, name, "bundled text"))
