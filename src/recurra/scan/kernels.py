"""The kernels of one plan, and what their calls have to know, found out once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from recurra.compiler.interpret import Evaluation
from recurra.compiler.ir import Value
from recurra.compiler.kernel import Kernel, compile_loops
from recurra.compiler.plan import Plan
from recurra.compiler.products import begin_to_build
from recurra.scan.epilogue import Epilogue
from recurra.scan.workspace import Form

__all__ = ["Compiled", "Kernels"]


class Kernels:
    """The kernels of one plan, built when they are first needed."""

    def __init__(self, plan: Plan, dtype: torch.dtype) -> None:
        self._plan, self._dtype = plan, dtype
        self._built: dict[str, Kernel] = {}

    def __getitem__(self, name: str) -> Kernel:
        """Return "infer", "train" or "backward"; the last two are built together."""
        if name not in self._built:
            p = self._plan
            assert p.backward is not None
            if name == "infer":
                loops = [("infer", p.forward, _own_outputs(p))]
            else:
                written = [v for v, kind in _sources(p) if kind[0] == "result"]
                loops = [("train", p.forward, p.forward.results), ("backward", p.backward, written)]
                begin_to_build(self._dtype)
            self._built.update(compile_loops(p.staged.traced.graph, loops, self._dtype))
        return self._built[name]


class Compiled:
    """How a plan runs by its kernels.

    kernels: those of the plan, or of the one that it was brought to its sizes from; size: the context's length, where
    that varies from call to call. tried: whether they have equalled the loop with gradients (True) or without (False);
    None before the first trial.
    """

    def __init__(self, plan: Plan, dtype: torch.dtype, kernels: Kernels, size: int = 0) -> None:
        self.plan = p = plan
        self.kernels, self.size = kernels, size
        self.tried: bool | None = None
        self._dtype = dtype
        derived, backward = p.derived, p.backward
        assert derived is not None
        assert backward is not None
        self.aliases = _aliases(p)
        """For every output, the state that it is."""
        self.own_outputs = _own_outputs(p)
        self.saved = p.forward.saved
        """What the forward writes for the backward alone."""
        self.states = [self.form(v, 1) for v in p.staged.state]
        held = [c.before for c in (*derived.carried, *derived.histories)]
        self.finals = Evaluation([v for v in derived.finals if v is not None], [*p.staged.loop_once, *held])
        self.call_grads = Evaluation([v for v in derived.call_grads if v is not None], [*p.staged.loop_once, *held])
        sources = _sources(p)
        self.sources = [kind for _, kind in sources]
        """Where every result of the backward is found, if it need not be written."""
        self.written = list(dict.fromkeys(v for v, kind in sources if kind[0] == "result"))
        self.given = [v for v in self.written if v in backward.results[: len(p.step_grads)]]
        """Of those, what the caller gets."""
        self.inner = [v for v in self.written if v not in self.given]
        self.backward, self.derived = backward, derived
        self.carries = [*backward.carried, *backward.histories]
        self.turns = [1] * len(backward.carried) + [-1] * len(backward.histories)
        """Masks for the slots of what is carried."""
        self.runs: dict[Any, Any] = {}
        """What has been prepared, by sizes."""
        self.once = sorted(derived.epilogue_once)
        self.late = sorted(derived.epilogue_steps)
        self._leaves = [*p.staged.leaves, *p.kept, *held]
        self._epilogues: dict[tuple[tuple[int, ...], tuple[int, ...]], Epilogue] = {}

    def form(self, v: Value, slots: int) -> Form:
        """Return the memory that a value takes, wherever its rows stand, and if they are several."""
        dtype = {"real": self._dtype, "int": torch.int64, "bool": torch.bool}[v.kind]
        return Form(slots, tuple(abs(n) for n in v.shape if n != -1), dtype)

    def kept_forms(self, steps: int) -> list[Form]:
        """Return what the forward of a training step keeps: the history of every state, and what it saves."""
        return [Form(steps + 1, f.shape, f.dtype) for f in self.states] + [self.form(v, steps) for v in self.saved]

    def carried_forms(self, steps: int) -> list[Form]:
        """Return what the backward works with: what it carries from step to step, in two slots in turn or with its
        history, and what it writes for the epilogue."""
        forms = [self.form(c.before, 2) for c in self.backward.carried]
        forms += [self.form(c.before, steps + 1) for c in self.backward.histories]
        return forms + [self.form(v, steps) for v in self.inner]

    def epilogue(self, once: Sequence[int], late: Sequence[int]) -> Epilogue:
        """Return what computes the wanted gradients of parameters and of inputs."""
        key = (tuple(once), tuple(late))
        if key not in self._epilogues:
            derived = self.plan.derived
            assert derived is not None
            roots = [*(derived.epilogue_once[k] for k in once), *(derived.epilogue_steps[k] for k in late)]
            self._epilogues[key] = Epilogue(roots, self._leaves)
        return self._epilogues[key]


def _aliases(p: Plan) -> list[int | None]:
    return [next((k for k, n in enumerate(p.new) if n is o), None) for o in p.outputs]


def _own_outputs(p: Plan) -> list[Value]:
    return list(dict.fromkeys(o for o, alias in zip(p.outputs, _aliases(p), strict=True) if alias is None))


def _sources(p: Plan) -> list[tuple[Value, tuple[str, int]]]:
    """Return every result of the backward, and where it is found: in what pool, at which place."""
    assert p.backward is not None
    known = {c.after: ("history", k) for k, c in reversed(list(enumerate(p.backward.histories)))}
    for kind, values in (("saved", p.forward.saved), ("output", _own_outputs(p)), ("new", p.new)):
        for k, v in enumerate(values):
            known.setdefault(v, (kind, k))
    return [(v, known.get(v, ("result", 0))) for v in p.backward.results]
