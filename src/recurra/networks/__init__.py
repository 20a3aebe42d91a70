"""The topologies: small compositions, generic over every cell."""

from recurra.networks.embedding import Embedding, OneHot
from recurra.networks.readout import Readout, TiedReadout
from recurra.networks.synchronous import Synchronous

__all__ = ["Embedding", "OneHot", "Readout", "Synchronous", "TiedReadout"]
