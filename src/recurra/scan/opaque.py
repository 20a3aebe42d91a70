"""The compiled loop for `torch.compile`: one operator, of which the surrounding graph sees only shapes and gradients.

What runs around a loop in PyTorch is part of the operator too. Where there is such work, the backward repeats it.
Imported only where `torch.compile` is at work: declaring an operator loads half of it.
"""

# What PyTorch dispatches to is told by nothing public.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from recurra.compiler.errors import Unsupported
from recurra.compiler.trace import named_tensors
from recurra.core import Cell
from recurra.scan.compiled import ready, unfit
from recurra.scan.cpp import compiled_loop
from recurra.scan.hoisted import LoopInputs, around
from recurra.scan.lengths import check_lengths
from recurra.scan.owners import USUAL_KEYS, owner_of
from recurra.scan.problem import Problem, Result
from recurra.scan.programs import Program
from recurra.scan.run import run_for
from recurra.scan.workspace import Layout

__all__ = ["opaque"]


def opaque(
    owner: int, index: int, cell: Cell, x: Tensor, state: Sequence[Tensor] | None, lengths: Any, reverse: bool
) -> Result | None:
    """Run cell `index` of the adopted module with the id `owner`, while `torch.compile` looks on.

    None where the kernels do not take it: the caller then runs the plain loop. Whether they do is found out while the
    graph is made.
    """
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return None
    train = torch.is_grad_enabled()
    names = _names(owner, index, x.dtype is torch.float64, train)
    if names == _REFUSED:
        return None
    owned: Any = cell
    own: list[Tensor] = [reduce(getattr, name.split("."), owned) for name in names.split("\n") if name]
    given = list(cell.initial_state(x.shape[1], device=x.device, dtype=x.dtype) if state is None else state)
    if any(t.device.type != "cpu" or (t.is_floating_point() and t.dtype is not x.dtype) for t in (*given, *own)):
        return None
    train = train and any(t.requires_grad for t in (x, *given, *own))
    counts = None if lengths is None else torch.as_tensor(lengths)
    made = torch.ops.recurra.loop(owner, index, reverse, train, x, given, own, counts)
    return Result(made[0], tuple(made[1 : 1 + len(given)]), None)


_programs: dict[tuple[int, int, torch.dtype], Program] = {}
"""The program of every cell that a graph was made with, for its shapes."""
_REFUSED = "?"


@torch.compiler.assume_constant_result
def _names(owner: int, index: int, double: bool, train: bool) -> str:
    """Return the names of a cell's tensors, one a line, if its kernels are there."""
    found = owner_of(owner)
    if found is None:
        return _REFUSED
    cell = found.bound_cells()[index]
    if type(cell).make_context is not Cell.make_context:
        return _REFUSED
    dtype = torch.float64 if double else torch.float32
    own = dict(named_tensors(cell))
    x = torch.zeros(2, 2, *cell.input_shape, dtype=dtype, requires_grad=train)
    problem = Problem(cell, x, cell.initial_state(2, device=x.device, dtype=dtype), (), (), None, False, False)
    try:
        if unfit(problem, own) is not None or any(t.is_floating_point() and t.dtype != dtype for t in own.values()):
            return _REFUSED
        with torch.enable_grad() if train else torch.no_grad():
            _programs[owner, index, dtype] = ready(problem, own)
    except Unsupported:
        return _REFUSED
    return "\n".join(own)


class _Call:
    """One call of the operator, taken apart."""

    def __init__(
        self, owner: int, index: int, reverse: bool, x: Tensor, state: Sequence[Tensor], own: Sequence[Tensor],
        lengths: Tensor | None,
    ) -> None:  # fmt: skip
        found = owner_of(owner)
        assert found is not None, "the compiled graph has outlived the module that it was made of"
        cell = found.bound_cells()[index]
        self.own = dict(zip((name for name, _ in named_tensors(cell)), own, strict=True))
        valid = None if lengths is None else check_lengths(lengths, x.shape[0], x.shape[1])
        self.problem = Problem(cell, x, tuple(state), (), (), valid, reverse, False)

    def program(self, train: bool) -> Program:
        """Return the cell's program as it is now."""
        with torch.enable_grad() if train else torch.no_grad():
            return ready(self.problem, self.own)

    def inputs(self, program: Program) -> LoopInputs:
        """Return what the loop runs on."""
        env = program.leaves(self.own)
        return LoopInputs([env[v] for v in program.staged.loop_once], [], [self.problem.x], self.problem.state)


def _direct(program: Program) -> bool:
    """Tell whether there is nothing to do around the loop."""
    staged = program.staged
    return staged.loop_steps == [staged.traced.x] and not staged.once and staged.after is None


@torch.library.custom_op("recurra::loop", mutates_args=(), device_types="cpu")
def _loop(
    owner: int, index: int, reverse: bool, train: bool, x: Tensor, state: list[Tensor], own: list[Tensor],
    lengths: Tensor | None,
) -> list[Tensor]:  # fmt: skip
    """Return y, the final state, and in training the memory that the backward needs."""
    call = _Call(owner, index, reverse, x, state, own, lengths)
    program = call.program(train)
    if not _direct(program):
        y, final, _ = around(call.problem, program, compiled_loop, call.own)
        return [y, *final, *([torch.empty(0, dtype=torch.uint8)] if train else [])]
    inputs = call.inputs(program)
    run = run_for(program.compiled[False], call.problem, inputs)
    if not train:
        outputs, finals = run.infer(inputs.flat, call.problem.lengths)
        return [outputs[0], *finals]
    outputs, finals, kept = run.forward(inputs.flat, call.problem.lengths)
    return [outputs[0], *finals, kept[0]]


