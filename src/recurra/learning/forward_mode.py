"""Gradients that are carried forward in time with the state: what RTRL and SnAp-1 share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.learning.bptt import target_rows
from recurra.learning.influence import Influence, Jacobians, Layout
from recurra.learning.rule import Carry, StepLoss
from recurra.learning.sparsity import Sparsity, derivatives, probe
from recurra.learning.state_form import map_state
from recurra.learning.stepper import Stepper, started

__all__ = ["ForwardMode", "Linearised", "free_memory"]

_PROBED = 4  # rows at which the structure is looked for
_SHAKEN = 12  # and further ones, at other steps' inputs, with the state shaken
_SIZES = 4  # sizes of influence that a first estimate tells apart
_NARROW, _LONGER = 4, 8  # products of so small blocks cost next to nothing: more steps are taken together
_WORKING = 1 << 25  # numbers that the Jacobians of one block of steps may take


class Linearised(NamedTuple):
    """Some rows of one or more steps with their graph: outputs, states, and the leaves they depend on.

    own: parameters with a copy for each row; shared: those that do not reach the state; clocks: what of the new
    state is no floating number.
    """

    y: Tensor
    after: Tensor
    before: Tensor
    own: Mapping[str, Tensor]
    shared: Mapping[str, Tensor]
    clocks: Sequence[Tensor]


@dataclass
class _Known:
    """What is known of a network: the parameters that reach the state, in order, and the structure of its step."""

    names: tuple[str, ...]
    layout: Layout


class ForwardMode:
    """Carries dh_t/dθ from step to step: J_t = D_t J_{t-1} + ∂h_t/∂θ with D_t = ∂h_t/∂h_{t-1}.

    name: of the rule, for messages. spread: see `Layout`. block: steps whose products are taken together. memory: GB
    that the influence may take, all that is free if None.
    """

    def __init__(self, name: str, spread: bool, block: int, memory: float | None) -> None:
        if block < 1:
            raise ArgumentError(f"block must be at least 1, got {block}")
        if memory is not None and not memory > 0:
            raise ArgumentError(f"memory must be above zero (in GB), got {memory}")
        self.name, self.spread, self.block, self.memory = name, spread, block, memory
        self._known: WeakKeyDictionary[nn.Module, _Known] = WeakKeyDictionary()

    def accumulate(
        self,
        network: nn.Module,
        inputs: Tensor,
        targets: Any,
        loss: StepLoss,
        carry: Carry | None,
        lengths: Tensor | Sequence[int] | None,
    ) -> tuple[Tensor, Carry]:
        """See `LearningRule.accumulate`."""
        stepper, active, total = started(self.name, network, inputs, lengths)
        steps, batch = inputs.shape[:2]
        with torch.no_grad():
            state = stepper.initial_state(batch) if carry is None else carry.state
        if steps and batch:
            stepper.refuse_chance(inputs[0], state)
        else:
            return total, carry or Carry(state)
        influence = self.begin(stepper, inputs, state, carry)
        size = max(1, _WORKING // (batch * max(1, len(influence.layout.sparsity.member)) * 4))
        narrow = all(c.kept.shape[1] <= _NARROW for c in influence.layout.classes)
        size = min(size, self.block * (_LONGER if narrow else 1))
        for start in range(0, steps, size):
            span = range(start, min(start + size, steps))
            part, state, influence = self._learn(stepper, inputs, targets, loss, active, span, state, influence)
            total = total + part
        return total, Carry(state, self.tensors(influence))

    def begin(self, stepper: Stepper, inputs: Tensor, state: Any, carry: Carry | None) -> Influence:
        """Return the influence to go on from; where nothing is known of the network yet, its structure is looked for.

        Raises ArgumentError where it would take too much memory.
        """
        network: nn.Module = stepper.network
        batch = inputs.shape[1]
        known = self._known.get(network)
        if known is None or any(name not in stepper.parameters for name in known.names):
            known = self._known[network] = self._find(stepper, inputs, state, None if carry is None else carry.own)
        own = carry.own if carry is not None else {}
        if "heard" in own and own["member"] is not known.layout.sparsity.member:
            carried = Sparsity(own["heard"], own["sets"], own["member"])
            before = Layout(carried, self.spread)
            if not known.layout.sparsity.holds(carried):
                known.layout = Layout(known.layout.sparsity.joined(carried), self.spread)
        else:
            before = known.layout
        if any(name.startswith("influence.") for name in own):
            blocks = [own[f"influence.{k}"] for k in range(len(before.classes))]
            influence = Influence(before, blocks)
            return influence if before is known.layout else influence.moved(known.layout)
        if carry is None or carry.own:  # a start, of which at most the structure is known
            first = self._of_initial_state(stepper, known, batch)
            if first is not None:
                return first
        return Influence.zeros(known.layout, batch, stepper.like)

    def memory_needed(self, network: nn.Module, inputs: Tensor) -> int:
        """Return the bytes of the influence of the rows of `inputs`; raises ArgumentError where they are too many."""
        stepper = Stepper(network, self.name)
        with torch.no_grad():
            state = stepper.initial_state(inputs.shape[1])
        stepper.refuse_chance(inputs[0], state)
        layout = self.begin(stepper, inputs, state, None).layout
        return layout.entries * inputs.shape[1] * stepper.like.element_size()

    def linearise(
        self, stepper: Stepper, x: Tensor, numbers: Tensor, others: Sequence[Tensor], names: Sequence[str]
    ) -> Linearised:
        """Run some rows of a step with a graph from which each row's derivatives can be taken."""
        rows = x.shape[0]
        leaves = {name: p.detach() for name, p in stepper.parameters.items()}
        own = {n: leaves[n].expand(rows, *leaves[n].shape).requires_grad_() for n in names}
        shared = {n: p.clone().requires_grad_() for n, p in leaves.items() if n not in own}
        before = numbers.detach().requires_grad_()
        with torch.enable_grad():
            y, after, clocks = stepper.rowwise(own, shared, x, before, others)
        return Linearised(y, after, before, own, shared, clocks)

    def jacobians(
        self, stepper: Stepper, x: Tensor, others: Sequence[Tensor], made: Linearised, influence: Influence
    ) -> tuple[Jacobians, Influence]:
        """Return the rows' derivatives, and the influence in a layout that holds them all.

        One product with random numbers checks that nothing is missing from the structure as it is known; what is
        missing is looked for where it showed itself.
        """
        while True:
            layout = influence.layout
            found = _derivatives(made, layout)
            w = torch.randn(made.after.shape, generator=torch.Generator().manual_seed(1)).to(made.after)
            true = derivatives(made.after, [made.before, *made.own.values()], w.unsqueeze(0))
            said = layout.against(found, w)
            by_weights = said[1].split([p[0].numel() for p in made.own.values()], 1)
            wrong = _differ(true[:1], said[:1]) | _differ(true[1:], by_weights)
            where = wrong.nonzero().squeeze(1)[:_PROBED]
            if not len(where):
                return found, influence
            again = self.linearise(stepper, x[where], made.before[where], [v[where] for v in others], list(made.own))
            seen = probe(again.after, again.before, again.own)
            if layout.sparsity.holds(seen):
                return found, influence  # only rounding
            known = self._known[stepper.network]
            known.layout = Layout(layout.sparsity.joined(seen), self.spread)
            influence = influence.moved(known.layout)

    def tensors(self, influence: Influence) -> dict[str, Tensor]:
        """Return all of the influence by name."""
        s = influence.layout.sparsity
        blocks = {f"influence.{k}": block for k, block in enumerate(influence.blocks)}
        return {"heard": s.heard, "sets": s.sets, "member": s.member, **blocks}

    def names(self, stepper: Stepper) -> tuple[str, ...]:
        """Return the parameters that reach the state."""
        return self._known[stepper.network].names

    def _learn(
        self,
        stepper: Stepper,
        inputs: Tensor,
        targets: Any,
        loss: StepLoss,
        active: Sequence[Tensor | None],
        span: range,
        state: Any,
        influence: Influence,
    ) -> tuple[Tensor, Any, Influence]:
        """Learn from a block of steps."""
        batch = inputs.shape[1]
        begun: list[Any] = []
        with torch.no_grad():  # by whatever runs the layers best: these are states, and nothing is differentiated
            for t in span:
                begun.append(state)
                if active[t] is None or active[t].numel():  # pyright: ignore[reportOptionalMemberAccess]
                    _, state = stepper.step(inputs[t], state, active[t])
        state = map_state(state, Tensor.detach)
        running = torch.ones(len(span), batch, dtype=torch.bool, device=inputs.device)
        for line, t in zip(running, span, strict=True):
            rows = active[t]
            if rows is not None:
                line.zero_()[rows] = True
        live = running.flatten().nonzero().squeeze(1)
        if not len(live):
            return torch.zeros((), dtype=stepper.like.dtype), state, influence
        x = inputs[span.start : span.stop].flatten(0, 1)[live]
        numbers, others = stepper.form.pack(stepper.form.joined(begun))
        numbers, others = numbers[live], [v[live] for v in others]
        # The losses have a graph of their own, in which all rows share the parameters: far less to differentiate.
        before = numbers.detach().requires_grad_()
        with stepper.plainly(), torch.enable_grad():
            y, _ = stepper.step(x, stepper.form.unpack(before, others))
        outputs = zip(span, y.split(running.sum(1).tolist()), strict=True)
        total = torch.stack([loss(y, target_rows(targets, t, active[t])) for t, y in outputs if len(y)]).sum()
        pulls = numbers.new_zeros(len(span) * batch, numbers.shape[1])
        direct: dict[str, Tensor] = {}
        if total.requires_grad:
            pull, *grads = derivatives(total, [before, *stepper.parameters.values()])
            pulls[live] = pull
            direct = dict(zip(stepper.parameters, grads, strict=True))
        made = self.linearise(stepper, x, numbers, others, self.names(stepper))
        jacobians, influence = self.jacobians(stepper, x, others, made, influence)
        whole = _spread_out(jacobians, live, running.numel())
        influence, carried = influence.advance(whole, pulls.view(len(span), batch, -1))
        sizes = [stepper.parameters[n].numel() for n in made.own]
        parts = dict(zip(made.own, carried.split(sizes), strict=True))
        stepper.add_gradients({n: g + parts[n].view_as(g) if n in parts else g for n, g in direct.items()})
        return total.detach(), state, influence

    def _find(self, stepper: Stepper, inputs: Tensor, state: Any, own: Mapping[str, Tensor] | None) -> _Known:
        """Find which parameters reach the state, and how; refuse what does not fit into memory. own: what is carried
        knows the structure already, and a run that is resumed must round as one that was not stopped."""
        numbers, others = stepper.form.pack(state)
        batch = inputs.shape[1]
        generator = torch.Generator().manual_seed(0)
        rows = torch.arange(_PROBED + _SHAKEN, device=inputs.device) % batch
        steps = torch.randint(0, len(inputs), rows.shape, generator=generator).to(rows)
        steps[:_PROBED] = 0
        noise = torch.randn(len(rows), numbers.shape[1], generator=generator).to(numbers)
        noise[:_PROBED] = 0
        x, numbers, others = inputs[steps, rows], numbers[rows] + noise, [v[rows] for v in others]
        made = self.linearise(stepper, x, numbers, others, list(stepper.parameters))
        reached = torch.autograd.grad(
            made.after.sum(), list(made.own.values()), retain_graph=True, allow_unused=True
        ) if made.after.requires_grad else [None] * len(made.own)  # fmt: skip
        start = stepper.form.pack(stepper.initial_state(1))[0]
        first = (
            torch.autograd.grad(start.sum(), list(stepper.parameters.values()), allow_unused=True)
            if start.requires_grad
            else [None] * len(stepper.parameters)
        )
        names = tuple(n for n, a, b in zip(made.own, reached, first, strict=True) if a is not None or b is not None)
        if own:
            return _Known(names, Layout(Sparsity(own["heard"], own["sets"], own["member"]), self.spread))
        leaves = {n: made.own[n] for n in names}
        self._refuse_large(stepper, made, leaves, batch)
        layout = Layout(probe(made.after, made.before, leaves), self.spread)
        self._refuse(layout.entries * batch * stepper.like.element_size(), stepper, leaves, batch)
        return _Known(names, layout)

    def _of_initial_state(self, stepper: Stepper, known: _Known, batch: int) -> Influence | None:
        """Return the influence on an initial state that is learned; None if it is not."""
        start = stepper.form.pack(stepper.initial_state(1))[0]
        if not start.requires_grad:
            return None
        leaves = [stepper.parameters[n] for n in known.names]
        seeds = torch.eye(start.shape[1], dtype=start.dtype, device=start.device).unsqueeze(1)
        dense = torch.cat([g.reshape(len(seeds), -1) for g in derivatives(start, leaves, seeds)], 1)
        sparsity = Sparsity.of_matrix(dense)
        if not known.layout.sparsity.holds(sparsity):
            known.layout = Layout(known.layout.sparsity.joined(sparsity), self.spread)
        first = Influence.of(known.layout, dense.unsqueeze(0))
        return Influence(known.layout, [b.expand(batch, *b.shape[1:]) for b in first.blocks])

    def _refuse_large(self, stepper: Stepper, made: Linearised, own: Mapping[str, Tensor], batch: int) -> None:
        """Refuse early where even the least that the influence can take is too much to look at."""
        n = made.after.shape[1]
        most = sum(stepper.parameters[name].numel() for name in own) * n * batch * stepper.like.element_size()
        if most <= self._limit() or not self.spread or not own:
            return
        reach = probe(made.after, made.before, {}).closure.sum(0)
        w = torch.randn(made.after.shape, generator=torch.Generator().manual_seed(2)).to(made.after)
        least = 0  # what reaches a number that reaches r others, itself included, has r entries or more
        for r in reach.unique()[-_SIZES:]:
            pulled = derivatives(made.after, list(own.values()), (w * (reach >= r)).unsqueeze(0))
            least = max(least, int(r) * sum(int((g != 0).flatten(0, 1).any(0).sum()) for g in pulled))
        self._refuse(least * batch * stepper.like.element_size(), stepper, own, batch)

    def _refuse(self, size: float, stepper: Stepper, own: Mapping[str, Tensor], batch: int) -> None:
        if size <= self._limit():
            return
        count = sum(stepper.parameters[name].numel() for name in own)
        instead = "SnAp1(), which needs far less," if self.spread else "TruncatedBPTT(window)"
        raise ArgumentError(
            f"{self.name} would need {size / 1e9:,.3g} GB for the influence of {count:,} parameters on a state of "
            f"{stepper.form.size:,} numbers in {batch:,} row(s), and may take {self._limit() / 1e9:,.3g} GB: "
            f"use {instead} fewer rows, or a smaller network"
        )

    def _limit(self) -> float:
        if self.memory is not None:
            return self.memory * 1e9
        return free_memory()


