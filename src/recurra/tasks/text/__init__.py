"""What the tasks over text share: pretrained vectors, the tagger's network."""

from recurra.tasks.text.pretrained import HasVectors, place_vectors, pretrained, vectors_of, vectors_record
from recurra.tasks.text.tagger import Tagger

__all__ = ["HasVectors", "Tagger", "place_vectors", "pretrained", "vectors_of", "vectors_record"]
