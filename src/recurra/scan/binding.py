"""A cell bound to its program: the least that a call has to check to know that all is as it was at the last one."""

# Whether a transform or a mode of torch is active, and torch.nn.Module's tables, are told by nothing public.
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false, reportPrivateImportUsage=false
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter, is_, itemgetter
from types import FunctionType, MethodType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from recurra.compiler.calls import tools
from recurra.core import Cell, State, split_shape

__all__ = ["Binding", "Guard", "Snapshot", "bind", "bound", "mode", "plain"]


class Snapshot:
    """What some modules hold at one moment: attributes, parameters, buffers, children, each by identity.

    The modules themselves are not kept alive. steady: whether all of it is such that it cannot change without
    becoming another object, but for tensors.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        modules = list(modules)
        self._modules = [ref(m) for m in modules]
        self.modules = [(r, type(m)) for r, m in zip(self._modules, modules, strict=True)]
        """Every module, and its type."""
        self.tables: list[tuple[dict[str, Any], int, list[tuple[str, Any]]]] = []
        """Every table of theirs, its size, and what of it counts."""
        self._attributes: list[tuple[dict[str, Any], int, Any]] = []
        self._tables: list[dict[str, Any]] = []
        self.steady = True
        for m in modules:
            names = [n for n in m.__dict__ if n not in _HIDDEN]
            self.steady &= all(_unchangeable(m.__dict__[n]) for n in names)
            self._attributes.append((m.__dict__, len(m.__dict__), itemgetter("training", "training", *names)))
            self.tables.append((m.__dict__, len(m.__dict__), [(n, m.__dict__[n]) for n in ("training", *names)]))
            self._tables += [m._parameters, m._buffers, m._modules]
        self.tables += [(t, len(t), list(t.items())) for t in self._tables]
        self._empty = [t for t in self._tables if not t]
        self._tables = [t for t in self._tables if t]
        self._held = self._now()

    def holds(self) -> bool:
        """Tell whether everything is still the same object."""
        now = self._now()
        return len(now) == len(self._held) and all(map(is_, now, self._held))

    def _now(self) -> list[Any]:
        now: list[Any] = [type(m()) for m in self._modules]
        if any(self._empty):
            return now
        for attributes, size, get in self._attributes:
            if len(attributes) != size:
                return now
            now += get(attributes)
        for table in self._tables:
            now += table.values()
        return now


class Guard:
    """Tells whether a snapshot holds, the steps of some bound cells and the kinds of their tensors are as they were,
    and no mode of PyTorch is active that has to see single operations."""

    def __init__(self, snapshot: Snapshot, bindings: Sequence[Binding]) -> None:
        self._snapshot, self._bindings = snapshot, bindings
        self._quick: Any = None

    def __call__(self) -> bool:
        """Tell it."""
        if self._quick is not None:
            return self._quick()
        found = tools()
        if found is not None:
            self._quick = self.within(found)
        return mode() is None and self._snapshot.holds() and all(b.intact() for b in self._bindings)

    def within(self, found: Any, kinds: bool = True) -> Any:
        """Return the same as a built-in function of `tools`. kinds: whether to look at those of tensors too."""
        steps = list({type(b.cell): b.step for b in self._bindings}.items())
        owned = [b for b in self._bindings if kinds]
        forms = [(t, *form) for b in owned for t, form in zip(b.tensors, b.forms, strict=True)]
        modes = [entry[:3] for entry in _MODES if entry[0] is not torch.compiler.is_compiling]  # who calls has asked
        return found.make_guard(modes, self._snapshot.modules, self._snapshot.tables, steps, forms, torch.strided)


class Binding:
    """A cell without context, and the program that is built and tried for it, for inputs of `dtype`.

    input_shape: as the cell's; width: entries of its state; own: the cell's tensors by name; direct: whether no more
    than `constants` is computed around the loop; zeros: whether the initial state is that of every cell, zeros;
    nothing: that state, for a kernel.
    """

    def __init__(self, cell: Cell, program: Any, own: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        self.program = program
        self.own = dict(own)
        self.input_shape = cell.input_shape
        self.width = sum(math.prod(shape) for shape, _ in map(split_shape, cell.state_shapes()))
        self.dtype = dtype
        self.tensors = list(own.values())
        staged = program.staged
        self.direct = staged.loop_steps == [staged.traced.x] and staged.after is None
        self._leaves = program.leaves(own)
        made = set(staged.once)
        self._ready = None if made else [self._leaves[v] for v in staged.loop_once]
        self.zeros = type(cell).initial_state is Cell.initial_state
        self._like = torch.empty(0, dtype=dtype)
        self.nothing = [None] * len(staged.state)
        kinds = {"real": dtype, "int": torch.int64, "bool": torch.bool}
        self._states = [kinds[v.kind] for v in staged.state]
        self.step = type(cell).step
        self._cell = ref(cell)
        self._snapshot = Snapshot(cell.modules())
        self.forms = [(t.dtype, t.shape) for t in self.tensors]
        self.steady = self._snapshot.steady

    @property
    def cell(self) -> Cell:
        """The cell, which a binding does not keep alive."""
        cell = self._cell()
        assert cell is not None
        return cell

    def constants(self) -> list[Tensor]:
        """Return what the loop reads of the cell's tensors and of what is made of them, in its order."""
        if self._ready is not None:
            return self._ready
        staged = self.program.staged
        made = self.program.once(self._leaves, 1, self._like)
        known = {**self._leaves, **dict(zip(staged.once, made, strict=True))}
        return [known[v] for v in staged.loop_once]

    def fits(self, x: Tensor, state: State | None) -> bool:
        """Tell whether the cell, its tensors and the kinds of these are as they were when it was bound."""
        if type(x) is not Tensor or x.dtype is not self.dtype or not plain(x):
            return False
        for s, dtype in zip(state or (), self._states, strict=False):
            if type(s) is not Tensor or s.dtype is not dtype or not plain(s):
                return False
        return self._snapshot.holds() and self.intact() and mode() is None

    def intact(self) -> bool:
        """Tell whether the cell's step, and the kinds of its tensors, are as they were."""
        if type(self.cell).step is not self.step:
            return False
        for t, (dtype, shape) in zip(self.tensors, self.forms, strict=True):
            if t.dtype is not dtype or t.shape != shape or not plain(t):
                return False
        return True

    def trains(self, x: Tensor, state: State | None) -> bool:
        """Tell whether gradients may be asked for."""
        if not torch.is_grad_enabled():
            return False
        return any(t.requires_grad for t in (x, *self.tensors, *(state or ())))


