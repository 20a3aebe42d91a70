"""One call of the kernels: the forward, and what it keeps for the backward after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from recurra.compiler.interpret import size_of
from recurra.compiler.ir import Value
from recurra.compiler.kernel import Kernel
from recurra.compiler.products import Strip
from recurra.compiler.varying import actual
from recurra.scan.dealing import deal
from recurra.scan.hoisted import Folded, LoopInputs
from recurra.scan.kernels import Compiled
from recurra.scan.problem import Problem
from recurra.scan.workspace import Form, Place

__all__ = ["Run"]

_Timed: TypeAlias = Place | Tensor
"""A value at every step."""


class Run:
    """One call: sizes, direction, and after the forward how its memory is laid out.

    The memory itself is handed from `forward` to `backward` by the caller, so that it can be freed in between.
    """

    def __init__(self, compiled: Compiled, problem: Problem, inputs: LoopInputs) -> None:
        self.compiled, self.problem = compiled, problem
        self.steps, self.batch = problem.x.shape[:2]
        self.descend = problem.reverse
        self.lengths = problem.lengths
        self.dtype = problem.x.dtype
        self.sizes = (len(inputs.once), len(inputs.call), len(inputs.steps), len(inputs.state))

    def split(self, flat: Sequence[Tensor]) -> LoopInputs:
        """Return a flat list of inputs by their kinds."""
        a, b, c, _ = self.sizes
        return LoopInputs(list(flat[:a]), list(flat[a : a + b]), list(flat[a + b : a + b + c]), list(flat[a + b + c :]))

    def infer(self, inputs: LoopInputs) -> tuple[list[Tensor], list[Tensor]]:
        """Run the forward for its own sake; return outputs and final states."""
        c = self.compiled
        ports = _Ports()
        ports.rows(inputs.call)
        ports.steps(inputs.steps)
        histories: dict[int, Tensor] = {}
        finals: list[Tensor] = []
        for k, (s, (_, shape, dtype)) in enumerate(zip(inputs.state, c.states, strict=True)):
            if k in c.aliases:
                histories[k] = self._new(Form(self.steps + 1, shape, dtype))
                finals.append(ports.kept(histories[k], s, -1))
            else:
                finals.append(ports.kept(torch.empty(2, self.batch, *shape, dtype=dtype), s, 1))
        made = {v: self._new(c.form(v, self.steps)) for v in c.own_outputs}
        ports.steps(made.values())
        self._call(c.kernels["infer"], inputs.once, ports, self.descend)
        outputs = [
            made[o] if k is None else self._clean(histories[k][0 if self.descend else 1 :][: self.steps])
            for o, k in zip(c.plan.outputs, c.aliases, strict=True)
        ]
        return outputs, finals

    def forward(self, inputs: LoopInputs) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Run the forward of a training step; return outputs, final states, and what the backward has to be given.

        An output has memory of its own even where it is a state, whose history the backward reads: the caller may write
        into it. What the backward does read is among what it has to be given, so that writing into it is noticed.
        """
        c = self.compiled
        layout = c.kept(self.steps, self.batch)
        memory = layout.allocate(self.lengths is not None)
        held = layout.places(memory)
        ports = _Ports()
        ports.rows(inputs.call)
        ports.steps(inputs.steps)
        finals = [ports.carried(place, s, -1) for place, s in zip(held, inputs.state, strict=False)]
        made = {v: self._new(c.form(v, self.steps)) for v in dict.fromkeys(c.plan.outputs)}
        ports.steps(made.values())
        ports.steps(held[len(c.states) :])
        self._call(c.kernels["train"], inputs.once, ports, self.descend)
        outputs = [made[o] if o not in c.plan.outputs[:k] else made[o].clone() for k, o in enumerate(c.plan.outputs)]
        return outputs, finals, [memory, *(made[o] for o in c.own_outputs)]

    def backward(
        self, inputs: LoopInputs, kept: Sequence[Tensor], grads: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Run the backward kernel and the epilogue; return the gradient of every input that wants one.

        kept: what `forward` returned for this; grads: of outputs and final states.
        """
        c = self.compiled
        p, derived, backward = c.plan, c.derived, c.backward
        before = c.kept(self.steps, self.batch).places(kept[0])
        states, saved = before[: len(c.states)], before[len(c.states) :]
        known: dict[Value, _Timed] = {
            **dict(zip(p.staged.loop_steps, inputs.steps, strict=True)),
            **dict(zip(c.saved, saved, strict=True)),
            **dict(zip(c.own_outputs, kept[1:], strict=True)),
        }
        count = len(p.outputs)
        for leaf, grad, like in zip(derived.output_grads, grads, p.outputs, strict=False):
            if leaf is not None:
                known[leaf] = self._output_grad(grad, like)
        ports = _Ports()
        ports.rows(inputs.call)
        ports.steps(known[v] for v in backward.per_step)
        ports.steps(states)

        a, b, late_from, _ = self.sizes
        ask_call, ask_state = any(wanted[a : a + b]), any(wanted[a + b + late_from :])
        layout = c.carried(self.steps, self.batch)
        held = layout.places(layout.allocate(self.lengths is not None))
        starts = {v: grads[count + k] for k, v in enumerate(derived.first) if v is not None}
        ends: dict[Value, Tensor] = {}
        for carry, place, mask in zip(c.carries, held, c.turns, strict=False):
            asked = ask_state or (ask_call and carry.before in c.call_grads.leaves)
            end = ports.carried(place, starts.get(carry.before), mask, asked)
            if asked:
                ends[carry.before] = end
        results: dict[Value, _Timed] = dict(zip(c.inner, held[len(c.carries) :], strict=True))
        results.update((v, self._new(c.form(v, self.steps))) for v in c.given)
        ports.steps(results[v] for v in c.written)
        self._call(c.kernels["backward"], inputs.once, ports, not self.descend)

        pools = {
            "history": [self._after(h, not self.descend) for h in held[len(backward.carried) : len(c.carries)]],
            "saved": saved,
            "output": kept[1:],
            "new": [self._after(h, self.descend) for h in states],
        }
        found = [
            results[v] if kind == "result" else pools[kind][k]
            for v, (kind, k) in zip(backward.results, c.sources, strict=True)
        ]
        steps = {k: _tensor(v) for k, v in zip(p.step_grads, found, strict=False)}
        once: dict[int, Tensor] = {}
        ask_once = [k for k in c.once if wanted[k]]
        ask_late = [k for k in c.late if wanted[a + b + k]]
        if ask_once or ask_late:
            known.update(zip(p.kept, found[len(steps) :], strict=True))
            known.update(zip(p.staged.state, [self._before(h) for h in states], strict=True))
            calls = zip(p.staged.loop_call, inputs.call, strict=True)
            known.update((v, t.expand(self.steps, *t.shape)) for v, t in calls)
            made = self._epilogue(ask_once, ask_late, known, dict(zip(p.staged.loop_once, inputs.once, strict=True)))
            once = dict(zip(ask_once, made, strict=False))
            steps.update(zip(ask_late, made[len(ask_once) :], strict=True))
        fixed = dict(zip(p.staged.loop_once, inputs.once, strict=True))
        call = iter(c.call_grads({**fixed, **ends}, self.batch, self.problem.x) if ask_call else ())
        first = iter(c.finals({**fixed, **ends}, self.batch, self.problem.x) if ask_state else ())
        return [
            *(once.get(k) for k in range(a)),
            *(None if v is None else next(call, None) for v in derived.call_grads),
            *(steps.get(k) for k in range(late_from)),
            *(None if v is None else next(first, None) for v in derived.finals),
        ]

    def _epilogue(
        self, once: Sequence[int], late: Sequence[int], known: dict[Value, _Timed], fixed: dict[Value, Tensor]
    ) -> list[Tensor]:
        fold = Folded(self.problem)
        whole = (self.steps, self.batch)
        folded: dict[Value, Tensor] = {}

        def tensor(v: Value) -> Tensor:
            if v not in folded:
                t = _tensor(known[v])
                assert t.shape[:2] == whole
                rows = next(d for d, n in enumerate(v.shape) if n < 0)
                folded[v] = fold.fold(t).movedim(0, rows).reshape(size_of(v.shape, fold.rows))
            return folded[v]

        def strip(v: Value) -> Strip:
            place = known[v]
            if isinstance(place, Place) and self.lengths is None:
                return Strip(place.at, place.width)
            folded[v] = t = tensor(v).contiguous()
            return Strip(t.data_ptr(), t.shape[1])

        made = self.compiled.epilogue(once, late)(strip, tensor, fixed, fold.rows, self.problem.x)
        return [*made[: len(once)], *(fold.unfold(v) for v in made[len(once) :])]

    def _new(self, form: Form) -> Tensor:
        """Return memory that will be the caller's."""
        make: Callable[..., Tensor] = torch.empty if self.lengths is None else torch.zeros
        return make(form.slots, self.batch, *form.shape, dtype=form.dtype)

    def _after(self, memory: Place, descend: bool) -> Place:
        return memory.part(0 if descend else 1, self.steps)

    def _before(self, memory: Place) -> Place:
        return memory.part(1 if self.descend else 0, self.steps)

    def _clean(self, states: Tensor) -> Tensor:
        """Return states after every step, without the initial ones that stand in the padding of reversed rows."""
        if not self.descend or self.lengths is None:
            return states
        n = torch.tensor(self.lengths)
        valid = torch.arange(self.steps).unsqueeze(1) < n
        return torch.where(valid.reshape(*valid.shape, *(1,) * (states.dim() - 2)), states, states.new_zeros(()))

    def _output_grad(self, grad: Tensor | None, like: Value) -> Tensor:
        if grad is None:
            return torch.zeros((), dtype=self.dtype).expand(self.steps, self.batch, *like.shape[1:])
        return grad

    def _call(self, kernel: Kernel, constants: Sequence[Tensor], ports: _Ports, descend: bool) -> None:
        size = self.compiled.size
        rows = deal(self.steps, self.batch, self.lengths, actual(kernel.flops, size) if size else kernel.flops)
        kernel(_contiguous(constants), ports.words, ports.ends, self.steps, self.batch, rows, descend, size)


class _Ports:
    """The words of a kernel's ports, and the tensors that they point into."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self.ends: list[int] = []
        self._held: list[Tensor] = []

    def rows(self, tensors: Iterable[Tensor]) -> None:
        """Add what every row has one of."""
        for t in _contiguous(tensors):
            self._held.append(t)
            self.words += (t.data_ptr(), 0, t.stride(0), 0)

    def steps(self, values: Iterable[_Timed]) -> None:
        """Add what every row has one of at each step."""
        for v in values:
            if isinstance(v, Place):
                self.words += (v.at, v.batch * v.width, v.width, -1)
                continue
            t = _inner_contiguous(v)
            self._held.append(t)
            self.words += (t.data_ptr(), t.stride(0), t.stride(1), -1)

    def carried(self, memory: Place, start: Tensor | None, mask: int, ask: bool = True) -> Tensor:
        """Add what is carried in `memory` from `start` on (zeros if None); return where its end goes, if that is asked.

        mask: -1 if every step has its slot, 1 if two are used in turn.
        """
        self.words += (memory.at, memory.batch * memory.width, memory.width, mask)
        return self._end((memory.batch, *memory.form.shape), memory.form.dtype, start, ask)

    def kept(self, memory: Tensor, start: Tensor | None, mask: int) -> Tensor:
        """Add the same for memory of its own."""
        self._held.append(memory)
        self.words += (memory.data_ptr(), memory.stride(0), memory.stride(1), mask)
        return self._end(memory.shape[1:], memory.dtype, start, True)

    def _end(self, shape: Sequence[int], dtype: torch.dtype, start: Tensor | None, ask: bool) -> Tensor:
        end = torch.empty(shape if ask else 0, dtype=dtype)
        start = start if start is None or start.is_contiguous() else start.contiguous()
        self._held += [end] if start is None else [end, start]
        self.ends += (0 if start is None else start.data_ptr(), end.data_ptr() if ask else 0)
        return end


def _tensor(v: _Timed) -> Tensor:
    return v.tensor() if isinstance(v, Place) else v


def _contiguous(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [t if t.is_contiguous() else t.contiguous() for t in tensors]


def _inner_contiguous(t: Tensor) -> Tensor:
    """Return t with each row's entries in order; time and rows may have any strides."""
    if t.is_contiguous():
        return t
    size = 1
    for n, stride in zip(reversed(t.shape[2:]), reversed(t.stride()[2:]), strict=True):
        if n != 1 and stride != size:
            return t.contiguous()
        size *= n
    return t
