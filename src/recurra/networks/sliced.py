"""The sliced network: slices of a sequence side by side, and networks over what each slice comes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.layers import CellFactory, Recurrent
from recurra.networks.deep import cells_for
from recurra.networks.ragged import Lengths, check_parts, check_sequences, choose_rows, last_valid, valid

__all__ = ["Sliced"]


class Sliced(nn.Module):
    """N to 1 in few steps: level 0 reads slices of n_0 steps, all at once; level 1 reads the last outputs of n_1
    slices, all groups at once; and so on; the top level reads what is left, and its last output is y.

        Sliced("gru", 64, [128, 128, 128], slices=[8, 8])         # 512 steps become 8 + 8 + 8 in a row

    cells: one for all levels, or one for each; sizes: the hidden size of each level, the lowest first; slices: n_0,
    n_1, ..., one for each level but the top. Sequences need not divide: a last slice is as long as it is. A slice
    begins from the cell's initial state. x: `(B, T, input_size)`; y: `(B, output_size)`.

    With a linear cell it can be the unsliced network exactly: U_1 = U^{n_0}, U_2 = U_1^{n_1}, ..., W = I and b = 0
    above.

    `step` gives what the whole call gives on the inputs so far. Its state: for each level but the top
    `(the cell's, steps in its slice (1, B))`, for the top the cell's.

    Paper: Yu and Liu, "Sliced recurrent neural networks", COLING (2018), arXiv v1.
    Deviation: slices of any number for each level (the paper divides by the same n at each), and any length.
    """

    topology = "sliced"

    def __init__(
        self,
        cells: CellFactory | Sequence[CellFactory],
        input_size: int,
        sizes: Sequence[int],
        slices: Sequence[int],
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if len(slices) != len(sizes) - 1 or min(slices, default=1) < 1:
            raise ArgumentError(
                f"expected the steps of a slice for each of {len(sizes)} levels but the top, {len(sizes) - 1} numbers "
                f"of at least 1, got {list(slices)}"
            )
        self.input_size = input_size
        self.slices = tuple(slices)
        self.levels = nn.ModuleList()
        width = input_size
        for cell, size in zip(cells_for(cells, sizes), sizes, strict=True):
            level = Recurrent(cell, width, size, batch_first=True, backend=backend)
            self.levels.append(level)
            width = level.output_size
        self.output_size = width

    def forward(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, tuple[()]]:
        """Return y `(B, output_size)`, zeros for a row without steps, and an empty state.

        Raises ArgumentError for a state.
        """
        check_sequences("Sliced", x, self.input_size)
        if state:
            raise ArgumentError(
                "Sliced reads whole sequences from their beginning: call it without a state, or step it"
            )
        mask = valid(lengths, x)
        counts = None if mask is None else mask.sum(1)
        for level, n in zip(self.levels, self.slices, strict=False):
            x, counts = self._read(level, x, counts, n)
        y, _ = self.levels[-1](x, lengths=counts)
        return last_valid(y, counts), ()

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Take x_t `(B, input_size)`; return the whole call's y on x_1, ..., x_t, and the new state."""
        given = check_parts(
            "Sliced",
            state if state is not None else self.initial_state(x.shape[0]),
            len(self.levels),
            "one for each level",
        )
        goes_on = torch.ones(x.shape[0], device=x.device, dtype=torch.bool)
        y, final = x, list[Any]()
        own: Any
        for k, own in enumerate(given):
            level: Any = self.levels[k]
            old, count = own if k < len(self.slices) else (own, None)
            # What lies above a slice that goes on reads its last output for now, and is to read a later one.
            y, new = level.step(y, old, context)
            new = choose_rows(goes_on, new, old)
            if count is None:
                final.append(new)
                break
            count = count + goes_on
            goes_on = goes_on & (count[0] == self.slices[k])
            new = choose_rows(goes_on, level.initial_state(x.shape[0]), new)
            final.append((new, torch.where(goes_on, 0, count)))
        return y, tuple(final)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """Return the state before the first step."""
        device = next(self.parameters()).device
        count = torch.zeros(1, batch, device=device, dtype=torch.int64)
        states = [level.initial_state(batch) for level in self.levels if isinstance(level, Recurrent)]
        return (*((state, count) for state in states[:-1]), states[-1])

    def extra_repr(self) -> str:
        return f"slices={self.slices}"

    @staticmethod
    def _read(level: nn.Module, x: Tensor, counts: Tensor | None, n: int) -> tuple[Tensor, Tensor | None]:
        """Read slices of n steps; return each slice's last output `(B, slices, ...)`, and each row's slices."""
        B, T = x.shape[:2]
        missing = -T % n
        if missing and counts is None:
            counts = torch.full((B,), T, device=x.device)
        x = F.pad(x, (0, 0, 0, missing)) if missing else x
        x = x.reshape(-1, n, x.shape[2])
        many = (T + missing) // n
        if counts is None:
            y, _ = level(x)
            return y[:, -1].unflatten(0, (B, many)), None
        inside = (counts.unsqueeze(1) - n * torch.arange(many, device=x.device)).clamp(0, n).flatten()
        y, _ = level(x, lengths=inside)
        return last_valid(y, inside).unflatten(0, (B, many)), -(-counts // n)
