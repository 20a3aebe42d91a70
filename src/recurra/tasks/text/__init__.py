"""What the tasks over text share: their options, networks and answers, pretrained vectors, what they learned from."""

from recurra.tasks.text.answers import Answers, ClassifiedText, ManyLabels, ManyLabelsText, OneLabel
from recurra.tasks.text.classification_options import TextClassificationOptions
from recurra.tasks.text.classifier import make_classifier
from recurra.tasks.text.options import TextOptions
from recurra.tasks.text.origin import begin, check_origin, fingerprint, model_readme, not_empty, read_again
from recurra.tasks.text.pretrained import (
    HasVectors,
    learned_table,
    place_vectors,
    pretrained,
    vectors_of,
    vectors_record,
)
from recurra.tasks.text.tagged_text import TaggedText
from recurra.tasks.text.tagger import Tagger, count_known

__all__ = [
    "Answers",
    "ClassifiedText",
    "HasVectors",
    "ManyLabels",
    "ManyLabelsText",
    "OneLabel",
    "TaggedText",
    "Tagger",
    "TextClassificationOptions",
    "TextOptions",
    "begin",
    "check_origin",
    "count_known",
    "fingerprint",
    "learned_table",
    "make_classifier",
    "model_readme",
    "not_empty",
    "place_vectors",
    "pretrained",
    "read_again",
    "vectors_of",
    "vectors_record",
]
