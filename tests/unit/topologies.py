"""A small one of every topology, over any cell of vectors: what the laws of topologies go through.

Every network that `recurra.networks` makes public is here: a test sees to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recurra import networks
from recurra.core import Batch, Cell, TreeCell
from recurra.layers import Recurrent
from recurra.networks import (
    CNN,
    LINKS,
    LOOKS,
    MERGES,
    Additive,
    AttentionInputCell,
    AttentionOutputCell,
    AttentionPooling,
    Chain,
    ColumnsFront,
    CopyBridge,
    Decoder,
    Deep,
    Embedding,
    Encoder,
    EncoderDecoder,
    EveryStep,
    Forecaster,
    Forest,
    GatedGraph,
    GraphBlock,
    Graphs,
    Joined,
    LastStep,
    LearnedBridge,
    ManyToOne,
    MaxPooling,
    MeanPooling,
    OneToMany,
    PictureFront,
    Readout,
    Recursive,
    SeesAllBelow,
    SeesAllLayers,
    SelfAttention,
    Separable,
    SeriesFront,
    SingleLayer,
    Sliced,
    SoftAttention,
    SpatialAttention,
    Synchronous,
    TemporalAttention,
    TwoWay,
    WindowMLP,
    with_attention,
)

__all__ = ["TOPOLOGIES", "Topology", "public_networks"]

F, H, STEPS = 3, 4, 4
LENGTHS = torch.tensor([STEPS, 2])
TREES = Forest.nested([("a", ("red", "bike")), "word", ("a", "b")])
GRAPH = [(0, 1), (0, 1), (1, 2), (2, 0), (3, 3)]


@dataclass(frozen=True)
class Topology:
    """How a network is made over a cell, the shape of its inputs, and how it is called with them.

    cells: whether it is made of a cell at all.
    """

    make: Callable[[Any], nn.Module]
    shape: tuple[int, ...] = (2, STEPS, F)
    call: Callable[[Any, Tensor], Tensor] = lambda network, x: network(x, lengths=LENGTHS)[0]
    cells: bool = True


def _batch(network: Any, x: Tensor) -> Tensor:
    return network(Batch(x, lengths=LENGTHS))[0]


def _alone(network: Any, x: Tensor) -> Tensor:
    return network(Batch(x))[0]


def _written(network: Any, x: Tensor) -> Tensor:
    targets = torch.tensor([[1, 0, 2], [3, 1, 0]])
    return network(Batch(x, targets, LENGTHS, target_lengths=torch.tensor([3, 1])))[0]


def _over_graph(network: Any, x: Tensor) -> Tensor:
    edges, known = torch.linspace(-1, 1, 10, dtype=x.dtype).view(5, 2), torch.ones(2, dtype=x.dtype)
    made = network(Graphs.of(x, GRAPH, features=edges, known=known))
    return made.nodes if isinstance(made, Graphs) else made[0]


def _recurrent(cell: Any, inputs: int = F, size: int = H, **options: Any) -> Recurrent:
    return Recurrent(cell, inputs, size, batch_first=True, **options)


def _many_to_one(pooling: Callable[[Recurrent], Any]) -> Callable[[Any], nn.Module]:
    def make(cell: Any) -> nn.Module:
        layer = _recurrent(cell, bidirectional=True)
        made = pooling(layer)
        return ManyToOne(nn.Identity(), layer, made, nn.Linear(made.output_size, 2))

    return make


def _one_to_many(when: Any) -> Topology:
    def make(cell: Any) -> nn.Module:
        return OneToMany(nn.Identity(), _recurrent(cell), nn.Linear(H, 2), 3, when)

    return Topology(make, (2, F), _alone)


def _encoder_decoder(form: Any, start: str = "", every: bool = False, **options: Any) -> Topology:
    def make(cell: Any) -> nn.Module:
        reader = _recurrent(cell)
        inside: Any = cell
        if form is not None:
            inside = with_attention(cell, lambda q: SoftAttention(Additive(q, H, 3)), form)
        writer = _recurrent(inside, F + (H if every else 0))
        bridges: dict[str, Callable[[], Any]] = {
            "": lambda: None,
            "copy": lambda: CopyBridge(reader, writer),
            "last": lambda: LearnedBridge(LastStep.of(reader), writer),
            "all": lambda: LearnedBridge(AttentionPooling(H, 3), writer),
        }
        decoder = Decoder(Embedding(5, F), writer, Readout(H, 5), end=4, **options)
        pooled = LastStep.of(reader) if every else None
        return EncoderDecoder(Encoder(nn.Identity(), reader), decoder, start=bridges[start](), every=pooled)

    return Topology(make, call=_written)


TOPOLOGIES: dict[str, Topology] = {
    "SingleLayer": Topology(lambda _: SingleLayer(F, 2), (2, F), _alone, cells=False),
    "WindowMLP": Topology(lambda _: WindowMLP(F, 2, [H], 2), call=_alone, cells=False),
    "CNN": Topology(lambda _: CNN([F, H], 2, dimensions=1), call=_batch, cells=False),
    "Synchronous": Topology(lambda c: Synchronous(nn.Identity(), _recurrent(c), nn.Linear(H, 2)), call=_batch),
    "ManyToOne, last": Topology(_many_to_one(LastStep.of), call=_batch),
    "ManyToOne, mean": Topology(_many_to_one(lambda r: MeanPooling(r.output_size)), call=_batch),
    "ManyToOne, max": Topology(_many_to_one(lambda r: MaxPooling(r.output_size)), call=_batch),
    "ManyToOne, attention": Topology(_many_to_one(lambda r: AttentionPooling(r.output_size, 3)), call=_batch),
    "ManyToOne, joined": Topology(_many_to_one(lambda r: Joined(r.output_size, STEPS)), call=_batch),
    "OneToMany, first": _one_to_many("first"),
    "OneToMany, every": _one_to_many("every"),
    "EncoderDecoder, last state": _encoder_decoder(None, "copy"),
    "EncoderDecoder, transformed": _encoder_decoder(None, "last"),
    "EncoderDecoder, all states": _encoder_decoder(None, "all"),
    "EncoderDecoder, every step": _encoder_decoder(None, every=True),
    "EncoderDecoder, not fed back": _encoder_decoder(None, "last", every=True, feedback=False),
    "EncoderDecoder, attention": _encoder_decoder(AttentionInputCell),
    "EncoderDecoder, attention after": _encoder_decoder(AttentionOutputCell, "last"),
    **{f"Deep, {links}": Topology(lambda c, way=links: Deep(c, F, [H, 5], way)) for links in LINKS},
    **{f"TwoWay, {how}": Topology(lambda c, merge=how: TwoWay(c, F, H, merge)) for how in MERGES},
    **{f"SeesAllBelow, {look}": Topology(lambda c, how=look: SeesAllBelow(c, F, [H, H], how)) for look in LOOKS},
    "SeesAllBelow, causal": Topology(lambda c: SeesAllBelow(c, F, [H, H], causal=True)),
    "SeesAllLayers": Topology(lambda c: SeesAllLayers(c, F, [H, H])),
    "SeesAllLayers, gated": Topology(lambda c: SeesAllLayers(c, F, [H, H], gated=True)),
    "Separable": Topology(lambda c: Separable(c, F, H)),
    "Separable, look-ahead": Topology(lambda c: Separable(c, F, H, look_ahead=2)),
    "Sliced": Topology(lambda c: Sliced(c, F, [H, H], [2])),
    "SeriesFront": Topology(lambda _: SeriesFront(F, [H]), cells=False),
    "ColumnsFront": Topology(lambda _: ColumnsFront([F, 2]), (2, F, 3, STEPS), cells=False),
    "EveryStep": Topology(lambda _: EveryStep(PictureFront([F, 2], 2), 2), (2, STEPS, F, 3, 3), cells=False),
    "SelfAttention": Topology(lambda _: SelfAttention(F + 1, 2), (2, STEPS, F + 1), cells=False),
    "Chain": Topology(lambda c: Chain(_recurrent(c), SelfAttention(H, 2), _recurrent(c, H))),
    "Recursive": Topology(
        lambda c: Recursive(c, F, H), (len(TREES), F), lambda network, x: network(x, TREES)[0]
    ),
    "GatedGraph": Topology(lambda c: GatedGraph(c, F, H, 2, edge_size=2, global_size=2), (4, F), _over_graph),
    "GraphBlock": Topology(lambda _: GraphBlock(F, 2, 2, H), (4, F), _over_graph, cells=False),
    "Forecaster": Topology(lambda c: Forecaster(c, F, [H], 2)),
    "SpatialAttention": Topology(lambda c: SpatialAttention(c, F, (2,), H), (2, STEPS, F, 2)),
    "TemporalAttention": Topology(lambda c: TemporalAttention(_recurrent(c), 2)),
}  # fmt: skip
"""By the class's name, and what tells its forms apart."""


def public_networks() -> dict[str, type[nn.Module]]:
    """Return the public networks: modules, but no cells, that have a topology's name or begin from a state."""
    found = {name: getattr(networks, name) for name in networks.__all__}
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type)
        and issubclass(kind, nn.Module)
        and not issubclass(kind, Cell | TreeCell)
        and (hasattr(kind, "topology") or hasattr(kind, "initial_state"))
    }
