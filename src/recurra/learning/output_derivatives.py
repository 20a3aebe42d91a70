"""How a step's outputs depend on the parameters, over the past too: the total recurrent derivative dy_t/dθ."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from recurra.learning.forward_mode import ForwardMode
from recurra.learning.influence import Influence
from recurra.learning.rule import Carry
from recurra.learning.sparsity import derivatives
from recurra.learning.state_form import map_state, state_leaves
from recurra.learning.stepper import Stepper

__all__ = ["ForwardDerivative", "OutputDerivative", "WindowDerivative"]


class OutputDerivative(Protocol):
    """Goes through a sequence step by step, while somebody else changes the parameters between the steps."""

    state: Any
    """The state after the last step, detached."""

    def step(self, x: Tensor) -> Tensor:
        """Run one step `(B, ...)` and return its outputs `(B, ...)`, detached."""
        ...

    def derivative(self) -> Tensor:
        """Return the derivative of these outputs by all parameters, `(B * O, p)`."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Return what is to be carried beside the state."""
        ...


class WindowDerivative:
    """Back through the last `window` steps, this one included.

    Each step keeps the graph that it was run with; weights that have changed since are seen as they are now, what the
    units said is kept as it was then.
    """

    def __init__(self, stepper: Stepper, window: int, batch: int, carry: Carry | None) -> None:
        self._stepper = stepper
        self._leaves = list(stepper.parameters.values())
        self._past: deque[_Step] = deque(maxlen=window)
        if carry is None:
            start = stepper.initial_state(batch)
            self._past.append(_Step(None, None, start, start))
            self.state = map_state(start, Tensor.detach)
            return
        self.state = carry.state
        for k in range(window):
            if f"past.{k}.x" in carry.own:
                given = iter(range(len(state_leaves(carry.state))))
                before = map_state(carry.state, lambda _, k=k, given=given: carry.own[f"past.{k}.{next(given)}"])
                self._run(carry.own[f"past.{k}.x"], before)

    def step(self, x: Tensor) -> Tensor:
        """See `OutputDerivative`."""
        y = self._run(x, self.state)
        self.state = map_state(self._past[-1].after, Tensor.detach)
        return y.detach()

    def derivative(self) -> Tensor:
        """See `OutputDerivative`."""
        last = self._past[-1]
        assert last.y is not None
        count = last.y.numel()
        seeds = torch.eye(count, dtype=last.y.dtype, device=last.y.device).view(count, *last.y.shape)
        before = _numbers(last.before) if len(self._past) > 1 else []
        grads = derivatives(last.y, [*before, *self._leaves], seeds)
        pulls, total = grads[: len(before)], grads[len(before) :]
        for step in list(self._past)[-2::-1]:
            after = _numbers(step.after)
            if not any(s.requires_grad for s in after):
                break
            inputs = [*(_numbers(step.before) if step.y is not None else []), *self._leaves]
            found = _through(after, pulls, inputs)
            pulls = found[: len(inputs) - len(self._leaves)]
            total = [a + b for a, b in zip(total, found[len(pulls) :], strict=True)]
        return torch.cat([g.reshape(count, -1) for g in total], 1)

    def tensors(self) -> dict[str, Tensor]:
        """See `OutputDerivative`: inputs and states of the steps that are still looked back at."""
        kept: dict[str, Tensor] = {}
        steps = [s for s in self._past if s.x is not None][1 if len(self._past) == self._past.maxlen else 0 :]
        for k, step in enumerate(steps):
            assert step.x is not None
            kept |= {f"past.{k}.{i}": leaf.detach() for i, leaf in enumerate(state_leaves(step.before))}
            kept[f"past.{k}.x"] = step.x
        return kept

    def _run(self, x: Tensor, state: Any) -> Tensor:
        before = map_state(state, _leaf)
        with torch.enable_grad():
            y, after = self._stepper.step(x, before)
        self._past.append(_Step(x, y, before, after))
        return y


