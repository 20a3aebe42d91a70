"""The backward kernel's calls, and the epilogue after them, for all calls of the same sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor

from recurra.compiler.interpret import size_of
from recurra.compiler.ir import Value
from recurra.compiler.products import ProductCall, Strip
from recurra.compiler.words import Address
from recurra.scan.epilogue import EpilogueCall
from recurra.scan.frame import Frame, Ports, Sizes
from recurra.scan.hoisted import Folded
from recurra.scan.kernels import Compiled
from recurra.scan.problem import Problem
from recurra.scan.spare_memory import working_memory
from recurra.scan.workspace import Fresh, Layout, Place

__all__ = ["Backpropagation"]

_Timed: TypeAlias = Place | int
"""A value at every step: where it lies in a workspace, or the number of a tensor `(T, B, ...)` of its own."""


class Backpropagation:
    """Gradients of those inputs that want one.

    It is given, in this order: what the loop runs on, once, with rows and at every step; what the forward has kept;
    and gradients of outputs and of final states, of those alone that have one. All but the gradients of outputs is
    contiguous.
    """

    def __init__(self, c: Compiled, sizes: Sizes, given: Sequence[Tensor | None], wanted: Sequence[bool]) -> None:
        derived, staged = c.derived, c.plan.staged
        steps, batch = sizes.steps, sizes.batch
        self._compiled, self._sizes = c, sizes
        self._once, self._rows = len(staged.loop_once), len(staged.loop_call)
        first = self._once + self._rows
        kept = first + len(staged.loop_steps)
        held = Layout(c.kept_forms(steps), batch).places(kept)
        self._states, saved = held[: len(c.states)], held[len(c.states) :]
        numbers = iter(range(kept + 1, len(given)))
        self._known: dict[Value, _Timed] = {v: first + k for k, v in enumerate(staged.loop_steps)}
        self._known.update(zip(c.saved, saved, strict=True))
        self._known.update(zip(c.own_outputs, numbers, strict=False))
        self._known.update(zip([v for v in derived.output_grads if v is not None], numbers, strict=False))
        starts = dict(zip([v for v in derived.first if v is not None], numbers, strict=True))

        # After what is given: the workspace, the kernel's memory at its end; ends of what is carried; results.
        memory = len(given)
        self._ask_call, self._ask_state = any(wanted[self._once : first]), any(wanted[kept:])
        needed = c.call_grads.leaves if self._ask_call else ()
        asked = [v.before for v in c.carries if self._ask_state or v.before in needed]
        self._ends = Fresh([((batch, *c.form(v, 1).shape), c.form(v, 1).dtype) for v in asked])
        self._asked = asked
        ends = {v: memory + 1 + k for k, v in enumerate(asked)}
        results: dict[Value, _Timed] = {v: memory + 1 + len(ends) + k for k, v in enumerate(c.given)}
        self._forms = [c.form(v, steps) for v in c.given]
        self._results = Fresh([f.kind(batch) for f in self._forms], sizes.ragged)
        layout = Layout(c.carried_forms(steps), batch)
        places = layout.places(memory)
        results.update(zip(c.inner, places[len(c.carries) :], strict=True))

        ports = Ports()
        for k in range(self._once, first):
            ports.row(k, math.prod(_there(given[k]).shape[1:]))
        for v in c.backward.per_step:
            self._port(ports, self._known[v], given)
        for place in self._states:
            ports.place(place)
        for carry, place, mask in zip(c.carries, places, c.turns, strict=False):
            ports.carried(place, mask, starts.get(carry.before), ends.get(carry.before))
        for v in c.written:
            self._port(ports, results[v], given)
        own = Address(memory, layout.size)
        self._frame = Frame(c.kernels["backward"], ports, self._once, own, sizes, not sizes.descend)
        self._memory = layout.size + self._frame.memory

        found = self._found(results, places, saved)
        self._steps = dict(zip(c.plan.step_grads, found, strict=False))
        self._known.update(zip(c.plan.kept, found[len(self._steps) :], strict=True))
        self._known.update(
            zip(staged.state, [h.part(1 if sizes.descend else 0, steps) for h in self._states], strict=True)
        )
        self._ask_once = [k for k in c.once if wanted[k]]
        self._ask_late = [k for k in c.late if wanted[first + k]]
        self._epilogue: EpilogueCall | None = None
        self._direct: tuple[ProductCall, list[int | None]] | None = None

    def __call__(self, given: Sequence[Tensor | None], problem: Problem) -> list[Tensor | None]:
        """Return the gradient of every input of the loop, None for those that want none or have none."""
        c, batch, like = self._compiled, self._sizes.batch, problem.x
        memory = working_memory(self._memory, zeros=self._sizes.ragged)
        ends, results = self._ends(), self._results()
        tensors = [*given, memory, *ends, *results]
        self._frame.run(tensors, problem.lengths)
        if self._direct is not None:
            products, order = self._direct
            pool = [*tensors, *products(tensors)]
            return [None if k is None else pool[k] for k in order]

        staged = c.plan.staged
        fixed = dict(zip(staged.loop_once, map(_there, tensors), strict=False))
        steps = {k: _tensor(v, tensors) for k, v in self._steps.items()}
        once: dict[int, Tensor] = {}
        if self._ask_once or self._ask_late:
            found = self._run_epilogue(tensors, fixed, problem)
            once = dict(zip(self._ask_once, found, strict=False))
            steps.update(zip(self._ask_late, found[len(self._ask_once) :], strict=True))
        derived = c.derived
        known = {**fixed, **dict(zip(self._asked, ends, strict=True))}
        call = iter(c.call_grads(known, batch, like) if self._ask_call else ())
        state = iter(c.finals(known, batch, like) if self._ask_state else ())
        return [
            *map(once.get, range(self._once)),
            *(None if v is None else next(call, None) for v in derived.call_grads),
            *map(steps.get, range(len(staged.loop_steps))),
            *(None if v is None else next(state, None) for v in derived.finals),
        ]

    def _port(self, ports: Ports, value: _Timed, given: Sequence[Tensor | None]) -> None:
        if isinstance(value, Place):
            ports.place(value)
        elif value < len(given):
            ports.step(value, *_there(given[value]).stride()[:2])
        else:
            form = self._forms[value - len(given) - 1 - len(self._asked)]
            width = math.prod(form.shape)
            ports.step(value, self._sizes.batch * width, width)

    def _found(self, results: dict[Value, _Timed], places: Sequence[Place], saved: Sequence[Place]) -> list[_Timed]:
        """Return where every result of the backward is."""
        c, steps, descend = self._compiled, self._sizes.steps, self._sizes.descend
        histories = places[len(c.backward.carried) : len(c.carries)]
        pools: dict[str, Sequence[_Timed]] = {
            "history": [h.part(1 if descend else 0, steps) for h in histories],
            "saved": saved,
            "output": [self._known[v] for v in c.own_outputs],
            "new": [h.part(0 if descend else 1, steps) for h in self._states],
        }
        pairs = zip(c.backward.results, c.sources, strict=True)
        return [results[v] if kind == "result" else pools[kind][k] for v, (kind, k) in pairs]

    def _run_epilogue(self, tensors: list[Tensor | None], fixed: dict[Value, Tensor], problem: Problem) -> list[Tensor]:
        c, staged = self._compiled, self._compiled.plan.staged
        whole = (self._sizes.steps, self._sizes.batch)
        fold = Folded(problem)
        folded: dict[Value, Tensor] = {}
        calls = {v: self._once + k for k, v in enumerate(staged.loop_call)}

        def tensor(v: Value) -> Tensor:
            if v not in folded:
                if v in calls:
                    t = _there(tensors[calls[v]])
                    t = t.expand(whole[0], *t.shape)
                else:
                    t = _tensor(self._known[v], tensors)
                rows = next(d for d, n in enumerate(v.shape) if n < 0)
                folded[v] = fold.fold(t).movedim(0, rows).reshape(size_of(v.shape, fold.rows))
            return folded[v]

        call, given = self._epilogue, list(tensors)
        if call is None:
            epilogue = c.epilogue(self._ask_once, self._ask_late)
            strips = {v: self._strip(v, tensors) for v in epilogue.read}
            always = None not in strips.values()
            for v in [v for v, known in strips.items() if known is None]:
                folded[v] = t = tensor(v).contiguous()
                strips[v] = Strip(Address(len(given)), math.prod(t.shape[1:]))
                given.append(t)
            weights = {v: Address(k) for k, v in enumerate(staged.loop_once)}
            there = {v: s for v, s in strips.items() if s is not None}
            call = epilogue.prepare(there, weights, len(given), (fold.rows,), problem.x.dtype)
            if always:
                self._epilogue = call
                direct = epilogue.prepare(there, weights, len(given), whole, problem.x.dtype)
                self._direct = self._only_products(direct, len(tensors))
        found = call(given, tensor, fixed, fold.rows, problem.x)
        count = len(self._ask_once)
        return [*found[:count], *(fold.unfold(v) for v in found[count:])]

    def _only_products(self, call: EpilogueCall, count: int) -> tuple[ProductCall, list[int | None]] | None:
        """Return the products, and which of a call's `count` tensors and their results each gradient is; None where
        there is more to do than them."""
        c = self._compiled
        places = call.places()
        if (
            places is None
            or self._ask_call
            or self._ask_state
            or any(isinstance(v, Place) for v in self._steps.values())
        ):
            return None
        found = iter([count + k for k in places])
        once = dict(zip(self._ask_once, found, strict=False))
        steps = {k: v for k, v in self._steps.items() if isinstance(v, int)}
        steps.update(zip(self._ask_late, found, strict=True))
        order = [
            *map(once.get, range(self._once)), *(None for _ in c.derived.call_grads),
            *map(steps.get, range(len(c.plan.staged.loop_steps))), *(None for _ in c.derived.finals),
        ]  # fmt: skip
        assert call.products is not None
        return call.products, order

    def _strip(self, v: Value, tensors: Sequence[Tensor | None]) -> Strip | None:
        """Return where a leaf's rows lie in all calls, if they lie one after another."""
        value = self._known.get(v)
        if self._sizes.ragged or value is None:
            return None
        if isinstance(value, Place):
            return Strip(value.at, value.width)
        return Strip(Address(value), math.prod(v.shape[1:])) if _there(tensors[value]).is_contiguous() else None


def _there(t: Tensor | None) -> Tensor:
    assert t is not None
    return t


def _tensor(value: _Timed, tensors: Sequence[Tensor | None]) -> Tensor:
    if isinstance(value, Place):
        return value.tensor(_there(tensors[value.at.base]))
    return _there(tensors[value])
