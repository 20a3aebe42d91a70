"""From files to batches: text, its labels, tags, vocabulary, parts and streams, and what counting alone achieves."""

from recurra.data.labelled_documents import LabelledText, read_labelled
from recurra.data.labelled_text import FORMATS, UNKNOWN_TAG, TagFormat, TaggedSentence, parse_tagged, read_tagged
from recurra.data.ngram import NGram
from recurra.data.samples import SAMPLES, sample_path
from recurra.data.split import Split, require_window, split
from recurra.data.streams import StreamReader
from recurra.data.tag_schemes import SCHEMES, Scheme, Span, legal, spans, strict_spans, tags_of
from recurra.data.text import Document, digest, read_documents
from recurra.data.vocabulary import LEVELS, UNKNOWN, Level, StreamDecoder, Vocabulary
from recurra.data.words import split_words

__all__ = [
    "FORMATS",
    "LEVELS",
    "SAMPLES",
    "SCHEMES",
    "UNKNOWN",
    "UNKNOWN_TAG",
    "Document",
    "LabelledText",
    "Level",
    "NGram",
    "Scheme",
    "Span",
    "Split",
    "StreamDecoder",
    "StreamReader",
    "TagFormat",
    "TaggedSentence",
    "Vocabulary",
    "digest",
    "legal",
    "parse_tagged",
    "read_documents",
    "read_labelled",
    "read_tagged",
    "require_window",
    "sample_path",
    "spans",
    "split",
    "split_words",
    "strict_spans",
    "tags_of",
]
