"""A decoder with attention is a cell: the encoder's states are its context, so it runs, streams and draws like any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from recurra.core import Cell, Context, State, StateShape, call_step
from recurra.core.errors import ArgumentError, ShapeError
from recurra.layers import CellFactory, cell_factory
from recurra.networks.attention import Attention

__all__ = [
    "AttendedStep", "AttentionCell", "AttentionInputCell", "AttentionOutputCell", "PreparedSource",
    "prepare_source", "with_attention",
]  # fmt: skip


class PreparedSource(NamedTuple):
    """What is attended to, made ready once for many single steps: give it in place of `states, mask` of a context.

    states: `(B, S, key_size)`, zero where the mask `(B, S)` is False; prepared: of each attention what its `prepare`
    makes of these states.
    """

    states: Tensor
    mask: Tensor
    prepared: Mapping[Attention, Tensor]


class AttendedStep(NamedTuple):
    """One step of a decoder: its output, its new state, the context vector it saw and its weights `(B, S)`."""

    y: Tensor
    state: State
    context: Tensor
    weights: Tensor


class AttentionCell(Cell):
    """A cell that looks at an encoder's states through an attention. A subclass says in `attended` when it looks.

    Its context is `(states, mask, ...)`: the encoder's states `(B, S, key_size)`, their mask `(B, S)` bool or None
    where all are valid; what follows goes to the cell inside. S may change from call to call. States under the mask
    have no influence at all.
    State: that of the cell inside, then the vector that the next step needs (`last`), then what the attention carries.
    Weights: `cell.*`, `attention.*`.
    """

    def __init__(self, input_size: int, cell: Cell, attention: Attention) -> None:
        super().__init__(input_size, cell.hidden_size)
        if len(cell.input_shape) != 1 or len(cell.output_shape) != 1:
            raise ArgumentError(
                f"{type(self).__name__} joins vectors, but {type(cell).__name__} has inputs of shape "
                f"{cell.input_shape} and outputs of shape {cell.output_shape}"
            )
        if attention.query_size != cell.output_shape[0]:
            raise ShapeError(
                f"{type(self).__name__}: the attention expects queries of {attention.query_size}, but "
                f"{type(cell).__name__} gives outputs of {cell.output_shape[0]}"
            )
        self.cell = cell
        self.attention = attention
        self.output_shape = cell.output_shape

    @classmethod
    def of(
        cls, cell: CellFactory, attention: Callable[[int], Attention], input_size: int, hidden_size: int, **options: Any
    ) -> Self:
        """Build both parts, so that the whole takes inputs of `input_size`.

        cell: in any form that `Recurrent` takes; attention: from the size of the query, which is the cell's output,
        `lambda q: SoftAttention(Additive(q, encoder.output_size))`.
        """
        raise NotImplementedError

    def attended(self, x: Tensor, state: State, context: Sequence[Tensor]) -> AttendedStep:
        """Run one step and tell what was looked at; context: flat, as `step` takes it."""
        raise NotImplementedError

    def begin(self, inner: State) -> State:
        """Return the state before the first step that has the given state of the cell inside.

        The first query is then that state's first tensor of the output's size, which is h for most cells, else zeros.
        """
        last = next((s for s in inner if tuple(s.shape[1:]) == self.output_shape), None)
        if last is None:
            last = inner[0].new_zeros(inner[0].shape[0], *self.output_shape)
        return (*inner, last, *self.attention.first_state(last.shape[0], device=last.device, dtype=last.dtype))

    def step(self, x: Tensor, state: State, context: tuple[Any, ...]) -> tuple[Tensor, State]:
        done = self.attended(x, state, context)
        return done.y, done.state

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (*self.cell.state_shapes(), self.output_shape, *self.attention.state_shapes())

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        inner = self.cell.initial_state(batch, device=device, dtype=dtype)
        last = torch.zeros(batch, *self.output_shape, device=device, dtype=dtype)
        return (*inner, last, *self.attention.first_state(batch, device=device, dtype=dtype))

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        source, rest = self._source(given)
        if source.states.shape[0] != batch:
            raise ShapeError(
                f"{type(self).__name__}: expected encoder states of {batch} rows, got {source.states.shape[0]}"
            )
        per_call, per_step = self.cell.make_context(rest, steps, batch, device, dtype)
        return (source.states, source.prepared[self.attention], source.mask, *per_call), per_step

    def _source(self, given: tuple[Any, ...]) -> tuple[PreparedSource, tuple[Any, ...]]:
        """Return the encoder's states, prepared, and what of the context is not theirs."""
        if given and isinstance(given[0], PreparedSource) and self.attention in given[0].prepared:
            return given[0], given[1:]
        if not given or not isinstance(given[0], Tensor):
            raise ArgumentError(
                f"{type(self).__name__} needs the encoder's states: give context=(states (B, S, "
                f"{self.attention.key_size}), mask (B, S))"
            )
        return prepare_source(given[0], given[1] if len(given) > 1 else None, [self.attention]), given[2:]

    def extra_repr(self) -> str:
        return ""

    def _taken_apart(self, state: State) -> tuple[State, Tensor, State]:
        """Return the state of the cell inside, the carried vector, and what the attention carries."""
        inner = len(self.cell.state_shapes())
        return state[:inner], state[inner], state[inner + 1 :]


