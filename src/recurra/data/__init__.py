"""From files to batches: reading text, its vocabulary, its parts, its streams, and what counting alone achieves."""

from recurra.data.ngram import NGram
from recurra.data.samples import SAMPLES, sample_path
from recurra.data.split import Split, require_window, split
from recurra.data.streams import StreamReader
from recurra.data.text import Document, digest, read_documents
from recurra.data.vocabulary import LEVELS, UNKNOWN, Level, StreamDecoder, Vocabulary
from recurra.data.words import split_words

__all__ = [
    "LEVELS",
    "SAMPLES",
    "UNKNOWN",
    "Document",
    "Level",
    "NGram",
    "Split",
    "StreamDecoder",
    "StreamReader",
    "Vocabulary",
    "digest",
    "read_documents",
    "require_window",
    "sample_path",
    "split",
    "split_words",
]
