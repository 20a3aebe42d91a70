"""Pass 1, trace: run the step on small real tensors, at two batch sizes, and write down what it does.

What differs between the two runs is the batch: a user's constant cannot be mistaken for it. A third run, where a size
of the context varies from call to call (`varying`), tells in the same way what grows with that. What differs in any
other way (a number that depends on values, other operations) is refused. No gradient is recorded and nothing of the
user's cell is changed: its modules are copied without their tensors' memory, the second time with other values in them.
"""

# torch.nn.Module's tables of tensors are public in all but their names.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from recurra.compiler import vocabulary_activations as _activations  # noqa: F401  # pyright: ignore[reportUnusedImport]  (registers its rules)
from recurra.compiler import vocabulary_choices as _choices  # noqa: F401  # pyright: ignore[reportUnusedImport]  (registers its rules)
from recurra.compiler import vocabulary_points as _points  # noqa: F401  # pyright: ignore[reportUnusedImport]  (registers its rules)
from recurra.compiler import vocabulary_reductions as _reductions  # noqa: F401  # pyright: ignore[reportUnusedImport]  (registers its rules)
from recurra.compiler import vocabulary_shapes as _shapes  # noqa: F401  # pyright: ignore[reportUnusedImport]  (registers its rules)
from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import Dims, Graph, Value, verify
from recurra.compiler.varying import UNIT, actual, varies
from recurra.compiler.vocabulary import Event, Rows, Translator
from recurra.core import Cell, call_step

__all__ = ["Recording", "Spec", "Traced", "named_tensors", "record", "trace"]

_BATCHES = (2, 5)
_SIZES = (3, 7)
"""The two lengths of a context whose length varies."""
_TORCH = str(Path(torch.__file__).parent)
_HERE = str(Path(__file__).parent)


@dataclass(frozen=True)
class Spec:
    """What a tensor that the step is given looks like: its shape without the batch, its dtype, whether it has rows."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    rows: bool = True


@dataclass
class Traced:
    """The step as a graph.

    parameters: the leaf of every parameter, buffer and tensor attribute that the step read, by its name; x, state,
    context: the leaves of its arguments, in order; y and new: what it returned; constants: tensors that it made from
    nothing.
    """

    graph: Graph
    parameters: dict[str, Value]
    x: Value
    state: list[Value]
    context: list[Value]
    y: Value
    new: list[Value]
    constants: dict[Value, Tensor] = field(default_factory=dict[Value, Tensor])


def trace(cell: Cell, x: Spec, state: Sequence[Spec], context: Sequence[Spec]) -> Traced:
    """Trace `cell.step` and return its graph, verified. Raises Unsupported where the step cannot be a graph."""
    first, second = (record(cell, batch, x, state, context, noisy=batch != _BATCHES[0]) for batch in _BATCHES)
    runs = [second]
    if any(varies(n) for spec in context for n in spec.shape):
        runs.append(record(cell, _BATCHES[0], x, state, context, size=_SIZES[1], noisy=True))
    if any(len(first.events) != len(run.events) for run in runs):
        raise Unsupported("control flow", "the step does other operations for another batch or other values")
    specs = dict(zip(_argument_names(state, context), (x, *state, *context), strict=True))
    graph = Graph()
    translator = Translator(graph, x.dtype)
    leaf: dict[str, Value] = {}
    for name, number in first.leaves.items():
        shape, dtype = first.described[number]
        dims: Dims = tuple(shape)
        if name in specs:
            dims = (-1, *specs[name].shape) if specs[name].rows else specs[name].shape
        leaf[name] = translator.leaf(number, name, dims, dtype)
    for number, tensor in first.constants.items():
        for run in runs:
            other = run.constants.get(number)
            if other is None or other.shape != tensor.shape or not torch.equal(other, tensor):
                raise Unsupported("constant", "a tensor made in the step depends on the batch or on values")
        translator.constant(number, tensor)
    for events in zip(first.events, *(run.events for run in runs), strict=True):
        translator.event(_merge(*events))
    outs = [translator.values.get(n) for n in first.outputs]
    if any(o is None for o in outs) or any(first.outputs != run.outputs for run in runs):
        raise Unsupported("output", "the step returns something that is not made from its arguments by operations")
    y, *new = (translator.output(o) for o in outs if o is not None)
    for k, (value, spec) in enumerate(zip(new, state, strict=True)):
        wanted = "real" if spec.dtype == x.dtype else "bool" if spec.dtype == torch.bool else "int"
        if value.shape != (-1, *spec.shape) or value.kind != wanted:
            raise Unsupported("state", f"state {k} comes back as {value.kind} {value.shape}, not as it went in")
    if y.shape[:1] != (-1,):
        raise Unsupported("output", "y has no row for each sequence")
    verify([y, *new])
    parameters = {n: v for n, v in leaf.items() if not n.startswith(("x", "state.", "context."))}
    return Traced(
        graph,
        {n.removeprefix("cell."): v for n, v in parameters.items()},
        leaf["x"],
        [leaf[f"state.{k}"] for k in range(len(state))],
        [leaf[f"context.{k}"] for k in range(len(context))],
        y,
        new,
        translator.constants,
    )


def named_tensors(cell: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor that a step can read: parameters, buffers, tensor attributes, each once, under its first
    name."""
    seen: set[int] = set()
    for prefix, module in _modules(cell, ""):
        for table in (module._parameters, module._buffers, module.__dict__):
            for name, tensor in table.items():
                if isinstance(tensor, Tensor) and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield prefix + name, tensor


