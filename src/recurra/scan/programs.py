"""The programs of cells: each traced and staged once, and found again by what it depends on."""

# torch.nn.Module's tables of tensors are public in all but their names.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from recurra.compiler.errors import Unsupported
from recurra.compiler.interpret import Evaluation
from recurra.compiler.ir import Value, has_rows, topological
from recurra.compiler.linear import Recurrence, recurrences
from recurra.compiler.plan import Plan
from recurra.compiler.stage import Staged, stage
from recurra.compiler.trace import Spec, trace
from recurra.core import Shared
from recurra.scan.any_length import OneLength, Planned, length_of, unit_shape
from recurra.scan.kernels import Kernels
from recurra.scan.problem import Problem

__all__ = ["Program", "program_for"]

_MOST_PROGRAMS = 256
_MOST_SHAPES = 8


class Program:
    """One cell's step, traced and staged, with what runs around the loop ready to be evaluated."""

    def __init__(self, source: Planned | OneLength, problem: Problem) -> None:
        self.staged = staged = source.staged
        self.size = source.size
        self.names = list(staged.traced.parameters)
        traced = staged.traced
        fixed = [*traced.parameters.values(), *traced.constants]
        shared = [v for v, c in zip(traced.context, _flat(problem), strict=True) if isinstance(c, Shared)]
        self.once = Evaluation(staged.once, [*fixed, *shared])
        self.per_call = Evaluation(staged.per_call, [*fixed, *traced.context, *staged.once])
        self.before = Evaluation(staged.before, [*fixed, traced.x, *traced.context, *staged.once])
        self.after = Evaluation([staged.after], staged.after_leaves) if staged.after is not None else None
        results = [*staged.outputs, *staged.new]
        self.fixed = Evaluation(_fixed(results, staged), staged.loop_once)
        self.loop = Evaluation(results, [*staged.leaves, *self.fixed.outputs])
        self.refused = staged.foreign
        self.compiled: dict[bool, Any] = {}
        """The kernels, by whether the states of all steps are among what they return."""
        self._source = source
        self._recurrences: list[Recurrence] | Unsupported | None = None

    def plan(self, keep_states: bool = False) -> Plan:
        """Return the plan with its backward. keep_states: the new state counts as output, after all others."""
        return self._source.plan(keep_states)

    def kernels(self, keep_states: bool, dtype: torch.dtype) -> Kernels:
        """Return the kernels of that plan."""
        return self._source.kernels(keep_states, dtype)

    def recurrences(self) -> list[Recurrence]:
        """Return how the step is linear in its state. Raises Unsupported, each time with the same reason."""
        with _lock:
            if self._recurrences is None:
                try:
                    self._recurrences = recurrences(self.staged.traced)
                except Unsupported as refused:
                    self._recurrences = refused
        if isinstance(self._recurrences, Unsupported):
            raise self._recurrences
        return self._recurrences

    def leaves(self, own: Mapping[str, Tensor]) -> dict[Value, Tensor]:
        """Return the leaves that are the cell's own tensors, given by name, and the constants of its step."""
        env = dict(self.staged.traced.constants)
        for name, leaf in self.staged.traced.parameters.items():
            env[leaf] = own[name]
        return env


def program_for(problem: Problem, hoist: bool) -> Program:
    """Return the program of a problem's cell. Raises Unsupported, each time with the same reason."""
    key = (_key(problem), hoist)
    found = _programs.get(key)
    if found is None:
        with _lock:
            found = _programs.get(key)
            if found is None:
                found = _make(problem, hoist)
                _keep(_programs, key, found, problem.cell)
    if isinstance(found, Unsupported):
        raise found
    return found


_programs: dict[Any, Program | Unsupported] = {}
_alive: dict[Any, Any] = {}
_shapes: dict[Any, int] = {}
_lock = threading.RLock()


def _make(problem: Problem, hoist: bool) -> Program | Unsupported:
    count = _shapes[type(problem.cell)] = _shapes.get(type(problem.cell), 0) + 1
    try:
        context = _flat(problem)
        if any(not isinstance(c, Shared | Tensor) for c in context):
            return Unsupported("context", "an entry is not a tensor")
        if not problem.x.is_floating_point():
            return Unsupported("input", f"inputs of {problem.x.dtype}")
        if context and count > 64 * _MOST_SHAPES:
            return Unsupported("context", "its shapes change from call to call")
        size = 0 if hoist else length_of(problem)
        if size:
            whole = _for_any_length(problem, size)
            if whole is not None:
                return Program(OneLength(whole, size), problem)
        return Program(Planned(_staged(problem, 0, hoist)), problem)
    except Unsupported as refused:
        return refused
    except Exception as error:
        return Unsupported("trace", f"{type(error).__name__}: {error}".splitlines()[0])