def bind(binding: Binding) -> None:
    """Remember how a cell runs."""
    if binding.steady:
        _bindings[binding.cell] = binding


def bound(cell: Cell) -> Binding | None:
    """Return a cell's binding."""
    return _bindings.get(cell)


def mode() -> str | None:
    """Return which mode or transform of PyTorch is active that has to see single operations; None if there is none."""
    for function, arguments, usual, reason in _MODES:
        if function(*arguments) != usual:
            return reason
    return None


_MODES: list[tuple[Callable[..., Any], tuple[Any, ...], Any, str]] = [
    (torch.compiler.is_compiling, (), False, "the call is being traced by PyTorch"),
    (torch._C._get_tracing_state, (), None, "the call is being traced by PyTorch"),
    (torch._C._functorch.peek_interpreter_stack, (), None, "a torch.func transform is active"),
    (attrgetter("_current_level"), (forward_ad,), -1, "forward-mode differentiation is active"),
    (torch._C._len_torch_dispatch_stack, (), 0, "a mode that watches PyTorch's operations is active"),
    (torch._C._len_torch_function_stack, (), 0, "a mode that watches PyTorch's operations is active"),
    (torch.is_autocast_enabled, ("cpu",), False, "autocast is active"),
]
"""What to ask for a mode, what it answers where there is none, and what it is."""

_bindings: WeakKeyDictionary[Cell, Binding] = WeakKeyDictionary()
_HIDDEN = set(nn.Module().__dict__)
_FIXED: tuple[type, ...] = (
    int, float, str, bool, type(None), bytes, complex, torch.dtype, torch.device, torch.Size, type, FunctionType,
    MethodType, ModuleType,
)  # fmt: skip


def _unchangeable(value: Any) -> bool:
    if type(value) is tuple:
        return all(map(_unchangeable, value))
    return isinstance(value, Tensor) or type(value) in _FIXED or isinstance(value, type)


def plain(t: Tensor) -> bool:
    """Tell whether a tensor lies in the processor's memory as it is."""
    return t.is_cpu and t.layout is torch.strided and not t.is_neg()
