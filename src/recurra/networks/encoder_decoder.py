"""N to M: an encoder reads, a decoder writes (asynchronous sequence to sequence, encoder-decoder, 异步的序列到序列)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recurra.core import Batch, PerLayer
from recurra.core.errors import ArgumentError, ShapeError
from recurra.layers import Recurrent
from recurra.networks.attention import Attention
from recurra.networks.attention_cell import AttentionCell, PreparedSource, prepare_source
from recurra.networks.bridge import Bridge, layer_cells
from recurra.networks.encoder import Encoded, Encoder, append_end
from recurra.networks.pointer_cell import PointerCell
from recurra.networks.pooling import Pooling
from recurra.networks.ragged import valid_steps

__all__ = ["Decoder", "EncoderDecoder"]


class Decoder(nn.Module):
    """What writes: embed and readout around any one-directional `Recurrent` with `batch_first=True`.

    embed: ids `(...)` -> `(..., features)` of the target's symbols; readout: `(..., outputs)` from the layer's
    features;
    end: the id that ends a target, counted in the loss; begin: the id that is the first input (None: `end`, as the
    encoder's last was); feedback: whether y_{t-1} is an input of step t. Without, the decoder is the one that the
    tutorial draws, which sees c and its own state only.
    Give `with_attention(cell, ...)` as the layer's cell for attention, a `PointerCell` to copy as well, `TiedReadout`
    to share the embedding's table.
    """

    def __init__(
        self,
        embed: nn.Module,
        recurrent: Recurrent,
        readout: nn.Module,
        *,
        end: int,
        begin: int | None = None,
        feedback: bool = True,
    ) -> None:
        super().__init__()
        if recurrent.bidirectional or not recurrent.batch_first:
            raise ArgumentError("Decoder expects a one-directional Recurrent with batch_first=True")
        self.embed = embed
        self.recurrent = recurrent
        self.readout = readout
        self.end = end
        self.begin = end if begin is None else begin
        self.feedback = feedback

    @property
    def attends(self) -> bool:
        """Whether a cell looks at the encoder's states."""
        return bool(self.attentions())

    def attentions(self) -> list[Attention]:
        """Return the attentions of all cells that look at the encoder's states."""
        found = (m.attention for m in self.recurrent.modules() if isinstance(m, AttentionCell))
        return list(dict.fromkeys(found))

    @property
    def points(self) -> bool:
        """Whether a cell copies from the source."""
        return any(isinstance(m, PointerCell) for m in self.recurrent.modules())


class EncoderDecoder(nn.Module):
    """P(y_1 ... y_M | x_1 ... x_N), one symbol after another, ended by the end symbol: asynchronous sequence to
    sequence (异步的序列到序列).

    start: what the decoder's first state is made of (None: its own initial state, zeros mostly): `CopyBridge` for the
    last state itself, `LearnedBridge` for a transform of the last or of all states;
    every: what c enters every step beside the symbol before (None: nothing): a pooling of the encoder's states;
    and attention is a matter of the decoder's cell. All three may be combined; with none nothing is known of the
    source.

    The state is the decoder's layer's; the context, what `encode` gives, is a `PerLayer` of tensors `(B, ...)`, so that
    `recurra.index_rows` selects rows of both: `c`, the encoder's states, their mask, the source as it was read, and
    what each attention prepared of the states, once for all steps.
    """

    topology = "encoder-decoder"

    def __init__(
        self, encoder: Encoder, decoder: Decoder, *, start: Bridge | None = None, every: Pooling | None = None
    ) -> None:
        super().__init__()
        if start is None and every is None and not decoder.attends:
            raise ArgumentError(
                "EncoderDecoder: the decoder would know nothing of the source: give start=, every=, or a decoder's "
                "cell made by with_attention"
            )
        self.encoder = encoder
        self.decoder = decoder
        self.start = start
        self.every = every
        self._code_size = 0 if every is None else every.output_size
        _check_sizes(encoder, decoder, every, self._code_size)

    def forward(self, batch: Batch, forced: Tensor | None = None) -> tuple[Tensor, Any]:
        """Return the outputs `(B, M + 1, outputs)`, the last valid one that of the end symbol, and the decoder's state.

        batch: source ids (or vectors) `inputs` with `lengths`, and `targets (B, M)` without the end symbol, with
        `target_lengths`. Teacher forcing: the inputs are the true symbols. forced: `(B, M + 1)` bool, where False the
        input of that step is the network's own likeliest symbol instead (see `scheduled_sampling`). Outputs in the
        padding are the readout's of zero.
        """
        state, context = self.encode(batch)
        targets, mask = self.expected(batch)
        first = targets.new_full((targets.shape[0], 1), self.decoder.begin)
        inputs = torch.cat([first, targets[:, :-1]], 1)
        if forced is None or not self.decoder.feedback:
            y, state = self.decoder.recurrent(
                self._inputs(inputs, context), state, lengths=mask.sum(1), context=self._cell_context(context)
            )
            return self.decoder.readout(y), state
        if forced.dtype != torch.bool or forced.shape != inputs.shape:
            raise ShapeError(
                f"forced must be a bool tensor of shape {tuple(inputs.shape)}, got {forced.dtype} {tuple(forced.shape)}"
            )
        own, outputs = inputs[:, 0], list[Tensor]()
        for t in range(inputs.shape[1]):
            symbols = torch.where(forced[:, t], inputs[:, t], own)
            x = self._inputs(symbols.unsqueeze(1), context)[:, 0]
            y, state = self.decoder.recurrent.step(x, state, self._cell_context(context), active=mask[:, t])
            outputs.append(self.decoder.readout(y))
            own = outputs[-1].detach().argmax(-1)
        return torch.stack(outputs, 1), state

    def expected(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the targets with their end `(B, M + 1)`, and the mask of what counts in the loss."""
        if batch.targets is None:
            raise ArgumentError("EncoderDecoder learns from batch.targets (B, M); to write without them, use decoding")
        rows, steps = batch.targets.shape[:2]
        mask = valid_steps(batch.target_lengths, rows, steps, batch.targets.device)
        return append_end(batch.targets, mask, self.decoder.end)

    def encode(self, batch: Batch) -> tuple[Any, PerLayer]:
        """Read the source; return the decoder's state before its first step, and the context of all its steps."""
        read: Encoded = self.encoder(batch.inputs, batch.lengths)
        rows = read.states.shape[0]
        state = self.initial_state(rows) if self.start is None else self.start(read.states, read.mask, read.final)
        code = read.states.new_zeros(rows, 0) if self.every is None else self.every(read.states, read.mask)
        ready = prepare_source(read.states, read.mask, self.decoder.attentions())
        return state, PerLayer((code, ready.states, read.mask, read.source, *ready.prepared.values()))

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs `(B, outputs)` of one step and the new state.

        x: the symbols before `(B,)`, `decoder.begin` at first; state, context: as `encode` gave them.
        """
        y, state = self.decoder.recurrent.step(
            self._inputs(x.unsqueeze(1), context)[:, 0], state, self._cell_context(context)
        )
        return self.decoder.readout(y), state

    def attended_step(self, x: Tensor, state: Any, context: Any) -> tuple[Tensor, Any, Tensor]:
        """Return what `step` returns, and the attention's weights `(B, S)`.

        Raises ArgumentError unless the decoder is one layer of a cell with attention, with nothing around it.
        """
        cells = layer_cells(self.decoder.recurrent)
        cell = cells[0].cell if isinstance(cells[0], PointerCell) else cells[0]
        if len(cells) != 1 or not isinstance(cell, AttentionCell):
            raise ArgumentError(
                "weights are to be had of a decoder of one layer whose cell is made by with_attention; for several "
                "layers give stacked(cell, layers) to with_attention"
            )
        embedded = self._inputs(x.unsqueeze(1), context)[:, 0]
        flat = tuple(s[0] for s in state)
        source = self._cell_context(context)[:1]
        per_call, per_step = cell.make_context(source, 1, x.shape[0], embedded.device, embedded.dtype)
        now = (*per_call, *(v[0] for v in per_step))
        weights = cell.attended(embedded, flat, now).weights  # pyright: ignore[reportArgumentType]
        outputs, state = self.step(x, state, context)
        return outputs, state, weights

    def attention(self, batch: Batch) -> Tensor:
        """Return the weights `(B, M + 1, S)` with which the targets were written, to be drawn; zero in the padding.

        S counts the source as it was read, its end included.
        """
        state, context = self.encode(batch)
        targets, mask = self.expected(batch)
        x, rows = targets.new_full((targets.shape[0],), self.decoder.begin), list[Tensor]()
        for t in range(targets.shape[1]):
            _, state, weights = self.attended_step(x, state, context)
            rows.append(torch.where(mask[:, t : t + 1], weights, 0))
            x = targets[:, t]
        return torch.stack(rows, 1)

    def initial_state(self, batch: int) -> Any:
        """Return the decoder's own state before the first step, without anything of a source."""
        return self.decoder.recurrent.initial_state(batch)

    def draw_on(self, diagram: Any, steps: int) -> None:
        """Draw encoder and decoder, and what leads from one to the other."""
        looks, many = self.decoder.attends or self.every is not None, max(1, steps - 1)
        # Beside the encoder where one arrow leads to the decoder, above it where every state has its own.
        left, row = (0.5, 3.5) if looks else (steps + 2, 1.0)
        h = [diagram.vector(t, 1, f"h_{t}") for t in range(steps + 1)]
        states = [diagram.vector(left + t, row, f"h'_{t}") for t in range(many + 1)]
        for t in range(1, steps + 1):
            diagram.arrow(diagram.vector(t, 0, f"x_{t}", "input"), h[t], "U")
            diagram.arrow(h[t - 1], h[t], "W")
        if self.start is not None:
            diagram.arrow(h[-1], states[0], dashed=True)
        before = None
        for t in range(many):
            diagram.arrow(states[t], states[t + 1], "W'")
            if looks:
                name = f"c_{t + 1}" if self.decoder.attends else "c"
                c = diagram.vector(left + t + 1, 2.4, name, "context")
                for source in h[1:]:
                    diagram.arrow(source, c)
                diagram.arrow(c, states[t + 1], "C")
            y = diagram.vector(left + t + 1, row + 1.1, f"y_{t + 1}", "output")
            diagram.arrow(states[t + 1], y, "V")
            if before is not None and self.decoder.feedback:
                diagram.arrow(before, states[t + 1], "U'")
            before = y
        diagram.group(h, "encoder")
        diagram.group(states, "decoder")

    def _inputs(self, ids: Tensor, context: PerLayer) -> Tensor:
        """Return the decoder's inputs `(B, M, input_size)`: the embedded symbols before, or zeros, and c."""
        code = context[0].unsqueeze(1).expand(-1, ids.shape[1], -1)
        size = self.decoder.recurrent.input_size - self._code_size
        x = self.decoder.embed(ids) if self.decoder.feedback else code.new_zeros(*ids.shape, size)
        if x.shape[2] != size:
            raise ShapeError(
                f"EncoderDecoder: the decoder takes inputs of {size + self._code_size}, but a symbol's vector has "
                f"{x.shape[2]} and c {self._code_size}"
            )
        return torch.cat([x, code], 2)

    def _cell_context(self, context: PerLayer) -> tuple[Any, ...]:
        _, states, mask, ids, *prepared = context
        if not prepared:
            return ()
        source = PreparedSource(states, mask, dict(zip(self.decoder.attentions(), prepared, strict=True)))
        return (source, ids) if self.decoder.points else (source,)


def _check_sizes(encoder: Encoder, decoder: Decoder, every: Pooling | None, code: int) -> None:
    if every is not None and every.features != encoder.output_size:
        raise ShapeError(
            f"EncoderDecoder: `every` pools {every.features} features, but the encoder gives {encoder.output_size}"
        )
    if decoder.recurrent.input_size < code:
        raise ShapeError(
            f"EncoderDecoder: the decoder takes inputs of {decoder.recurrent.input_size}, fewer than the {code} of c"
        )
    for m in decoder.recurrent.modules():
        if isinstance(m, AttentionCell) and m.attention.key_size != encoder.output_size:
            raise ShapeError(
                f"EncoderDecoder: the attention expects encoder states of {m.attention.key_size}, but the "
                f"encoder gives {encoder.output_size}"
            )
