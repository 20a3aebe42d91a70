"""The compiled loop: one call of generated C++ forward, one backward, and one matrix product for each weight's
gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from recurra.compiler.interpret import Evaluation, size_of
from recurra.compiler.ir import Value
from recurra.compiler.kernel import Kernel, compile_loops
from recurra.compiler.plan import Plan
from recurra.core import State
from recurra.scan.dealing import deal
from recurra.scan.hoisted import Folded, LoopInputs, torch_loop
from recurra.scan.problem import Problem
from recurra.scan.programs import Program

__all__ = ["Compiled", "compiled_loop"]


class Compiled:
    """The kernels of one program, built when they are first needed."""

    def __init__(self, program: Program, dtype: torch.dtype) -> None:
        self.plan: Plan = program.plan()
        self.tried: bool | None = None
        """Whether it has equalled the loop with gradients (True) or without (False); None before the first trial."""
        self._dtype = dtype
        self._kernels: dict[str, Kernel] = {}
        p = self.plan
        self.aliases = [next((k for k, n in enumerate(p.new) if n is o), None) for o in p.outputs]
        self.saved = [v for v in p.forward.results if not any(v is n for n in p.new)]
        own = [o for o, alias in zip(p.outputs, self.aliases, strict=True) if alias is None]
        self.own_outputs = list(dict.fromkeys(own))
        derived, backward = p.derived, p.backward
        assert derived is not None
        assert backward is not None
        staged = p.staged
        held = {c.before for c in (*derived.carried, *derived.histories)}
        self.finals = Evaluation([v for v in derived.finals if v is not None], [*staged.loop_once, *held])
        histories = [c.after for c in backward.histories]
        known = {v: ("history", k) for k, v in enumerate(histories)}
        known |= {v: ("saved", k) for k, v in enumerate(self.saved) if v not in known}
        known |= {v: ("new", k) for k, v in enumerate(p.new) if v not in known}
        self.sources = [known.get(v, ("result", k)) for k, v in enumerate(backward.results)]
        self.written = [v for k, v in enumerate(backward.results) if self.sources[k] == ("result", k)]
        kinds = {"real": None, "int": torch.int64, "bool": torch.bool}
        self.states = [(tuple(v.shape[1:]), kinds[v.kind]) for v in p.staged.state]
        """The shape of every state without rows, and its dtype, None being that of the input."""
        self.once = sorted(derived.epilogue_once)
        self.late = sorted(derived.epilogue_steps)
        roots = [*(derived.epilogue_once[k] for k in self.once), *(derived.epilogue_steps[k] for k in self.late)]
        self.roots = roots
        self.epilogue_leaves = [*p.staged.leaves, *p.kept, *held]

    def kernel(self, name: str) -> Kernel:
        """Return "infer", "train" or "backward"; the last two are built together."""
        if name not in self._kernels:
            p = self.plan
            graph = p.staged.traced.graph
            if name == "infer":
                loops = [("infer", p.forward, self.own_outputs)]
            else:
                assert p.backward is not None
                loops = [("train", p.forward, p.forward.results), ("backward", p.backward, self.written)]
            self._kernels.update(compile_loops(graph, loops, self._dtype))
        return self._kernels[name]

    def epilogue(self, once: Sequence[int], late: Sequence[int]) -> Evaluation:
        """Return what computes the wanted gradients of parameters and of inputs."""
        return _epilogue(self, tuple(once), tuple(late))


@lru_cache(maxsize=512)
def _epilogue(compiled: Compiled, once: tuple[int, ...], late: tuple[int, ...]) -> Evaluation:
    derived = compiled.plan.derived
    assert derived is not None
    roots = [*(derived.epilogue_once[k] for k in once), *(derived.epilogue_steps[k] for k in late)]
    return Evaluation(roots, compiled.epilogue_leaves)


def compiled_loop(problem: Problem, program: Program, inputs: LoopInputs) -> tuple[list[Tensor], State, State | None]:
    """Run the loop by its kernels. Raises Unsupported where they cannot be made."""
    compiled: Compiled = program.compiled
    run = _Run(compiled, problem, program, inputs)
    if not torch.is_grad_enabled():
        made = run.forward(inputs)
    elif any(t.requires_grad for t in inputs.flat):
        made = _Loop.apply(run, *inputs.flat)
    else:
        with torch.no_grad():
            made = run.forward(inputs)
    n, m = len(compiled.plan.outputs), len(inputs.state)
    states = tuple(made[n + m :]) if problem.keep_states else None
    return list(made[:n]), tuple(made[n : n + m]), states


class _Run:
    """One call: sizes, direction, and after the forward what the backward needs."""

    def __init__(self, compiled: Compiled, problem: Problem, program: Program, inputs: LoopInputs) -> None:
        self.compiled, self.problem, self.program = compiled, problem, program
        self.steps, self.batch = problem.x.shape[:2]
        self.descend = problem.reverse
        self.lengths = problem.lengths
        self.sizes = (len(inputs.once), len(inputs.call), len(inputs.steps), len(inputs.state))
        self.histories: list[Tensor] = []

    def split(self, flat: Sequence[Tensor]) -> LoopInputs:
        """Return a flat list of inputs by their kinds."""
        a, b, c, _ = self.sizes
        return LoopInputs(list(flat[:a]), list(flat[a : a + b]), list(flat[a + b : a + b + c]), list(flat[a + b + c :]))

    def forward(self, inputs: LoopInputs, saved: list[Tensor] | None = None) -> list[Tensor]:
        """Run the forward kernel; return outputs, final states, and all states if they are asked for.

        saved: given for training; gets what the backward needs besides the histories. It is not kept here, since an
        output among it, which holds the graph and so this run, would then never be freed.
        """
        train = saved is not None
        compiled, keep_states = self.compiled, self.problem.keep_states
        p = compiled.plan
        ports = _Ports()
        ports.rows(inputs.call)
        ports.steps(inputs.steps)
        finals: list[Tensor] = []
        for k, (s, (shape, dtype)) in enumerate(zip(inputs.state, compiled.states, strict=True)):
            keep = train or keep_states or k in compiled.aliases
            memory = self._slots(shape, dtype or self.problem.x.dtype, keep, self.lengths is not None)
            self.histories.append(memory)
            finals.append(ports.carried(memory, keep, s))
        # While training, y has memory of its own beside the history of the state: the caller may write into it.
        wanted = p.forward.results if train else compiled.own_outputs
        made = {v: self._blank(v) for v in p.forward.results if v in wanted}
        ports.steps(made.values())
        self._call(compiled.kernel("train" if train else "infer"), _contiguous(inputs.once), ports, self.descend)
        if saved is not None:
            saved += [made[v] for v in compiled.saved]
        outputs = [
            made[o] if alias is None or train else self._clean(self._after(self.histories[alias], self.descend))
            for o, alias in zip(p.outputs, compiled.aliases, strict=True)
        ]
        states = [self._clean(self._after(h, self.descend)) for h in self.histories] if keep_states else []
        if train:
            states = [a.clone() for a in states]
        return [*outputs, *finals, *states]

    def backward(
        self, inputs: LoopInputs, saved: Sequence[Tensor], grads: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Run the backward kernel and the epilogue; return the gradient of every input."""
        compiled = self.compiled
        p, derived = compiled.plan, compiled.plan.derived
        backward = p.backward
        assert derived is not None
        assert backward is not None
        n, m = len(p.outputs), len(inputs.state)
        output_grads, final_grads = grads[:n], grads[n : n + m]
        descend = not self.descend
        constants = _contiguous(inputs.once)
        by_value: dict[Value, Tensor] = dict(zip(p.staged.loop_steps, inputs.steps, strict=True))
        by_value.update(zip(compiled.saved, saved, strict=True))
        for k, leaf in enumerate(derived.output_grads):
            if leaf is not None:
                by_value[leaf] = self._output_grad(output_grads[k], p.outputs[k])
        ports = _Ports()
        ports.rows(inputs.call)
        ports.steps(by_value[v] for v in backward.per_step)
        ports.steps(self.histories)
        starts = {v: k for k, v in enumerate(derived.first) if v is not None}
        dtype = self.problem.x.dtype
        held: list[Tensor] = []
        for c in backward.carried:
            start = final_grads[starts[c.before]] if c.before in starts else None
            held.append(ports.carried(self._slots(c.before.shape[1:], dtype, False, False), False, start))
        histories: list[Tensor] = []
        for c in backward.histories:
            memory = self._slots(c.before.shape[1:], dtype, True, self.lengths is not None)
            held.append(ports.carried(memory, True, None))
            histories.append(self._after(memory, descend))
        results = {v: self._blank(v) for v in compiled.written}
        ports.steps(results.values())
        self._call(compiled.kernel("backward"), constants, ports, descend)

        ends = dict(zip([c.before for c in (*backward.carried, *backward.histories)], held, strict=True))
        once = dict(zip(p.staged.loop_once, constants, strict=True))
        finals = iter(compiled.finals({**once, **ends}, self.batch, self.problem.x))
        first_grads = [None if v is None else next(finals) for v in derived.finals]
        new = [self._after(h, self.descend) for h in self.histories]
        pools = {"history": histories, "saved": saved, "new": new}
        found = [
            results[v] if kind == "result" else pools[kind][k]
            for v, (kind, k) in zip(backward.results, compiled.sources, strict=True)
        ]
        step_grads: dict[int, Tensor] = dict(zip(p.step_grads, found, strict=False))
        kept = dict(zip(p.kept, found[len(p.step_grads) :], strict=True))
        a, b, c, _ = self.sizes
        ask_once = [k for k in compiled.once if wanted[k]]
        ask_late = [k for k in compiled.late if wanted[a + b + k]]
        late: dict[int, Tensor] = {}
        gathered: dict[int, Tensor] = {}
        if ask_once or ask_late:
            epilogue = compiled.epilogue(ask_once, ask_late)
            made = self._epilogue(epilogue, once, inputs, by_value, kept)
            gathered = dict(zip(ask_once, made, strict=False))
            fold = Folded(self.problem)
            late = {k: fold.unfold(v) for k, v in zip(ask_late, made[len(ask_once) :], strict=True)}
        call = [None if leaf is None else ends[leaf] for leaf in derived.call_grads]
        return [
            *(gathered.get(k) for k in range(a)),
            *call,
            *(step_grads.get(k, late.get(k)) for k in range(c)),
            *first_grads,
        ]

    def _epilogue(
        self, epilogue: Evaluation, once: dict[Value, Tensor], inputs: LoopInputs, by_value: dict[Value, Tensor],
        kept: dict[Value, Tensor],
    ) -> list[Tensor]:  # fmt: skip
        staged = self.compiled.plan.staged
        fold = Folded(self.problem)
        timed: dict[Value, Tensor] = {**by_value, **kept}
        timed.update(zip(staged.state, [self._before(h) for h in self.histories], strict=True))
        whole = (self.steps, self.batch)
        timed.update((v, t.expand(self.steps, *t.shape)) for v, t in zip(staged.loop_call, inputs.call, strict=True))
        given = dict(once)
        for v in epilogue.leaves:
            if v in timed:
                assert timed[v].shape[:2] == whole
                rows = next(d for d, n in enumerate(v.shape) if n < 0)
                given[v] = fold.fold(timed[v]).movedim(0, rows).reshape(size_of(v.shape, fold.rows))
        return epilogue(given, fold.rows, self.problem.x)

    def _blank(self, v: Value) -> Tensor:
        """Return memory for a value at every step: (T, B, ...), wherever its rows stand, and if they are several."""
        dtype = {"real": self.problem.x.dtype, "int": torch.int64, "bool": torch.bool}[v.kind]
        make = torch.empty if self.lengths is None else torch.zeros
        return make(self.steps, self.batch, *(abs(n) for n in v.shape if n != -1), dtype=dtype)

    def _slots(self, shape: Sequence[int], dtype: torch.dtype, keep: bool, zero: bool) -> Tensor:
        """Return memory for what is carried: a slot before every step and one after the last, or two in turn."""
        make = torch.zeros if zero else torch.empty
        return make(self.steps + 1 if keep else 2, self.batch, *shape, dtype=dtype)

    def _after(self, memory: Tensor, descend: bool) -> Tensor:
        return memory[: self.steps] if descend else memory[1:]

    def _before(self, memory: Tensor) -> Tensor:
        return memory[1:] if self.descend else memory[: self.steps]

    def _clean(self, states: Tensor) -> Tensor:
        """Return states after every step, without the initial ones that stand in the padding of reversed rows."""
        if not self.descend or self.lengths is None:
            return states
        n = torch.tensor(self.lengths)
        valid = torch.arange(self.steps).unsqueeze(1) < n
        return torch.where(valid.reshape(*valid.shape, *(1,) * (states.dim() - 2)), states, states.new_zeros(()))

    def _output_grad(self, grad: Tensor | None, like: Value) -> Tensor:
        if grad is None:
            return torch.zeros((), dtype=self.problem.x.dtype).expand(self.steps, self.batch, *like.shape[1:])
        return grad

    def _call(self, kernel: Kernel, constants: Sequence[Tensor], ports: _Ports, descend: bool) -> None:
        rows = deal(self.steps, self.batch, self.lengths, kernel.flops)
        kernel(constants, ports.words, ports.ends, self.steps, self.batch, rows, descend)


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

    def steps(self, tensors: Iterable[Tensor]) -> None:
        """Add what every row has one of at each step."""
        for t in tensors:
            t = _inner_contiguous(t)
            self._held.append(t)
            self.words += (t.data_ptr(), t.stride(0), t.stride(1), -1)

    def carried(self, memory: Tensor, keep: bool, start: Tensor | None) -> Tensor:
        """Add what is carried in `memory` from `start` on (zeros if None); return where its end goes."""
        end = torch.empty(memory.shape[1:], dtype=memory.dtype)
        start = start if start is None or start.is_contiguous() else start.contiguous()
        self._held += [memory, end] if start is None else [memory, end, start]
        self.words += (memory.data_ptr(), memory.stride(0), memory.stride(1), -1 if keep else 1)
        self.ends += (0 if start is None else start.data_ptr(), end.data_ptr())
        return end