def free_memory() -> float:
    """Return the bytes that a matrix may take: four fifths of the memory that is free."""
    return 0.8 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _derivatives(made: Linearised, layout: Layout) -> Jacobians:
    rows = len(made.after)
    own = list(made.own.values())
    if own and torch.equal(layout.state_colours, layout.weight_colours):  # diagonal cells: the same products give both
        by_state, *found = derivatives(made.after, [made.before, *own], layout.seeds(True, rows, made.after))
        return Jacobians(by_state, torch.cat([g.reshape(len(by_state), rows, -1) for g in found], 2))
    by_state = derivatives(made.after, [made.before], layout.seeds(True, rows, made.after))[0]
    if not own or not len(layout.sparsity.sets):
        size = len(layout.sparsity.member)
        return Jacobians(by_state, by_state.new_zeros(0, rows, size))
    seeds = layout.seeds(False, rows, made.after)
    found = derivatives(made.after, own, seeds)
    return Jacobians(by_state, torch.cat([g.reshape(len(seeds), rows, -1) for g in found], 2))


def _differ(true: Sequence[Tensor], said: Sequence[Tensor]) -> Tensor:
    """Tell the rows `(R,)` where vectors, each in some parts, are further apart than rounding explains."""
    size = gap = true[0].new_zeros(()) if true else torch.zeros(())
    for a, b in zip(true, said, strict=True):
        found = a.reshape(b.shape)
        if b.shape[1]:
            size = size.maximum(found.abs().amax(1))
            gap = gap.maximum(found.sub(b).abs_().amax(1))
    return gap > 256 * torch.finfo(size.dtype).eps * size.clamp_min(torch.finfo(size.dtype).tiny)


def _spread_out(j: Jacobians, live: Tensor, rows: int) -> Jacobians:
    """Put the rows that ran among those that did not, which keep their state."""
    if len(live) == rows:
        return j
    frozen = torch.ones(rows, dtype=torch.bool, device=live.device)
    frozen[live] = False
    state = j.state.new_zeros(j.state.shape[0], rows, j.state.shape[2]).index_copy(1, live, j.state)
    weights = j.weights.new_zeros(j.weights.shape[0], rows, j.weights.shape[2]).index_copy(1, live, j.weights)
    return Jacobians(state, weights, frozen)
