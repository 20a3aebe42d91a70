"""Running a cell by its kernels where that can be done, and saying why where it cannot."""

# Whether a transform or a mode of torch is active is told by nothing public.
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false, reportPrivateImportUsage=false
from __future__ import annotations

import threading
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recurra.compiler.errors import Unsupported
from recurra.compiler.trace import named_tensors
from recurra.core import Shared
from recurra.core.errors import BackendError
from recurra.scan.cpp import Compiled, compiled_loop
from recurra.scan.hoisted import around
from recurra.scan.problem import Problem, Result
from recurra.scan.programs import Program, program_for
from recurra.scan.reference import reference
from recurra.scan.trial import try_out

__all__ = ["automatic", "compiled", "explain", "obstacle"]

_WORTH_COMPILING = 2048
"""Entries of the state times rows times steps below which `auto` runs the loop: it takes less than a compiler's
start."""


def automatic(problem: Problem) -> Result:
    """Run the fastest way that supports the cell; the loop, whatever goes wrong on the way to a faster one."""
    if not _worth_it(problem):
        return reference(problem)
    own = dict(named_tensors(problem.cell))
    if obstacle(problem, own) is not None:
        return reference(problem)
    try:
        program = _ready(problem, own)
    except Unsupported:
        return reference(problem)
    return around(problem, program, compiled_loop, own)


def compiled(problem: Problem) -> Result:
    """Run the compiled kernels. Raises BackendError where that cannot be done."""
    name = type(problem.cell).__name__
    own = dict(named_tensors(problem.cell))
    reason = obstacle(problem, own)
    if reason is not None:
        raise BackendError(f"backend 'cpp' cannot run {name}: {reason}; use backend='auto'")
    try:
        program = _ready(problem, own)
    except Unsupported as refused:
        raise BackendError(f"backend 'cpp' cannot run {name}: {refused}; use backend='auto'") from refused
    return around(problem, program, compiled_loop, own)


def explain(problem: Problem) -> Program | str:
    """Return the compiled program of a problem, or the reason why there is none."""
    own = dict(named_tensors(problem.cell))
    reason = obstacle(problem, own)
    if reason is not None:
        return reason
    try:
        return _ready(problem, own)
    except Unsupported as refused:
        return str(refused)


def obstacle(problem: Problem, own: Mapping[str, Tensor]) -> str | None:
    """Return why this call has to go through PyTorch's own operations, whatever the cell; None if it need not.

    own: the cell's tensors by name.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return "the call is being traced by PyTorch"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a torch.func transform is active"
    if torch.autograd.forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    if torch._C._len_torch_dispatch_stack() > 0 or torch._C._len_torch_function_stack() > 0:
        return "a mode that watches PyTorch's operations is active"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is active"
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


def _worth_it(problem: Problem) -> bool:
    steps, batch = problem.x.shape[:2]
    width = sum(s[0].numel() for s in problem.state) if batch else 0
    return steps * batch * width >= _WORTH_COMPILING


def _ready(problem: Problem, own: Mapping[str, Tensor]) -> Program:
    """Return the program with its kernels built and tried out. Raises Unsupported, every time for the same reason."""
    program = program_for(problem, False)
    train = torch.is_grad_enabled() and any(t.requires_grad for t in [*_given(problem), *own.values()])
    if program.refused is not None:
        raise program.refused
    if _tried(program, train):
        return program
    with _lock:
        if program.refused is None and not _tried(program, train):
            _prepare(problem, program, train)
    if program.refused is not None:
        raise program.refused
    return program


_lock = threading.RLock()


def _prepare(problem: Problem, program: Program, train: bool) -> None:
    try:
        with torch.inference_mode(False):
            made = program.compiled = program.compiled or Compiled(program, problem.x.dtype)
            try_out(problem, lambda small: around(small, program, compiled_loop), train)
            made.tried = train
    except Unsupported as refused:
        program.refused = refused
    except Exception as error:
        program.refused = Unsupported("compile", f"{type(error).__name__}: {error}".splitlines()[0])


def _tried(program: Program, train: bool) -> bool:
    tried = None if program.compiled is None else program.compiled.tried
    return tried is not None and tried >= train
