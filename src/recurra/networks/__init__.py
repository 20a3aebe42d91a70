"""The topologies: small compositions, generic over every cell."""

from recurra.networks.chain import Chain
from recurra.networks.deep import LINKS, Deep
from recurra.networks.dropping import DROPPED, Dropping
from recurra.networks.embedding import Embedding, OneHot
from recurra.networks.merges import MERGES, TwoWay
from recurra.networks.readout import Readout, TiedReadout
from recurra.networks.separable import Separable
from recurra.networks.sequence_layer import SequenceLayer, StreamingLayer
from recurra.networks.sliced import Sliced
from recurra.networks.synchronous import Synchronous

__all__ = [
    "DROPPED",
    "LINKS",
    "MERGES",
    "Chain",
    "Deep",
    "Dropping",
    "Embedding",
    "OneHot",
    "Readout",
    "Separable",
    "SequenceLayer",
    "Sliced",
    "StreamingLayer",
    "Synchronous",
    "TiedReadout",
    "TwoWay",
]
