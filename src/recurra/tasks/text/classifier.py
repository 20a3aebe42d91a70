"""The network of a classifier of texts: tokens in, one vector by pooling over time, a score for every class."""

from __future__ import annotations

from typing import Literal

from recurra.core import Cell
from recurra.data.text_units import TextUnits
from recurra.layers import Recurrent
from recurra.networks import AttentionPooling, ColumnEmbedding, LastStep, ManyToOne, MaxPooling, MeanPooling, Readout

__all__ = ["make_classifier"]


def make_classifier(
    cell: type[Cell],
    units: TextUnits,
    classes: int,
    *,
    embedding_size: int,
    hidden_size: int,
    layers: int,
    dropout: float,
    token_dropout: float,
    one_way: bool,
    pooling: Literal["last", "mean", "max", "attention"],
    one_hot: bool = False,
) -> ManyToOne:
    """Return the network: embedding, a stack of any cell, in both directions or one way, pooling, a linear readout.

    one_hot: tokens are unit vectors, and embedding_size is asked for their phrases' vectors alone. dropout: of the
    tokens' vectors, between layers and before the readout; token_dropout: of whole tokens. Learned vectors begin small,
    from N(0, 0.1^2): words too rare to be learned say little.
    """
    sizes = [embedding_size, *units.phrases.widths(embedding_size)]
    embed = ColumnEmbedding(
        [units.size, *units.phrases.sizes], sizes, dropout=dropout, unknown=token_dropout, one_hot=one_hot
    )
    recurrent = Recurrent(
        cell, embed.size, hidden_size, layers,
        bidirectional=not one_way, dropout=dropout if layers > 1 else 0.0, batch_first=True,
    )  # fmt: skip
    size = recurrent.output_size
    match pooling:
        case "last":
            pooled = LastStep.of(recurrent)
        case "mean":
            pooled = MeanPooling(size)
        case "max":
            pooled = MaxPooling(size)
        case "attention":
            pooled = AttentionPooling(size, hidden_size)
    return ManyToOne(embed, recurrent, pooled, Readout(pooled.output_size, classes, dropout))
