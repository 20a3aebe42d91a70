"""Running a graph with PyTorch: what lies outside the compiled loop, and the loop itself where nothing is compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from recurra.compiler.ir import Dims, Value, topological
from recurra.compiler.operations import POINTWISE

__all__ = ["Evaluation", "size_of"]


def size_of(shape: Dims, batch: int) -> tuple[int, ...]:
    """Return a shape with the batch put in."""
    return tuple(d if d >= 0 else -d * batch for d in shape)


class Evaluation:
    """Computes `outputs` from `leaves` with PyTorch, for any batch. The order of the work is found once.

    Gradients flow through it as through any PyTorch code.
    """

    def __init__(self, outputs: Sequence[Value], leaves: Iterable[Value]) -> None:
        known = set(leaves)
        self.outputs = list(outputs)
        order = topological(self.outputs, known)
        self.leaves = [v for v in order if v in known]
        users = _users(order, known, self.outputs)
        self._fused = _addmms(order, known, self.outputs)
        self._split = _splits(order, known, users)
        self._spread = _spread(order, known, users, self._fused)
        skipped = {mm for mm, _ in self._fused.values()} | {p for parts in self._split.values() for p in parts[1:]}
        self._steps = [(v, self._runner(v)) for v in order if v not in known and v not in skipped]

    def __call__(self, given: Mapping[Value, Any], batch: int, like: Tensor) -> list[Any]:
        """Return the outputs; `given` holds the leaves, `like` says the device and the floating point type."""
        env: dict[Value, Any] = {v: given[v] for v in self.leaves}
        for v, run in self._steps:
            env[v] = run(env, batch, like)
        return [env[v] for v in self.outputs]

    def _runner(self, v: Value) -> Callable[[dict[Value, Any], int, Tensor], Any]:
        fused = self._fused.get(v)
        if fused is not None:
            mm, bias = fused
            a, w = mm.values
            return lambda env, batch, like: torch.addmm(env[bias], env[a], env[w])
        if v in self._split:
            return _cut(v.values[0], self._split[v])
        if v in self._spread:
            (source,) = v.values
            return lambda env, batch, like: env[source]
        return _runner(v)


def _runner(v: Value) -> Callable[[dict[Value, Any], int, Tensor], Any]:
    op, args, attrs, shape = v.op, v.args, v.attrs, v.shape
    if op in POINTWISE:
        return _pointwise(v)
    if op == "fill":
        return lambda env, batch, like: torch.full(
            size_of(shape, batch), attrs[0], dtype=_dtype(v.kind, like), device=like.device
        )
    if op == "mm":
        pairs = list(zip(v.values[::2], v.values[1::2], strict=True))
        return lambda env, batch, like: reduce(torch.add, [env[a] @ env[w] for a, w in pairs])
    if op == "cat":
        return lambda env, batch, like: torch.cat([env[p] for p in v.values], attrs[0])
    if op == "aten":
        function, build = attrs[0], attrs[1]
        return lambda env, batch, like: function(
            *build.args(env, v.values, batch), **build.kwargs(env, v.values, batch)
        )
    (source,) = (a for a in args if isinstance(a, Value))
    if op == "reshape":
        return lambda env, batch, like: env[source].reshape(size_of(shape, batch))
    if op == "expand":
        return lambda env, batch, like: env[source].expand(size_of(shape, batch))
    if op == "permute":
        return lambda env, batch, like: env[source].permute(attrs[0])
    if op == "slice":
        return _slice(source, shape[attrs[0]], *attrs)
    if op == "embed":
        return _embed(source, shape, *attrs)
    if op in ("sum", "amax"):
        function: Any = torch.sum if op == "sum" else torch.amax
        return lambda env, batch, like: function(env[source], attrs[0], keepdim=True)
    if op == "stop":
        return lambda env, batch, like: env[source].detach()
    assert op == "part", op
    return lambda env, batch, like: env[source][attrs[0]]


def _pointwise(v: Value) -> Callable[[dict[Value, Any], int, Tensor], Any]:
    run = POINTWISE[v.op].run
    a = v.args
    if v.op == "to_real":
        (source,) = v.values
        return lambda env, batch, like: env[source].to(like.dtype)
    if len(a) == 1 and isinstance(a[0], Value):
        (source,) = v.values
        return lambda env, batch, like: run(env[source])
    if len(a) == 2 and all(isinstance(q, Value) for q in a):
        first, second = v.values
        return lambda env, batch, like: run(env[first], env[second])
    if v.op == "where":
        chooser = v.values[0]
        return lambda env, batch, like: run(
            env[chooser],
            *(env[q] if isinstance(q, Value) else torch.full((), q, dtype=_dtype(v.kind, like), device=like.device)
              for q in a[1:])
        )  # fmt: skip
    tensors_only = v.op in ("maximum", "minimum", "and", "or", "xor") or not isinstance(a[0], Value)
    if not tensors_only:
        return lambda env, batch, like: run(*(env[q] if isinstance(q, Value) else q for q in a))
    return lambda env, batch, like: run(
        *(env[q] if isinstance(q, Value) else torch.full((), q, dtype=_number(q, like), device=like.device) for q in a)
    )


def _slice(source: Value, length: int, dim: int, start: int, step: int) -> Callable[..., Any]:
    if step < 0:
        return lambda env, batch, like: (
            env[source]
            .narrow(dim, start + (length - 1) * step, -(length - 1) * step + 1)[
                (slice(None),) * dim + (slice(None, None, -step),)
            ]
            .flip(dim)
        )
    key = (slice(None),) * dim + (slice(start, start + (length - 1) * step + 1, step),)
    return lambda env, batch, like: env[source][key]


def _embed(source: Value, shape: Dims, dim: int, start: int, step: int) -> Callable[..., Any]:
    length = source.shape[dim]
    low, high = sorted((start, start + (length - 1) * step))
    key = (slice(None),) * dim + (slice(low, high + 1, abs(step)),)

    def run(env: dict[Value, Any], batch: int, like: Tensor) -> Tensor:
        part = env[source]
        whole = part.new_zeros(size_of(shape, batch))
        whole[key] = part if step > 0 else part.flip(dim)
        return whole

    return run


def _addmms(order: Sequence[Value], leaves: set[Value], outputs: Sequence[Value]) -> dict[Value, tuple[Value, Value]]:
    """Find sums of one matrix product, used nowhere else, and one vector: torch computes each in one pass."""
    uses: dict[Value, int] = dict.fromkeys(outputs, 1)
    for v in order:
        if v not in leaves:
            for a in v.values:
                uses[a] = uses.get(a, 0) + 1
    found: dict[Value, tuple[Value, Value]] = {}
    for v in order:
        if v in leaves or v.op != "add" or len(v.values) != 2:
            continue
        for mm, bias in (v.values, v.values[::-1]):
            if mm.op == "mm" and mm not in leaves and uses[mm] == 1 and len(mm.args) == 2 and bias.op != "mm":
                found[v] = (mm, bias)
                break
    return found


def _users(order: Sequence[Value], leaves: set[Value], outputs: Sequence[Value]) -> dict[Value, list[Value | None]]:
    """Return by whom each value is used; None stands for the caller."""
    users: dict[Value, list[Value | None]] = {v: [None] for v in outputs}
    for v in order:
        if v not in leaves:
            for a in v.values:
                users.setdefault(a, []).append(v)
    return users


def _splits(
    order: Sequence[Value], leaves: set[Value], users: Mapping[Value, Sequence[Value | None]]
) -> dict[Value, list[Value]]:
    """Find values that are used in slices only, side by side: one split has one gradient, slices have one each.

    Returns the slices by the one that is computed first, which is the first of them."""
    found: dict[Value, list[Value]] = {}
    for v in order:
        parts = [u for u in dict.fromkeys(users.get(v, [])) if u is not None and u.op == "slice" and u not in leaves]
        if len(parts) < 2 or len(parts) != len(users[v]) or len({(p.attrs[0], p.attrs[2]) for p in parts}) > 1:
            continue
        dim, _, step = parts[0].attrs
        ends = [0, *(p.attrs[1] + p.shape[dim] for p in sorted(parts, key=lambda p: p.attrs[1]))]
        if step == 1 and ends[-1] == v.shape[dim] and sorted(p.attrs[1] for p in parts) == ends[:-1]:
            parts.sort(key=order.index)
            found[parts[0]] = parts
    return found


def _cut(source: Value, parts: Sequence[Value]) -> Callable[[dict[Value, Any], int, Tensor], Any]:
    dim = parts[0].attrs[0]
    by_place = sorted(parts, key=lambda p: p.attrs[1])
    sizes = [p.shape[dim] for p in by_place]

    def run(env: dict[Value, Any], batch: int, like: Tensor) -> Tensor:
        env.update(zip(by_place, env[source].split(sizes, dim), strict=True))
        return env[parts[0]]

    return run


def _spread(
    order: Sequence[Value],
    leaves: set[Value],
    users: Mapping[Value, Sequence[Value | None]],
    fused: Mapping[Value, tuple[Value, Value]],
) -> set[Value]:
    """Find what need not be spread out over its new dimensions, since torch does that where it is used."""

    def spread(user: Value | None, v: Value) -> bool:
        if user is None:
            return False
        if user in fused:
            return fused[user][1] is v
        return user.op in POINTWISE and any(a.op != "expand" or a in leaves for a in user.values)

    return {v for v in order if v.op == "expand" and v not in leaves and all(spread(u, v) for u in users[v])}


def _dtype(kind: str, like: Tensor) -> torch.dtype:
    return {"real": like.dtype, "int": torch.int64, "bool": torch.bool}[kind]


def _number(q: object, like: Tensor) -> torch.dtype:
    return torch.bool if isinstance(q, bool) else torch.int64 if isinstance(q, int) else like.dtype