def _for_any_length(problem: Problem, size: int) -> Planned | None:
    """Return the step for every length of its context; None where it is tied to the one it has."""
    key = (_key(problem, size), "any length")
    if key not in _whole:
        try:
            planned = Planned(_staged(problem, size, False))
        except Exception:  # whatever it is will be said of the step at its own length
            planned = None
        _keep(_whole, key, planned, problem.cell)
    return _whole[key]


_whole: dict[Any, Planned | None] = {}


def _keep(found: dict[Any, Any], key: Any, value: Any, cell: nn.Module) -> None:
    """Remember what was found under a key, and keep what the key identifies: objects, but neither module nor tensor, so
    that a model can be freed."""
    while len(found) >= _MOST_PROGRAMS:
        oldest = next(iter(found))
        del found[oldest], _alive[oldest]
    found[key] = value
    _alive[key] = [
        v for m in cell.modules() for n, v in m.__dict__.items() if n not in _HIDDEN and not isinstance(v, Tensor)
    ]


def _staged(problem: Problem, size: int, hoist: bool) -> Staged:
    """Trace and stage. size: the length of the context that is to vary, 0 for none. Raises Unsupported."""
    specs = [
        Spec(unit_shape(c, size), c.tensor.dtype if isinstance(c, Shared) else c.dtype, not isinstance(c, Shared))
        for c in problem.per_call
    ]
    count = len(specs)
    specs += [Spec(tuple(c.shape[2:]), c.dtype) for c in problem.per_step]
    x = Spec(tuple(problem.x.shape[2:]), problem.x.dtype)
    state = [Spec(tuple(s.shape[1:]), s.dtype) for s in problem.state]
    with torch.no_grad():
        traced = trace(problem.cell, x, state, specs)
        return stage(traced, range(count, len(specs)), hoist)


def _fixed(results: list[Value], staged: Staged) -> list[Value]:
    """Return what the loop makes of parameters alone, and would make again at every step."""
    order = topological(results, staged.leaves)
    known, alone = set(staged.leaves), set(staged.loop_once)
    alone |= {v for v in order if v.op == "fill" and not has_rows(v.shape)}
    for v in order:
        if v not in known and v.args and not has_rows(v.shape) and all(a in alone for a in v.values):
            alone.add(v)
    used = {a for v in order if v not in alone and v not in known for a in v.values} | set(results)
    return [v for v in order if v in alone and v in used and v not in known and v.op != "fill"]


def _flat(problem: Problem) -> list[Any]:
    return [*problem.per_call, *problem.per_step]


def _key(problem: Problem, size: int = 0) -> Any:
    """Return everything that a step may depend on; size: the length of the context that does not count."""
    cell, x = problem.cell, problem.x
    context = tuple(
        (tuple(c.tensor.shape), c.tensor.dtype, "shared") if isinstance(c, Shared)
        else (unit_shape(c, size), c.dtype) if isinstance(c, Tensor) else type(c)
        for c in problem.per_call
    )  # fmt: skip
    per_step = tuple((tuple(c.shape[2:]), c.dtype) for c in problem.per_step)
    state = tuple((tuple(s.shape[1:]), s.dtype) for s in problem.state)
    return (tuple(_tokens(cell)), x.dtype, x.shape[2:], state, context, per_step)


_HIDDEN = {name for name in nn.Module().__dict__ if name != "training"}


def _tokens(module: nn.Module) -> Iterator[Any]:
    """Yield everything about a module that its step may depend on, but not the values of its tensors."""
    kind = type(module)
    yield kind, getattr(kind, "step", None) or kind.forward
    for table in (module._parameters, module._buffers):
        for name, t in table.items():
            yield name, None if t is None else (t.shape, t.dtype)
    for name, value in module.__dict__.items():
        if name not in _HIDDEN:
            yield name, _token(value)
    for name, child in module._modules.items():
        yield name
        if child is not None:
            yield tuple(_tokens(child))


_PLAIN = (int, float, str, bool, type(None), torch.dtype, torch.device, bytes, complex)
_NAMED: tuple[type, ...] = (type, FunctionType, MethodType, ModuleType)


def _token(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if kind in (tuple, list):
        return kind, tuple(_token(v) for v in value)
    if kind is dict:
        return kind, tuple((k, _token(v)) for k, v in value.items())
    if isinstance(value, Tensor):
        return "tensor", value.shape, value.dtype
    if isinstance(value, _NAMED) or not hasattr(value, "__dict__"):
        return kind, id(value)
    return kind, id(value), tuple((k, _token(v)) for k, v in vars(value).items())
