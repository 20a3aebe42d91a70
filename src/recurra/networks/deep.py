"""Deep stacks: each layer its own cell and size, and ways around the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.layers import CellFactory, Recurrent
from recurra.networks.channels import ChannelLinear
from recurra.networks.dropping import Dropping
from recurra.networks.ragged import Lengths, check_parts, check_sequences, valid, zeroed

__all__ = ["LINKS", "Deep", "cells_for"]

LINKS = ("plain", "skip", "add", "highway", "dense")
"""The ways around the layers."""

_Run = Callable[[int, Tensor], Tensor]


class Deep(nn.Module):
    """Recurrent layers one upon the other, with ways around them. y^0 = x, r^l is what layer l's cells give on u^l.

        plain      u^l = y^{l-1}                 y^l = r^l
        skip       u^l = [y^{l-1}; x]            y^l = r^l                          y = [y^1; ...; y^L]
        add        u^l = y^{l-1}                 y^l = r^l + P y^{l-1}
        highway    u^l = y^{l-1}                 y^l = g r^l + (1 - g) P y^{l-1},   g = sigmoid(W y^{l-1} + b)
        dense      u^l = [x; y^1; ...; y^{l-1}]  y^l = r^l                          y = [y^1; ...; y^L]

    P is nothing where the sizes agree, a matrix where they do not. Otherwise y = y^L.

    cells: one for all layers, or one for each, in the forms that `Recurrent` takes; sizes: each layer's hidden size.
    dropout: probability, while training; of each layer's inputs but the first's, with `dropped="layer"` of r^l
    (`Dropping` tells the kinds). x: `(B, T, input_size)`, or grids `(B, T, input_size, *grid)`. State: a tuple with the
    state of each layer. Streams unless bidirectional.

    Sources: skip: Graves, "Generating sequences with recurrent neural networks" (2013), arXiv v5; add (residual): Wu
    et al., "Google's neural machine translation system" (2016), arXiv v2; highway: Srivastava, Greff and Schmidhuber,
    "Highway networks" (2015), arXiv v2 (b = -1 at first); dense: Huang, Liu, van der Maaten and Weinberger, "Densely
    connected convolutional networks", CVPR (2017), over recurrent layers.
    Deviation: projections P where sizes differ, so that any sizes go together.
    """

    topology = "deep"

    def __init__(
        self,
        cells: CellFactory | Sequence[CellFactory],
        input_size: int,
        sizes: Sequence[int],
        links: str = "plain",
        *,
        dropout: float = 0.0,
        dropped: str = "units",
        bidirectional: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if links not in LINKS:
            raise ArgumentError(f"links must be one of {', '.join(LINKS)}, got {links!r}")
        if dropped == "layer" and links not in ("add", "highway"):
            raise ArgumentError(f"only links 'add' and 'highway' leave a way around a dropped layer, got {links!r}")
        self.input_size = input_size
        self.links = links
        # Two dense layers are two layers with skip connections, and the figure has two.
        figures = {"skip": "deep-skip", "dense": "deep-skip", "add": "deep-add", "highway": "deep-add"}
        self.topology = figures.get(links, "deep")
        self.dropping = Dropping(dropout, dropped)
        self.layers = nn.ModuleList()
        self.around = nn.ModuleList()
        self.gates = nn.ModuleList()
        widths = [input_size]
        for cell, size in zip(cells_for(cells, sizes), sizes, strict=True):
            width = {"skip": widths[-1] + (input_size if len(widths) > 1 else 0), "dense": sum(widths)}
            layer = Recurrent(
                cell, width.get(links, widths[-1]), size, bidirectional=bidirectional, batch_first=True, backend=backend
            )
            self.layers.append(layer)
            if links in ("add", "highway"):
                same = widths[-1] == layer.output_size
                self.around.append(nn.Identity() if same else ChannelLinear(widths[-1], layer.output_size, bias=False))
            if links == "highway":
                gate = ChannelLinear(widths[-1], layer.output_size)
                nn.init.constant_(gate.get_parameter("bias"), -1.0)
                self.gates.append(gate)
            widths.append(layer.output_size)
        self.output_size = sum(widths[1:]) if links in ("skip", "dense") else widths[-1]

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Lengths = None, context: tuple[Any, ...] | None = None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """Return y `(B, T, output_size)`, zero in the padding, and the state of each layer."""
        check_sequences("Deep", x, self.input_size)
        given = check_parts("Deep", state, len(self.layers), "one for each layer")
        final: list[Any] = []

        def run(k: int, u: Tensor) -> Tensor:
            r, new = self.layers[k](u, given[k], lengths=lengths, context=context)
            final.append(new)
            return r

        # Ways around the cells would carry the padding on.
        y = self._through(zeroed(x, valid(lengths, x)), run, self.dropping, 2)
        return y, tuple(final)

    def step(
        self, x: Tensor, state: Any = None, context: tuple[Any, ...] | None = None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """Run one step `(B, input_size)`. Raises ArgumentError if bidirectional."""
        given = check_parts("Deep", state, len(self.layers), "one for each layer")
        final: list[Any] = []

        def run(k: int, u: Tensor) -> Tensor:
            layer = self.layers[k]
            assert isinstance(layer, Recurrent)
            r, new = layer.step(u, given[k], context)
            final.append(new)
            return r

        return self._through(x, run, self.dropping.step, 1), tuple(final)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """Return the state before the first step."""
        return tuple(layer.initial_state(batch) for layer in self.layers if isinstance(layer, Recurrent))

    def extra_repr(self) -> str:
        return f"links={self.links!r}"

    def _through(self, x: Tensor, run: _Run, drop: Callable[[Tensor], Tensor], dim: int) -> Tensor:
        """Go through all layers; features are in dimension `dim`."""
        whole = self.dropping.over == "layer"
        outputs = [x]
        for k in range(len(self.layers)):
            below = outputs[-1]
            if self.links == "skip" and k:
                u = torch.cat([below, x], dim)
            else:
                u = torch.cat(outputs, dim) if self.links == "dense" else below
            r = run(k, u if whole or not k else drop(u))
            r = drop(r) if whole else r
            if self.links == "add":
                r = r + self._way(k, below, dim)
            if self.links == "highway":
                g = torch.sigmoid(self.gates[k](below, dim))
                r = g * r + (1 - g) * self._way(k, below, dim)
            outputs.append(r)
        return torch.cat(outputs[1:], dim) if self.links in ("skip", "dense") else outputs[-1]

    def _way(self, k: int, below: Tensor, dim: int) -> Tensor:
        way = self.around[k]
        return way(below, dim) if isinstance(way, ChannelLinear) else below


def cells_for(cells: CellFactory | Sequence[CellFactory], sizes: Sequence[int]) -> Sequence[CellFactory]:
    """Return a cell for each layer: the same for all, or those given. Raises ArgumentError where numbers differ."""
    if not sizes:
        raise ArgumentError("expected the hidden size of at least one layer, got none")
    if isinstance(cells, str) or callable(cells):
        return [cells] * len(sizes)
    if len(cells) != len(sizes):
        raise ArgumentError(f"expected one cell for each of {len(sizes)} sizes, got {len(cells)} cells")
    return cells
