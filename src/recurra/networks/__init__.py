"""The topologies: small compositions, generic over every cell."""

from recurra.networks.chain import Chain
from recurra.networks.convolutional import CNN
from recurra.networks.deep import LINKS, Deep
from recurra.networks.dropping import DROPPED, Dropping
from recurra.networks.embedding import Embedding, OneHot
from recurra.networks.forest import Forest
from recurra.networks.gated_graph import GatedGraph
from recurra.networks.graph_block import GraphBlock
from recurra.networks.graphs import GATHERINGS, Graphs
from recurra.networks.many_to_one import ManyToOne
from recurra.networks.merges import MERGES, TwoWay
from recurra.networks.one_to_many import OneToMany
from recurra.networks.pooling import AttentionPooling, Joined, LastStep, MaxPooling, MeanPooling, Pooling
from recurra.networks.readout import Readout, TiedReadout
from recurra.networks.sees_all_below import LOOKS, SeesAllBelow
from recurra.networks.sees_all_layers import AllLayersCell, SeesAllLayers
from recurra.networks.separable import Separable
from recurra.networks.sequence_layer import SequenceLayer, StreamingLayer
from recurra.networks.single_layer import SingleLayer
from recurra.networks.sliced import Sliced
from recurra.networks.sum_of_children import SumOfChildren
from recurra.networks.synchronous import Synchronous
from recurra.networks.tree import Recursive
from recurra.networks.window import WindowMLP

__all__ = [
    "CNN",
    "DROPPED",
    "GATHERINGS",
    "LINKS",
    "LOOKS",
    "MERGES",
    "AllLayersCell",
    "AttentionPooling",
    "Chain",
    "Deep",
    "Dropping",
    "Embedding",
    "Forest",
    "GatedGraph",
    "GraphBlock",
    "Graphs",
    "Joined",
    "LastStep",
    "ManyToOne",
    "MaxPooling",
    "MeanPooling",
    "OneHot",
    "OneToMany",
    "Pooling",
    "Readout",
    "Recursive",
    "SeesAllBelow",
    "SeesAllLayers",
    "Separable",
    "SequenceLayer",
    "SingleLayer",
    "Sliced",
    "StreamingLayer",
    "SumOfChildren",
    "Synchronous",
    "TiedReadout",
    "TwoWay",
    "WindowMLP",
]
