"""Running a cell by its kernels where that can be done, and saying why where it cannot."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from recurra.compiler.errors import Unsupported
from recurra.compiler.trace import named_tensors
from recurra.core import Cell, Shared, State
from recurra.core.errors import BackendError
from recurra.scan.binding import Binding, bind, bound, mode
from recurra.scan.cpp import compiled_loop
from recurra.scan.hoisted import LoopInputs, around
from recurra.scan.kernels import Compiled
from recurra.scan.problem import Problem, Result
from recurra.scan.programs import Program, program_for
from recurra.scan.reference import reference
from recurra.scan.trial import try_out

__all__ = [
    "again", "automatic", "compiled", "explain", "obstacle", "ready", "run_program", "tried", "unfit", "worth_again",
    "worth_it", "worth_streaming",
]  # fmt: skip

_WORTH_COMPILING = 2048
"""Entries of the state times rows times steps below which `auto` runs the loop: it takes less than a compiler's
start."""

_WIDE = 64
"""Entries of the state of one row from which on `auto` compiles a cell even for a single step.

Both rules look at the call alone, never at the calls before it: a run that is resumed rounds as one that was not
stopped."""

_WORTH_STREAMING = 16 * _WORTH_COMPILING
"""What the single steps of one cell have to add up to before streaming compiles a narrower one."""


def automatic(problem: Problem) -> Result:
    """Run the fastest way that supports the cell; the loop, whatever goes wrong on the way to a faster one."""
    return run_program(problem) if worth_it(problem) else reference(problem)


def run_program(problem: Problem) -> Result:
    """Run the compiled kernels, or the loop where that cannot be done."""
    own = dict(named_tensors(problem.cell))
    if obstacle(problem, own) is not None:
        return reference(problem)
    try:
        program = ready(problem, own)
    except Unsupported:
        return reference(problem)
    _remember(problem, program, own)
    return around(problem, program, compiled_loop, own)


def again(
    cell: Cell,
    x: Tensor,
    state: State | None,
    lengths: tuple[int, ...] | None,
    reverse: bool,
    keep_states: bool,
    small: bool,
) -> Result | None:
    """Run a cell without context by the program that an earlier call has bound to it; None if that cannot be done.

    x and state have been checked; a state of None is the initial one. small: also where `auto` would run the loop.
    """
    if torch.compiler.is_compiling():
        return None
    found = bound(cell)
    if found is None or not worth_again(found, x, small) or not found.fits(x, state):
        return None
    program, train = found.program, found.trains(x, state)
    if not tried(program, train, keep_states):
        return None
    if state is None and (not found.zeros or not found.direct):
        state = cell.initial_state(x.shape[1], device=x.device, dtype=x.dtype)
    problem = Problem(cell, x, state or (), (), (), lengths, reverse, keep_states)
    if not found.direct:
        return around(problem, program, compiled_loop, found.own)
    inputs = LoopInputs(found.constants(), [], [x], state or found.nothing)
    outputs, final, states = compiled_loop(problem, program, inputs)
    return Result(outputs[0], final, states)


def worth_again(binding: Binding, x: Tensor, small: bool) -> bool:
    """Tell whether the kernels are to take inputs like x. small: also where `auto` would run the loop."""
    return small or _large(x, binding.width)


def compiled(problem: Problem) -> Result:
    """Run the compiled kernels. Raises BackendError where that cannot be done."""
    name = type(problem.cell).__name__
    own = dict(named_tensors(problem.cell))
    reason = obstacle(problem, own)
    if reason is not None:
        raise BackendError(f"backend 'cpp' cannot run {name}: {reason}; use backend='auto'")
    try:
        program = ready(problem, own)
    except Unsupported as refused:
        raise BackendError(f"backend 'cpp' cannot run {name}: {refused}; use backend='auto'") from refused
    _remember(problem, program, own)
    return around(problem, program, compiled_loop, own)


def explain(problem: Problem) -> Program | str:
    """Return the compiled program of a problem, or the reason why there is none."""
    own = dict(named_tensors(problem.cell))
    reason = obstacle(problem, own)
    if reason is not None:
        return reason
    try:
        return ready(problem, own)
    except Unsupported as refused:
        return str(refused)


def obstacle(problem: Problem, own: Mapping[str, Tensor]) -> str | None:
    """Return why this call has to go through PyTorch's own operations, whatever the cell; None if it need not.

    own: the cell's tensors by name.
    """
    return mode() or unfit(problem, own)


def unfit(problem: Problem, own: Mapping[str, Tensor]) -> str | None:
    """Return why no kernel takes these tensors; None if it does."""
    x = problem.x
    if x.dtype not in (torch.float32, torch.float64):
        return f"inputs of {x.dtype}, kernels exist for float32 and float64"
    for t in [*_given(problem), *own.values()]:
        if type(t) not in (Tensor, nn.Parameter):
            return f"a {type(t).__name__} is not a plain tensor"
        if t.device.type != "cpu":
            return f"a tensor on {t.device}, kernels run on the CPU"
        if t.layout != torch.strided or t.is_neg():
            return "a tensor that does not lie in memory as it is"
    return None


def _given(problem: Problem) -> list[Tensor]:
    context = [c.tensor if isinstance(c, Shared) else c for c in problem.per_call]
    return [t for t in [problem.x, *problem.state, *context, *problem.per_step] if isinstance(t, Tensor)]


def worth_it(problem: Problem) -> bool:
    """Tell whether a call has so much to do that it is worth a compiler's start."""
    if torch.compiler.is_compiling() or not problem.x.shape[1]:
        return False
    return _large(problem.x, sum(s[0].numel() for s in problem.state))