def _modules(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    yield prefix, module
    for name, child in module._modules.items():
        if child is not None:
            yield from _modules(child, f"{prefix}{name}.")


class Recording:
    """One recorded run: events, and a number for every tensor in it.

    leaves: the numbers of the cell's tensors, as `cell.<name>`, and of the arguments: `x`, `state.<k>`, `context.<k>`;
    described: shape and dtype by number; constants: what came from outside the step; outputs: y and the new state.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.leaves: dict[str, int] = {}
        self.described: dict[int, tuple[tuple[int, ...], torch.dtype]] = {}
        self.constants: dict[int, Tensor] = {}
        self.outputs: list[int] = []
        self._numbers: dict[int, int] = {}
        self._alive: list[Tensor] = []

    def number(self, t: Tensor) -> int:
        """Return the tensor's number; one never seen before is a constant."""
        known = self._numbers.get(id(t))
        if known is None:
            known = self.add(t)
            self.constants[known] = t.detach().clone()
        return known

    def find(self, t: Tensor) -> int | None:
        """Return the tensor's number, None for one that the run has not seen."""
        return self._numbers.get(id(t))

    def add(self, t: Tensor) -> int:
        """Give a new tensor its number. It is kept alive, so that no other can take its identity."""
        number = len(self._alive)
        self._numbers[id(t)] = number
        self._alive.append(t)
        self.described[number] = (tuple(t.shape), t.dtype)
        return number

    def shared(self, t: Tensor) -> bool:
        """Tell whether the memory of t is that of an argument, or can be seen through another tensor."""
        memory = t.untyped_storage().data_ptr()
        known = {id(v) for v in self._alive if v.untyped_storage().data_ptr() == memory}
        first = self._numbers.get(id(t))
        return len(known) != 1 or first is None or first in self.leaves.values() or first in self.constants


class _Recorder(TorchDispatchMode):
    """Writes down every operation."""

    def __init__(self, run: Recording) -> None:
        super().__init__()
        self._run = run

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True would wrap __torch_dispatch__ in a hook that imports torch._dynamo, which takes seconds.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        where = _where()
        name = func._schema.name.split("::")[1]
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Unsupported(name, "random numbers in the step; draw them in make_context", where)
        if name in ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "item"):
            raise Unsupported(name, "the step turns a tensor into a Python value; use torch.where", where)
        run = self._run
        taken = _replace(args, run.number), _replace(kwargs, run.number)
        out = func(*args, **kwargs)
        results = list(out) if isinstance(out, tuple | list) else [out]
        stopped = not torch.is_grad_enabled()
        written = ("tensor", run.number(args[0])) if func._schema.is_mutable and stopped and args else None
        if func._schema.is_mutable:
            name, func = self._mutation(func, name, args, where)
        numbers = [run.add(r) if isinstance(r, Tensor) else None for r in results]
        shapes = [tuple(r.shape) if isinstance(r, Tensor) else None for r in results]
        dtypes = [r.dtype if isinstance(r, Tensor) else None for r in results]
        many = isinstance(out, tuple | list)
        run.events.append(Event(func, name, *taken, numbers, shapes, dtypes, many, stopped, where, written))
        return out

    def _mutation(self, func: Any, name: str, args: Any, where: str) -> tuple[str, Any]:
        """Return the operation that gives the same without writing, where nobody else can see the writing."""
        target = args[0] if args else None
        twin = getattr(getattr(torch.ops.aten, name[:-1], None), func._overloadname, None)
        if not isinstance(target, Tensor) or not name.endswith("_") or twin is None:
            raise Unsupported(name, "an operation that writes into a given tensor", where)
        if self._run.shared(target):
            raise Unsupported(name, f"in place on an argument or a view; write {name[:-1]} and use its result", where)
        return name[:-1], twin