@_loop.register_fake
def _(
    owner: int, index: int, reverse: bool, train: bool, x: Tensor, state: list[Tensor], own: list[Tensor],
    lengths: Tensor | None,
) -> list[Tensor]:  # fmt: skip
    program = _programs[owner, index, x.dtype]
    compiled = program.compiled[False]
    steps, batch = x.shape[:2]
    cell = _Call(owner, index, reverse, x, state, own, None).problem.cell
    made = [x.new_empty(steps, batch, *cell.output_shape), *(torch.empty_like(s) for s in state)]
    if train:
        forms = compiled.kept_forms(steps) if _direct(program) else []
        made.append(x.new_empty(Layout(forms, batch).size, dtype=torch.uint8))
    return made


@torch.library.custom_op("recurra::loop_backward", mutates_args=(), device_types="cpu")
def _loop_backward(
    owner: int, index: int, reverse: bool, wanted: list[bool], x: Tensor, state: list[Tensor], own: list[Tensor],
    lengths: Tensor | None, y: Tensor, memory: Tensor, grads: list[Tensor],
) -> list[Tensor]:  # fmt: skip
    """Return the wanted gradients of x, the state and the cell's own tensors."""
    call = _Call(owner, index, reverse, x, state, own, lengths)
    program = call.program(True)
    if not _direct(program):
        return _repeated(call, program, wanted, grads)
    inputs = call.inputs(program)
    compiled = program.compiled[False]
    run = run_for(compiled, call.problem, inputs)
    asked = {id(t): w for t, w in zip([x, *state, *own], wanted, strict=True)}
    order = [*inputs.once, x, *state]
    kept = [memory, y] if compiled.own_outputs else [memory]
    found = run.backward(inputs.flat, kept, grads, [asked.get(id(t), False) for t in order], call.problem)
    by_input = {id(t): g for t, g in zip(order, found, strict=True) if g is not None}
    given = zip([x, *state, *own], wanted, strict=True)
    return _apart([by_input[id(t)] if id(t) in by_input else torch.zeros_like(t) for t, w in given if w])


@_loop_backward.register_fake
def _(
    owner: int, index: int, reverse: bool, wanted: list[bool], x: Tensor, state: list[Tensor], own: list[Tensor],
    lengths: Tensor | None, y: Tensor, memory: Tensor, grads: list[Tensor],
) -> list[Tensor]:  # fmt: skip
    return [t.new_empty(t.shape) for t, w in zip([x, *state, *own], wanted, strict=True) if w]


def _repeated(call: _Call, program: Program, wanted: Sequence[bool], grads: Sequence[Tensor]) -> list[Tensor]:
    p = call.problem
    # An operator runs below autograd, which has to come back for this.
    with torch._C._ForceDispatchKeyGuard(*USUAL_KEYS), torch.enable_grad():
        given = [p.x, *p.state, *call.own.values()]
        fresh = [t.detach().requires_grad_(w) for t, w in zip(given, wanted, strict=True)]
        state = tuple(fresh[1 : 1 + len(p.state)])
        own = dict(zip(call.own, fresh[1 + len(p.state) :], strict=True))
        y, final, _ = around(p._replace(x=fresh[0], state=state), program, compiled_loop, own)
        made = [(o, g) for o, g in zip([y, *final], grads, strict=True) if o.requires_grad]
        asked = [t for t, w in zip(fresh, wanted, strict=True) if w]
        return _apart(torch.autograd.grad(
            [o for o, _ in made], asked, [g for _, g in made], allow_unused=True, materialize_grads=True
        ))  # fmt: skip


def _apart(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return tensors of which no two share memory, as an operator has to."""
    found: dict[int, Tensor] = {}
    result: list[Tensor] = []
    for t in tensors:
        at = t.untyped_storage().data_ptr()
        result.append(t.clone() if at in found else t)
        found[at] = t
    return result


def _remember(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    owner, index, reverse, _, x, state, own, lengths = inputs
    ctx.fixed, ctx.counts = (owner, index, reverse), (len(state), len(own), lengths is not None)
    ctx.wanted = [t.requires_grad for t in (x, *state, *own)]
    ctx.save_for_backward(x, *state, *own, *(() if lengths is None else (lengths,)), *output)


def _differentiate(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    saved = list(ctx.saved_tensors)
    states, owns, ragged = ctx.counts
    x, state, own = saved[0], saved[1 : 1 + states], saved[1 + states : 1 + states + owns]
    rest = saved[1 + states + owns :]
    lengths = rest.pop(0) if ragged else None
    outputs = rest[: 1 + states]
    full = [torch.zeros_like(o) if g is None else g for o, g in zip(outputs, grads, strict=False)]
    found = iter(torch.ops.recurra.loop_backward(
        *ctx.fixed, ctx.wanted, x, state, own, lengths, outputs[0], rest[-1], full
    ))  # fmt: skip
    made = [next(found) if w else None for w in ctx.wanted]
    return None, None, None, None, made[0], made[1 : 1 + states], made[1 + states :], None


_loop.register_autograd(_differentiate, setup_context=_remember)