class _Loop(torch.autograd.Function):
    """The loop for autograd. The gradient of its gradient runs by the loop of PyTorch operations."""

    @staticmethod
    def forward(ctx: Any, run: _Run, *flat: Tensor) -> tuple[Tensor, ...]:
        saved: list[Tensor] = []
        made = run.forward(run.split(flat), saved)
        ctx.run = run
        # An output that the backward reads is saved too, so that writing into it is noticed.
        ctx.save_for_backward(*flat, *saved)
        ctx.mark_non_differentiable(*(t for t in made if not t.is_floating_point()))
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        run: _Run = ctx.run
        given = sum(run.sizes)
        flat, saved = ctx.saved_tensors[:given], ctx.saved_tensors[given:]
        wanted = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or run.problem.keep_states:
            return (None, *_by_torch(run, flat, grads, wanted))
        found = run.backward(run.split(flat), saved, grads, wanted)
        return (None, *(g if w else None for g, w in zip(found, wanted, strict=True)))


def _by_torch(
    run: _Run, flat: Sequence[Tensor], grads: Sequence[Tensor | None], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Return gradients through PyTorch's own operations: differentiable again."""
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        if not create:
            flat = [t.detach().requires_grad_(w) for t, w in zip(flat, wanted, strict=True)]
        outputs, final, states = torch_loop(run.problem, run.program, run.split(flat))
        made = [*outputs, *final, *(states or ())]
        pairs = [(o, g) for o, g in zip(made, grads, strict=True) if g is not None and o.requires_grad]
        asked = [t for t, w in zip(flat, wanted, strict=True) if w]
        found = iter(torch.autograd.grad(
            [o for o, _ in pairs], asked, [g for _, g in pairs], create_graph=create, allow_unused=True
        ))  # fmt: skip
    return [next(found) if w else None for w in wanted]


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