def record(
    cell: Cell,
    batch: int,
    x: Spec,
    state: Sequence[Spec],
    context: Sequence[Spec],
    size: int = _SIZES[0],
    noisy: bool = False,
) -> Recording:
    """Run `cell.step` once, on copies of the cell's tensors (changed a little, if noisy), and record what it does.

    size: what sizes that vary from call to call stand for.

    Raises Unsupported where it draws random numbers, looks at values, or writes into what it was given.
    """
    run = Recording()
    generator = torch.Generator().manual_seed(batch)
    copies: dict[int, Tensor] = {}
    for name, tensor in named_tensors(cell):
        copy = _copy_tensor(tensor, generator, noisy)
        copies[id(tensor)] = copy
        run.leaves[f"cell.{name}"] = run.add(copy)
    twin = _twin(cell, copies)
    made = [_example(spec, batch, size, generator) for spec in (x, *state, *context)]
    for name, tensor in zip(_argument_names(state, context), made, strict=True):
        run.leaves[name] = run.add(tensor)
    given, carried, rest = made[0], tuple(made[1 : 1 + len(state)]), tuple(made[1 + len(state) :])
    # Grad mode is on (though nothing requires a gradient), so that a no_grad block in the step can be told apart.
    with torch.enable_grad(), _Recorder(run):
        y, new = call_step(twin, given, carried, rest)
    if not isinstance(new, tuple | list) or len(new) != len(state):
        raise Unsupported("state", f"the step must return {len(state)} state tensor(s)")
    for t in (y, *new):
        run.outputs.append(run.number(t))
    return run


def _argument_names(state: Sequence[Spec], context: Sequence[Spec]) -> list[str]:
    return ["x", *(f"state.{k}" for k in range(len(state))), *(f"context.{k}" for k in range(len(context)))]


def _example(spec: Spec, batch: int, size: int, generator: torch.Generator) -> Tensor:
    sizes = [actual(n, size) for n in spec.shape]
    shape = [batch, *sizes] if spec.rows else sizes
    if spec.dtype.is_floating_point:
        return torch.rand(shape, generator=generator, dtype=spec.dtype) * 2 - 1
    if spec.dtype == torch.bool:
        return torch.rand(shape, generator=generator) < 0.5
    return torch.randint(0, 5, shape, generator=generator, dtype=spec.dtype)


