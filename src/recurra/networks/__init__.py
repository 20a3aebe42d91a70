"""The topologies: small compositions, generic over every cell."""

from recurra.networks.attention import Attention, MultiHead, SoftAttention
from recurra.networks.attention_aware import Coverage, LocationAware, coverage_loss
from recurra.networks.attention_cell import (
    AttentionCell,
    AttentionInputCell,
    AttentionOutputCell,
    PreparedSource,
    with_attention,
)
from recurra.networks.attention_moving import LocalWindow, MonotonicAttention
from recurra.networks.attention_scores import Additive, Concat, Dot, General, ScaledDot, Score
from recurra.networks.bridge import Bridge, CopyBridge, LearnedBridge
from recurra.networks.chain import Chain
from recurra.networks.columns import ColumnEmbedding
from recurra.networks.composed_words import (
    AveragedCharacters,
    ComposedWords,
    ConvolvedCharacters,
    RecurrentCharacters,
    WordComposer,
)
from recurra.networks.convolutional import CNN
from recurra.networks.deep import LINKS, Deep
from recurra.networks.dropping import DROPPED, Dropping
from recurra.networks.embedding import Embedding, OneHot, UnknownBeyond
from recurra.networks.encoder import Encoder
from recurra.networks.encoder_decoder import Decoder, EncoderDecoder
from recurra.networks.every_step import EveryStep
from recurra.networks.forecaster import Forecaster
from recurra.networks.forest import Forest
from recurra.networks.front_ends import ColumnsFront, PictureFront, SeriesFront
from recurra.networks.gated_graph import GatedGraph
from recurra.networks.graph_block import GraphBlock
from recurra.networks.graphs import GATHERINGS, Graphs
from recurra.networks.many_to_one import ManyToOne
from recurra.networks.merges import MERGES, TwoWay
from recurra.networks.one_to_many import OneToMany
from recurra.networks.pointer_cell import PointerCell
from recurra.networks.pooling import AttentionPooling, Joined, LastStep, MaxPooling, MeanPooling, Pooling
from recurra.networks.readout import Readout, TiedReadout
from recurra.networks.scheduled_sampling import forced_steps, inverse_sigmoid_rate
from recurra.networks.sees_all_below import LOOKS, SeesAllBelow
from recurra.networks.sees_all_layers import AllLayersCell, SeesAllLayers
from recurra.networks.self_attention import SelfAttention
from recurra.networks.separable import Separable
from recurra.networks.sequence_layer import SequenceLayer, StreamingLayer
from recurra.networks.single_layer import SingleLayer
from recurra.networks.sliced import Sliced
from recurra.networks.spatial_attention import SpatialAttention, SpatialAttentionCell
from recurra.networks.stacked_cell import StackedCell, stacked
from recurra.networks.sum_of_children import SumOfChildren
from recurra.networks.synchronous import Synchronous
from recurra.networks.temporal_attention import TemporalAttention
from recurra.networks.tree import Recursive
from recurra.networks.window import WindowMLP
from recurra.networks.word2vec import Word2Vec

__all__ = [
    "CNN",
    "DROPPED",
    "GATHERINGS",
    "LINKS",
    "LOOKS",
    "MERGES",
    "Additive",
    "AllLayersCell",
    "Attention",
    "AttentionCell",
    "AttentionInputCell",
    "AttentionOutputCell",
    "AttentionPooling",
    "AveragedCharacters",
    "Bridge",
    "Chain",
    "ColumnEmbedding",
    "ColumnsFront",
    "ComposedWords",
    "Concat",
    "ConvolvedCharacters",
    "CopyBridge",
    "Coverage",
    "Decoder",
    "Deep",
    "Dot",
    "Dropping",
    "Embedding",
    "Encoder",
    "EncoderDecoder",
    "EveryStep",
    "Forecaster",
    "Forest",
    "GatedGraph",
    "General",
    "GraphBlock",
    "Graphs",
    "Joined",
    "LastStep",
    "LearnedBridge",
    "LocalWindow",
    "LocationAware",
    "ManyToOne",
    "MaxPooling",
    "MeanPooling",
    "MonotonicAttention",
    "MultiHead",
    "OneHot",
    "OneToMany",
    "PictureFront",
    "PointerCell",
    "Pooling",
    "PreparedSource",
    "Readout",
    "RecurrentCharacters",
    "Recursive",
    "ScaledDot",
    "Score",
    "SeesAllBelow",
    "SeesAllLayers",
    "SelfAttention",
    "Separable",
    "SequenceLayer",
    "SeriesFront",
    "SingleLayer",
    "Sliced",
    "SoftAttention",
    "SpatialAttention",
    "SpatialAttentionCell",
    "StackedCell",
    "StreamingLayer",
    "SumOfChildren",
    "Synchronous",
    "TemporalAttention",
    "TiedReadout",
    "TwoWay",
    "UnknownBeyond",
    "WindowMLP",
    "Word2Vec",
    "WordComposer",
    "coverage_loss",
    "forced_steps",
    "inverse_sigmoid_rate",
    "stacked",
    "with_attention",
]
