"""The encoder: it reads a whole sequence, and keeps every state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.layers import Recurrent
from recurra.networks.ragged import reversed_rows, valid_steps

__all__ = ["Encoded", "Encoder", "append_end"]


class Encoded(NamedTuple):
    """What an encoder made: the top layer's states `(B, S, features)`, their mask `(B, S)`, the source as it was read
    (with its end), and the layer's final state."""

    states: Tensor
    mask: Tensor
    source: Tensor
    final: Any


class Encoder(nn.Module):
    """h_j, s_j = cell(embed(x_j), s_{j-1}) over the source and its end.

    embed: `(B, S, ...)` -> `(B, S, features)`; recurrent: any `Recurrent` with `batch_first=True`, in one direction or
    two, any number of layers; end: the id that is appended to every source, so that decoding starts from the state
    after it (None: nothing is appended, as for a source of vectors); backwards: read the source from its end to its
    beginning, the end symbol last all the same (Sutskever, Vinyals and Le 2014): its first words are then the
    nearest.
    """

    def __init__(
        self, embed: nn.Module, recurrent: Recurrent, *, end: int | None = None, backwards: bool = False
    ) -> None:
        super().__init__()
        if not recurrent.batch_first:
            raise ArgumentError("Encoder expects a Recurrent with batch_first=True, got one with batch_first=False")
        self.embed = embed
        self.recurrent = recurrent
        self.end = end
        self.backwards = backwards
        self.output_size = recurrent.output_size

    def forward(self, source: Tensor, lengths: Tensor | Sequence[int] | None = None) -> Encoded:
        """Read the source `(B, S, ...)`; states are aligned to `Encoded.source`, the order in which it was read."""
        mask = valid_steps(lengths, source.shape[0], source.shape[1], source.device)
        if self.backwards:
            source = reversed_rows(source, lengths)
        if self.end is not None:
            source, mask = append_end(source, mask, self.end)
        counts = mask.sum(1)
        states, final = self.recurrent(self.embed(source), lengths=counts)
        return Encoded(states, mask, source, final)


def append_end(ids: Tensor, mask: Tensor, end: int) -> tuple[Tensor, Tensor]:
    """Return ids `(B, S + 1)` with `end` after each row's last valid symbol (and in the padding), and their mask."""
    if ids.dtype != torch.int64 or ids.dim() != 2:
        raise ArgumentError(
            f"an end symbol can be appended to int64 ids (B, S) only, got {ids.dtype} {tuple(ids.shape)}: give end=None"
        )
    rows = ids.shape[0]
    longer = torch.cat([torch.where(mask, ids, end), ids.new_full((rows, 1), end)], 1)
    # Shifted by one: what stands at the beginning, or follows a valid step, is valid.
    return longer, torch.cat([mask.new_ones(rows, 1), mask], 1)
