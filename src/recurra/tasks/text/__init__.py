"""What the tasks over text share: their networks, and pretrained vectors."""

from recurra.tasks.text.classifier import make_classifier
from recurra.tasks.text.pretrained import HasVectors, place_vectors, pretrained, vectors_of, vectors_record
from recurra.tasks.text.tagger import Tagger

__all__ = ["HasVectors", "Tagger", "make_classifier", "place_vectors", "pretrained", "vectors_of", "vectors_record"]