class AttentionInputCell(AttentionCell):
    """Attention before the step, as the tutorials draw it: c_i is an input of step i.

        e_ij = score(h'_{i-1}, h_j),   a_i = softmax over valid j of e_ij,   c_i = sum over j of a_ij h_j
        h'_i = cell([x_i; c_i], h'_{i-1}),   y_i = h'_i

    h'_{i-1} in the score is what the cell gave at the step before; before the first step it is zero, or the bridge's.
    Shapes: x `(B, input_size)`; y as the cell's. Source: Bahdanau, Cho and Bengio, ICLR (2015), v7.
    Deviation: any cell in place of the GRU; the readout sees y alone, not c and the symbol before once more.
    """

    def __init__(self, input_size: int, cell: Cell, attention: Attention) -> None:
        super().__init__(input_size, cell, attention)
        _require_input(self, cell, input_size + attention.output_size, "the input's and the context vector's")

    @classmethod
    def of(
        cls, cell: CellFactory, attention: Callable[[int], Attention], input_size: int, hidden_size: int, **options: Any
    ) -> Self:
        """Build both parts, so that the whole takes inputs of `input_size`."""
        build = cell_factory(cell)
        made = attention(build(input_size, hidden_size).output_shape[0])
        return cls(input_size, build(input_size + made.output_size, hidden_size), made, **options)

    def attended(self, x: Tensor, state: State, context: Sequence[Tensor]) -> AttendedStep:
        """Look, then step with what was seen."""
        keys, prepared, mask, *inner_context = context
        inner, last, carried = self._taken_apart(state)
        c, weights, carried = self.attention.attend(last, keys, prepared, mask, carried)
        y, inner = call_step(self.cell, torch.cat([x, c], -1), inner, tuple(inner_context))
        return AttendedStep(y, (*inner, y, *carried), c, weights)


class AttentionOutputCell(AttentionCell):
    """Attention after the step, Luong's form: what was looked at joins the output.

        h_i = cell([x_i; y_{i-1}], h_{i-1})        with input feeding, cell(x_i, h_{i-1}) without
        a_i from h_i,   c_i = sum over j of a_ij h_j,   y_i = tanh(W [c_i; h_i])

    feeding: whether the last y is an input, so that the decoder knows where it looked; y_0 = 0, or the bridge's.
    Shapes: x `(B, input_size)`; y as the cell's. Weights: also `joined.weight`.
    Source: Luong, Pham and Manning, EMNLP (2015), sections 3.1 and 3.3. Deviation: none.
    """

    def __init__(self, input_size: int, cell: Cell, attention: Attention, feeding: bool = True) -> None:
        super().__init__(input_size, cell, attention)
        (size,) = self.output_shape
        _require_input(self, cell, input_size + (size if feeding else 0), "the input's and the fed output's")
        self.feeding = feeding
        self.joined = nn.Linear(attention.output_size + size, size, bias=False)

    @classmethod
    def of(
        cls, cell: CellFactory, attention: Callable[[int], Attention], input_size: int, hidden_size: int, **options: Any
    ) -> Self:
        """Build both parts, so that the whole takes inputs of `input_size`."""
        build = cell_factory(cell)
        (size,) = build(input_size, hidden_size).output_shape
        joined = input_size + (size if options.get("feeding", True) else 0)
        return cls(input_size, build(joined, hidden_size), attention(size), **options)

    def attended(self, x: Tensor, state: State, context: Sequence[Tensor]) -> AttendedStep:
        """Step, then look, and join both."""
        keys, prepared, mask, *inner_context = context
        inner, last, carried = self._taken_apart(state)
        seen = torch.cat([x, last], -1) if self.feeding else x
        h, inner = call_step(self.cell, seen, inner, tuple(inner_context))
        c, weights, carried = self.attention.attend(h, keys, prepared, mask, carried)
        y = torch.tanh(self.joined(torch.cat([c, h], -1)))
        return AttendedStep(y, (*inner, y, *carried), c, weights)


def prepare_source(states: Tensor, mask: Tensor | None, attentions: Sequence[Attention]) -> PreparedSource:
    """Return an encoder's states made ready for some attentions.

    states: `(B, S, key_size)`; mask: `(B, S)` bool, True where they are valid, everywhere if None.
    Raises ShapeError where sizes do not fit.
    """
    if mask is None:
        mask = torch.ones((), dtype=torch.bool, device=states.device).expand(states.shape[:2])
    for attention in attentions:
        attention.check(states, mask)
    states = torch.where(mask.unsqueeze(2), states, 0)
    return PreparedSource(states, mask, {attention: attention.prepare(states) for attention in attentions})


def with_attention(
    cell: CellFactory,
    attention: Callable[[int], Attention],
    form: type[AttentionCell] = AttentionInputCell,
    **options: Any,
) -> Callable[[int, int], Cell]:
    """Return a factory for `Recurrent`: `Recurrent(with_attention("gru", lambda q: ...), 32, 64, batch_first=True)`.

    form: `AttentionInputCell`, the default, or `AttentionOutputCell`; options go to it.
    """

    def build(input_size: int, hidden_size: int) -> Cell:
        return form.of(cell, attention, input_size, hidden_size, **options)

    return build


def _require_input(cell: AttentionCell, inside: Cell, expected: int, sizes: str) -> None:
    if inside.input_shape != (expected,):
        raise ShapeError(
            f"{type(cell).__name__}: {type(inside).__name__} must take inputs of {expected}, {sizes} sizes together, "
            f"got {inside.input_shape[0]}: use {type(cell).__name__}.of"
        )