class ForwardDerivative:
    """By RTRL: the whole past."""

    def __init__(self, mode: ForwardMode, stepper: Stepper, inputs: Tensor, carry: Carry | None) -> None:
        with torch.no_grad():
            self.state = stepper.initial_state(inputs.shape[1]) if carry is None else carry.state
        self._mode, self._stepper = mode, stepper
        own = None if carry is None else Carry(carry.state, _inner(carry.own))
        self._influence: Influence = mode.begin(stepper, inputs, self.state, own)
        self._derivative = inputs.new_zeros(0)

    def step(self, x: Tensor) -> Tensor:
        """See `OutputDerivative`."""
        stepper, mode = self._stepper, self._mode
        numbers, others = stepper.form.pack(self.state)
        names = mode.names(stepper)
        order = [*names, *(n for n in stepper.parameters if n not in names)]
        made = mode.linearise(stepper, x, numbers, others, order)
        batch, y = len(x), made.y.flatten(1)
        seeds = torch.eye(y.shape[1], dtype=y.dtype, device=y.device).unsqueeze(1).expand(-1, batch, -1)
        pull, *direct = derivatives(y, [made.before, *made.own.values()], seeds)
        carried = self._influence.pulled(pull)  # (O, B, p of those that reach the state)
        sizes = [stepper.parameters[n].numel() for n in names]
        past = dict(zip(names, carried.split(sizes, 2), strict=True))
        parts = {n: g.reshape(*pull.shape[:2], -1) for n, g in zip(order, direct, strict=True)}
        whole = [parts[n] + past[n] if n in past else parts[n] for n in stepper.parameters]
        self._derivative = torch.cat(whole, 2).transpose(0, 1).flatten(0, 1)
        narrow = made._replace(own={n: made.own[n] for n in names})
        jacobians, influence = mode.jacobians(stepper, x, others, narrow, self._influence)
        self._influence, _ = influence.advance(jacobians, torch.zeros_like(numbers).unsqueeze(0))
        self.state = stepper.form.unpack(made.after.detach(), made.clocks)
        return made.y.detach()

    def derivative(self) -> Tensor:
        """See `OutputDerivative`."""
        return self._derivative

    def tensors(self) -> dict[str, Tensor]:
        """See `OutputDerivative`: the influence."""
        return {f"rtrl.{name}": tensor for name, tensor in self._mode.tensors(self._influence).items()}


class _Step:
    """One step with its graph; the start of a sequence is one without input."""

    def __init__(self, x: Tensor | None, y: Tensor | None, before: Any, after: Any) -> None:
        self.x, self.y, self.before, self.after = x, y, before, after


def _inner(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[5:]: tensor for name, tensor in own.items() if name.startswith("rtrl.")}


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.is_floating_point())


def _numbers(state: Any) -> list[Tensor]:
    return [leaf for leaf in state_leaves(state) if leaf.is_floating_point()]


def _through(after: list[Tensor], pulls: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """Return `Σ pull * dafter/dinput` for a stack of pulls."""
    pairs = [(a, p) for a, p in zip(after, pulls, strict=True) if a.requires_grad]
    count = len(pulls[0])
    if count == 1:  # a single one needs no vmap
        values, own = [a for a, _ in pairs], [p[0] for _, p in pairs]
        plain: Any = torch.autograd.grad(values, inputs, own, retain_graph=True, allow_unused=True)
        return [v.new_zeros(1, *v.shape) if g is None else g[None] for v, g in zip(inputs, plain, strict=True)]
    found: Any = torch.autograd.grad(
        [a for a, _ in pairs], inputs, [p for _, p in pairs], retain_graph=True, is_grads_batched=True,
        allow_unused=True,
    )  # fmt: skip
    return [v.new_zeros(count, *v.shape) if g is None else g for v, g in zip(inputs, found, strict=True)]