def _copy_tensor(tensor: Tensor, generator: torch.Generator, noisy: bool) -> Tensor:
    with torch.no_grad():
        copy = tensor.detach().to("cpu", copy=True)
        if noisy and copy.is_floating_point():
            copy += 0.1 * torch.rand(copy.shape, generator=generator, dtype=copy.dtype)
    return copy


def _twin(module: Any, copies: Mapping[int, Tensor]) -> Any:
    """Copy a tree of modules around other tensors, sharing everything else."""
    twin = object.__new__(type(module))
    swap: Callable[[Any], Any] = lambda t: copies.get(id(t), t)  # noqa: E731
    twin.__dict__ = {
        **{k: swap(v) for k, v in module.__dict__.items()},
        "_parameters": {k: swap(v) for k, v in module._parameters.items()},
        "_buffers": {k: swap(v) for k, v in module._buffers.items()},
        "_modules": {k: None if m is None else _twin(m, copies) for k, m in module._modules.items()},
    }
    return twin


def _where() -> str:
    """Return `file.py:line, in function` of the innermost frame that is neither torch's nor the compiler's."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((_TORCH, _HERE)):
            return f"{Path(name).name}:{frame.f_lineno}, in {frame.f_code.co_name}"
        frame = frame.f_back
    return ""


def _replace(a: Any, number: Callable[[Tensor], int]) -> Any:
    if isinstance(a, Tensor):
        return ("tensor", number(a))
    if isinstance(a, tuple | list):
        return [_replace(b, number) for b in a]
    if isinstance(a, dict):
        return {k: _replace(v, number) for k, v in a.items()}
    return a


def _merge(one: Event, two: Event, third: Event | None = None) -> Event:
    """Make one event of the same event in all runs, with `Rows` where a number is a multiple of the batch."""
    three = one if third is None else third
    if not one.name == two.name == three.name or not one.results == two.results == three.results:
        raise Unsupported(one.name, "the step does other operations for another batch or other values", one.where)

    def merge(a: Any, b: Any, c: Any) -> Any:
        if isinstance(a, tuple | list):
            if any(not isinstance(o, tuple | list) or len(a) != len(o) for o in (b, c)):
                raise Unsupported(one.name, "an argument's length depends on the batch", one.where)
            return type(a)(merge(*parts) for parts in zip(a, b, c, strict=True))
        if isinstance(a, dict):
            return {k: merge(v, b[k], c[k]) for k, v in a.items()}
        if isinstance(a, int) and not isinstance(a, bool) and not a == b == c:
            return _size(one, a, b, c)
        if isinstance(a, float) and any(a != o and not (a != a and o != o) for o in (b, c)):
            raise Unsupported(one.name, f"a number depends on the batch or on values ({a}, {b}, {c})", one.where)
        return a

    shapes = [
        None if s is None else tuple(_dim(d) for d in merge(s, t, u))
        for s, t, u in zip(one.shapes, two.shapes, three.shapes, strict=True)
    ]
    return Event(
        one.function, one.name, merge(one.args, two.args, three.args), merge(one.kwargs, two.kwargs, three.kwargs),
        one.results, shapes, one.dtypes, one.many, one.stopped, one.where, one.written,
    )  # fmt: skip


def _size(event: Event, a: int, b: int, c: int) -> int | Rows:
    """Return a size by what it was for the small batch, the large one, and the small one with a longer context."""
    small, large = _BATCHES
    rows = a != b
    if rows and (a <= 0 or a % small or b != a // small * large or c % small):
        raise Unsupported(event.name, f"a size depends on the batch in another way than n * B ({a}, {b})", event.where)
    short, long = (a // small, c // small) if rows else (a, c)
    slope, rest = divmod(long - short, _SIZES[1] - _SIZES[0])
    if rest:
        raise Unsupported(
            event.name,
            f"a size depends on the context's length S in another way than a * S + b ({a}, {c})",
            event.where,
        )
    n = slope * UNIT + short - slope * _SIZES[0]
    return Rows(n) if rows else n


def _dim(d: Any) -> int:
    return -d.factor if isinstance(d, Rows) else d
