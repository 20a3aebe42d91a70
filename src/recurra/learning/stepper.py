"""A network as a function of one time step: what every learning rule stands on."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError, ShapeError
from recurra.learning.state_form import StateForm

__all__ = ["Stepper", "active_rows", "started"]


class Stepper:
    """A network's `step` and `initial_state`, seen as functions of rows.

    rule: who asks, for the messages. Raises ArgumentError for a network that cannot run step by step.
    """

    def __init__(self, network: nn.Module, rule: str) -> None:
        self.network: Any = network
        self.rule = rule
        if any(getattr(m, "bidirectional", False) for m in network.modules()):
            raise ArgumentError(
                f"{rule} goes forward in time and cannot learn a bidirectional network, whose outputs depend on inputs "
                "to come: use BPTT through the network's own forward, or a one-directional network"
            )
        if not all(callable(getattr(network, name, None)) for name in ("step", "initial_state")):
            raise ArgumentError(
                f"{rule} expects a network with step(x, state) and initial_state(batch), "
                f"got {type(network).__name__}: give a StreamingNetwork, a layer or a cell"
            )
        self.parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise ArgumentError(f"{rule}: {type(network).__name__} has no parameter that learns")
        self.like = next(iter(self.parameters.values()))
        with torch.no_grad():
            self.form = StateForm(self.initial_state)
        self._module = _StepModule(network)

    def initial_state(self, batch: int) -> Any:
        """Return the state before the first step."""
        if _is_cell(self.network):
            like = next(self.network.parameters())
            return self.network.initial_state(batch, device=like.device, dtype=like.dtype)
        return self.network.initial_state(batch)

    def step(self, x: Tensor, state: Any, rows: Tensor | None = None) -> tuple[Tensor, Any]:
        """Run one step of some rows, or of all; the others keep their state. y is that of these rows alone."""
        if rows is None:
            return self.network.step(x, state)
        y, new = self.network.step(x[rows], self.form.take(state, rows))
        return y, self.form.put(state, rows, new)

    def rowwise(
        self,
        own: Mapping[str, Tensor],
        shared: Mapping[str, Tensor],
        x: Tensor,
        numbers: Tensor,
        others: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Run one step with parameters of its own for every row, so that each row can be differentiated by them.

        own: name -> `(R, *shape)`; shared: name -> `shape`; x: `(R, ...)`; numbers `(R, n)` and others: the packed
        state. Returns `(y, numbers, others)`. Plain PyTorch operations only, whatever the layers' backend is.
        """
        form = self.form

        def one(own: Mapping[str, Tensor], x: Tensor, numbers: Tensor, others: Sequence[Tensor]) -> Any:
            state = form.unpack(numbers.unsqueeze(0), [v.unsqueeze(0) for v in others])
            weights = {f"network.{name}": v for name, v in (*own.items(), *shared.items())}
            y, new = torch.func.functional_call(self._module, weights, (x.unsqueeze(0), state))
            after, clocks = form.pack(new)
            return y.squeeze(0), after.squeeze(0), [v.squeeze(0) for v in clocks]

        with self.plainly():
            return torch.func.vmap(one)(dict(own), x, numbers, list(others))

    @contextlib.contextmanager
    def plainly(self) -> Generator[None]:
        """Have every layer run by the plain loop, which torch can transform in every way."""
        changed: list[tuple[Any, bool, Any]] = []
        for module in self.network.modules():
            if isinstance(getattr(module, "backend", None), str):
                changed.append((module, "backend" in vars(module), module.backend))
                module.backend = "reference"
        try:
            yield
        finally:
            for module, own, backend in changed:
                if own:
                    module.backend = backend
                else:
                    del module.backend

    def refuse_chance(self, x: Tensor, state: Any) -> None:
        """Raise ArgumentError where a step draws random numbers: its derivative at one draw is not that at another."""
        before = torch.get_rng_state()
        with torch.no_grad():
            self.network.step(x, state)
        if not torch.equal(before, torch.get_rng_state()):
            torch.set_rng_state(before)
            raise ArgumentError(
                f"{self.rule} expects a step without chance, but this network draws random numbers (dropout): "
                "call network.eval(), set dropout to 0, or use BPTT"
            )

    def kept(self, x: Tensor, state: Any) -> int:
        """Return the bytes that autograd keeps of one step, without parameters and inputs, which are there anyway."""
        found: dict[int, int] = {}
        own = {p.untyped_storage().data_ptr() for p in (*self.network.parameters(), x)}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                found[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t), torch.enable_grad():
            held: Any = self.network.step(x, state)
        total = sum(found.values())
        del held  # only now: storage that was freed meanwhile would be counted twice
        return total

    def add_gradients(self, gradients: Mapping[str, Tensor]) -> None:
        """Add to the parameters' `.grad`, as `backward()` would."""
        for name, gradient in gradients.items():
            p = self.parameters[name]
            p.grad = gradient.detach().clone() if p.grad is None else p.grad + gradient.detach()


def started(
    rule: str, network: nn.Module, inputs: Tensor, lengths: Tensor | Sequence[int] | None
) -> tuple[Stepper, list[Tensor | None], Tensor]:
    """Return what every rule begins with: the network step by step, each step's rows, and a sum of zero."""
    stepper = Stepper(network, rule)
    zero = torch.zeros((), dtype=stepper.like.dtype, device=stepper.like.device)
    return stepper, active_rows(inputs, lengths), zero


def active_rows(inputs: Tensor, lengths: Tensor | Sequence[int] | None) -> list[Tensor | None]:
    """Return for each step the rows that still run: None where all of them do. inputs: `(T, B, ...)`.

    Raises ShapeError where `lengths` is not one number from 0 to T a row.
    """
    steps, batch = inputs.shape[:2]
    if lengths is None:
        return [None] * steps
    valid = torch.as_tensor(lengths, device=inputs.device)
    if tuple(valid.shape) != (batch,) or bool(((valid < 0) | (valid > steps)).any()):
        raise ShapeError(f"expected lengths of shape ({batch},) from 0 to {steps}, got {valid.tolist()}")
    shortest = int(valid.min()) if batch else steps
    return [None if t < shortest else (valid > t).nonzero().squeeze(1) for t in range(steps)]


class _StepModule(nn.Module):
    """Makes `step` what `functional_call` calls."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.network.step(x, state)


def _is_cell(network: Any) -> bool:
    return hasattr(network, "state_shapes")
