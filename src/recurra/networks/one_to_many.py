"""1 to N: a sequence made from one input, such as a caption of a picture, or speech or music of a class."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from recurra.core import Batch
from recurra.core.errors import ArgumentError, ShapeError
from recurra.layers import Recurrent

__all__ = ["OneToMany"]


class OneToMany(nn.Module):
    """o_t = readout(y_t),  y_t, s_t = cell(x at this step, s_{t-1}),  in both forms that the tutorials draw.

    embed: `(B, ...)` -> `(B, features)`; recurrent: any one-directional `Recurrent` with `batch_first=True`;
    readout: `(B, T, features)` -> `(B, T, outputs)`; steps: how many there are where a batch does not say;
    when: "first": the input enters the first step, zeros the others; "every": it enters every step.
    """

    topology = "one-to-n-first"

    def __init__(
        self,
        embed: nn.Module,
        recurrent: Recurrent,
        readout: nn.Module,
        steps: int,
        when: Literal["first", "every"] = "first",
    ) -> None:
        super().__init__()
        if recurrent.bidirectional or not recurrent.batch_first:
            raise ArgumentError("OneToMany expects a one-directional Recurrent with batch_first=True")
        if steps < 1:
            raise ArgumentError(f"OneToMany: steps must be at least 1, got {steps}")
        if when not in ("first", "every"):
            raise ArgumentError(f"OneToMany: when must be 'first' or 'every', got {when!r}")
        self.embed = embed
        self.recurrent = recurrent
        self.readout = readout
        self.steps = steps
        self.when = when

    def forward(self, batch: Batch) -> tuple[Tensor, Any]:
        """Return the outputs `(B, T, outputs)` and the state after each row's last step.

        batch.inputs: `(B, ...)`, one input a row; T is that of `batch.targets`, else `steps`; batch.lengths: of the
        outputs: those beyond are the readout's of zero.
        """
        x = self._embedded(batch.inputs)
        steps = self.steps if batch.targets is None else batch.targets.shape[1]
        if self.when == "every":
            inputs = x.unsqueeze(1).expand(-1, steps, -1)
        else:
            inputs = torch.cat([x.unsqueeze(1), x.new_zeros(x.shape[0], steps, x.shape[1])], 1)[:, :steps]
        y, state = self.recurrent(inputs, batch.state, lengths=batch.lengths)
        return self.readout(y), state

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs `(B, outputs)` of one step and the new state.

        x: the one input `(B, ...)`, given at every step; in the form "first" it is heard only at the first, which the
        state tells: as `initial_state` gave it, `(layer's state, steps done (1, B))`.
        """
        inner, done = state
        heard = self._embedded(x)
        if self.when == "first":
            heard = torch.where((done[0] == 0).unsqueeze(1), heard, 0)
        y, inner = self.recurrent.step(heard, inner, context)
        return self.readout(y), (inner, done + 1)

    def initial_state(self, batch: int) -> Any:
        """Return the state before the first step."""
        device = next(self.parameters(), torch.zeros(())).device
        return self.recurrent.initial_state(batch), torch.zeros(1, batch, dtype=torch.int64, device=device)

    def draw_on(self, diagram: Any, steps: int) -> None:
        """Draw the network over some steps."""
        h = [diagram.vector(t, 1, f"h_{t}") for t in range(steps + 1)]
        heard = range(1, steps + 1 if self.when == "every" else 2)
        x = {t: diagram.vector(t, 0, "x", "input") for t in heard}
        for t in range(1, steps + 1):
            diagram.arrow(h[t - 1], h[t], "W")
            if t in x:
                diagram.arrow(x[t], h[t], "U")
            diagram.arrow(h[t], diagram.vector(t, 2, f"y_{t}", "output"), "V")

    def _embedded(self, x: Tensor) -> Tensor:
        made = self.embed(x)
        if made.dim() != 2 or made.shape[1] != self.recurrent.input_size:
            raise ShapeError(
                f"OneToMany: expected one vector of {self.recurrent.input_size} a row, (B, "
                f"{self.recurrent.input_size}), got {tuple(made.shape)}"
            )
        return made