def worth_streaming(problem: Problem) -> bool:
    """Tell the same of all single steps that a cell has done so far; of this one alone where gradients are wanted, so
    that training rounds the same whatever came before."""
    if worth_it(problem) or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return worth_it(problem)
    done = _streamed.get(problem.cell, 0) + sum(s.numel() for s in problem.state)
    _streamed[problem.cell] = done
    return done >= _WORTH_STREAMING


_streamed: WeakKeyDictionary[Cell, int] = WeakKeyDictionary()


def _large(x: Tensor, width: int) -> bool:
    return width >= _WIDE or x.shape[0] * x.shape[1] * width >= _WORTH_COMPILING


def ready(problem: Problem, own: Mapping[str, Tensor]) -> Program:
    """Return the program of a problem that has no obstacle, with its kernels built and tried out.

    Raises Unsupported, every time for the same reason."""
    program = program_for(problem, False)
    train = torch.is_grad_enabled() and any(t.requires_grad for t in [*_given(problem), *own.values()])
    if program.refused is not None:
        raise program.refused
    if tried(program, train, problem.keep_states):
        return program
    with _lock:
        if program.refused is None and not tried(program, train, problem.keep_states):
            _prepare(problem, program, train)
    if program.refused is not None:
        raise program.refused
    return program


_lock = threading.RLock()


def _remember(problem: Problem, program: Program, own: Mapping[str, Tensor]) -> None:
    """Bind a cell to its program, where it has no context."""
    if type(problem.cell).make_context is Cell.make_context and not problem.per_call and not problem.per_step:
        known = bound(problem.cell)
        if known is None or known.program is not program or not known.fits(problem.x, problem.state):
            bind(Binding(problem.cell, program, own, problem.x.dtype))


def _prepare(problem: Problem, program: Program, train: bool) -> None:
    try:
        with torch.inference_mode(False):
            keep = problem.keep_states
            if keep not in program.compiled:
                kernels = program.kernels(keep, problem.x.dtype)
                program.compiled[keep] = Compiled(program.plan(keep), problem.x.dtype, kernels, program.size)
            made = program.compiled[keep]
            try_out(problem, lambda small: around(small, program, compiled_loop), train)
            made.tried = train
    except Unsupported as refused:
        program.refused = refused
    except Exception as error:
        program.refused = Unsupported("compile", f"{type(error).__name__}: {error}".splitlines()[0])


def tried(program: Program, train: bool, keep_states: bool) -> bool:
    """Tell whether a program's kernels have equalled the loop in calls of this kind."""
    found = program.compiled.get(keep_states)
    with_gradients = None if found is None else found.tried
    return with_gradients is not None and with_gradients >= train
