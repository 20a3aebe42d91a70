"""The kernels of one program, and what their calls have to know, found out once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from recurra.compiler.interpret import Evaluation
from recurra.compiler.ir import Value
from recurra.compiler.kernel import Kernel, compile_loops
from recurra.compiler.plan import Plan
from recurra.scan.epilogue import Epilogue
from recurra.scan.workspace import Form

__all__ = ["Compiled"]


class Compiled:
    """The kernels of one plan, built when they are first needed.

    tried: whether they have equalled the loop with gradients (True) or without (False); None before the first trial.
    """

    def __init__(self, plan: Plan, dtype: torch.dtype) -> None:
        self.plan = p = plan
        self.tried: bool | None = None
        self._dtype = dtype
        self._kernels: dict[str, Kernel] = {}
        derived, backward = p.derived, p.backward
        assert derived is not None
        assert backward is not None
        self.aliases = [next((k for k, n in enumerate(p.new) if n is o), None) for o in p.outputs]
        """For every output, the state that it is."""
        self.own_outputs = list(dict.fromkeys(o for o, a in zip(p.outputs, self.aliases, strict=True) if a is None))
        self.saved = p.forward.saved
        self.states = [self.form(v, 1) for v in p.staged.state]
        held = [c.before for c in (*derived.carried, *derived.histories)]
        self.finals = Evaluation([v for v in derived.finals if v is not None], [*p.staged.loop_once, *held])
        self.call_grads = Evaluation([v for v in derived.call_grads if v is not None], [*p.staged.loop_once, *held])
        histories = [c.after for c in backward.histories]
        known = {v: ("history", k) for k, v in enumerate(histories)}
        known |= {v: ("saved", k) for k, v in enumerate(self.saved) if v not in known}
        known |= {v: ("output", k) for k, v in enumerate(self.own_outputs) if v not in known}
        known |= {v: ("new", k) for k, v in enumerate(p.new) if v not in known}
        self.sources = [known.get(v, ("result", 0)) for v in backward.results]
        """Where every result of the backward is found, if it need not be written."""
        results = zip(backward.results, self.sources, strict=True)
        self.written = list(dict.fromkeys(v for v, (kind, _) in results if kind == "result"))
        self.given = set(backward.results[: len(p.step_grads)])
        """Results of the backward that the caller gets."""
        self.once = sorted(derived.epilogue_once)
        self.late = sorted(derived.epilogue_steps)
        self._leaves = [*p.staged.leaves, *p.kept, *held]
        self._epilogues: dict[tuple[tuple[int, ...], tuple[int, ...]], Epilogue] = {}

    def form(self, v: Value, slots: int) -> Form:
        """Return the memory that a value takes, wherever its rows stand, and if they are several."""
        dtype = {"real": self._dtype, "int": torch.int64, "bool": torch.bool}[v.kind]
        return Form(slots, tuple(abs(n) for n in v.shape if n != -1), dtype)

    def memory(self, steps: int) -> list[Form]:
        """Return what the forward of a training step keeps: the history of every state, and what it saves."""
        return [f._replace(slots=steps + 1) for f in self.states] + [self.form(v, steps) for v in self.saved]

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

    def epilogue(self, once: Sequence[int], late: Sequence[int]) -> Epilogue:
        """Return what computes the wanted gradients of parameters and of inputs."""
        key = (tuple(once), tuple(late))
        if key not in self._epilogues:
            derived = self.plan.derived
            assert derived is not None
            roots = [*(derived.epilogue_once[k] for k in once), *(derived.epilogue_steps[k] for k in late)]
            self._epilogues[key] = Epilogue(roots, self._leaves)
        return self._epilogues[key]
