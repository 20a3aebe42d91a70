"""Operations on shapes, reductions and matrix products for random cells."""

from __future__ import annotations

from random_cells.pointwise import Operation
from random_cells.writer import Shape, Term, Writer, count

__all__ = ["OPERATIONS"]

_MOST = 12
"""No dimension grows beyond this."""


def _linear(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    n, m = a.shape[-1], w.integer(1, 9)
    module = w.module("linear", f"nn.Linear({n}, {m}{', bias=False' if w.chance(3) else ''})")
    return w.emit("linear", f"{module}({w.text(a)})", (*a.shape[:-1], m), bound=_after(a))


def _linear_sliced(w: Writer) -> Term | None:
    """F.linear with some rows or some columns of a weight that may be used elsewhere too."""
    a = w.pick(lambda t: len(t.shape) == 1)
    if a is None:
        return None
    n, m, k = a.shape[0], w.integer(1, 7), w.integer(0, 3)
    by_rows = w.chance(2)
    weight = w.parameter((m + k, n) if by_rows else (m, n + k), plain=True)
    taken = f"{weight}[{k}:]" if by_rows else f"{weight}[:, :{n}]"
    bias = f", {w.parameter((m,))}" if w.chance(2) else ""
    return w.emit("linear_sliced", f"F.linear({w.text(a)}, {taken}{bias})", (m,), bound=_after(a))


def _linear_function(w: Writer) -> Term | None:
    """A weight that is masked, squashed or turned before it is used."""
    a = w.pick(lambda t: len(t.shape) == 1)
    if a is None:
        return None
    n, m = a.shape[0], w.integer(1, 9)
    kind = w.integer(0, 4)
    if kind == 0:
        text = f"F.linear({w.text(a)}, {w.parameter((m, n), plain=True)} * {w.mask((m, n))})"
    elif kind == 1:
        text = f"{w.text(a)} @ torch.tanh({w.parameter((n, m), plain=True)})"
    elif kind == 2:
        text = f"F.linear({w.text(a)}, {w.parameter((n, m), plain=True)}.t())"
    elif kind == 3:
        text = (
            f"torch.addmm({w.parameter((m,), plain=True)}, {w.text(a)}, {w.parameter((n, m), plain=True)}, alpha=0.8)"
        )
    else:
        text = f"{w.text(a)} @ torch.softmax({w.parameter((n, m), plain=True)}, 0)"
    return w.emit("linear_function", text, (m,), bound=_after(a))


def _linear_joined(w: Writer) -> Term | None:
    """W [a; b]."""
    a, b = w.pick(lambda t: len(t.shape) == 1), w.pick(lambda t: len(t.shape) == 1)
    if a is None or b is None:
        return None
    n, m = a.shape[0] + b.shape[0], w.integer(1, 9)
    module = w.module("linear", f"nn.Linear({n}, {m})")
    return w.emit("linear_joined", f"{module}(torch.cat([{w.text(a)}, {w.text(b)}], -1))", (m,), bound=_after(a))


def _matrix(w: Writer) -> Term | None:
    """Return a matrix, made from a vector where there is none."""
    found = w.pick(lambda t: len(t.shape) == 2)
    if found is not None:
        return found
    a = w.pick(lambda t: len(t.shape) == 1 and t.shape[0] <= 6)
    b = w.pick(lambda t: len(t.shape) == 1 and t.shape[0] <= 6)
    if a is None or b is None:
        return None
    text = f"{w.text(a, 2)}.unsqueeze(2) * {w.text(b, 2)}.unsqueeze(1)"
    return w.emit("outer", text, (*a.shape, *b.shape), bound=4)


def _outer(w: Writer) -> Term | None:
    a = w.pick(lambda t: len(t.shape) == 1 and t.shape[0] <= 6)
    b = w.pick(lambda t: len(t.shape) == 1 and t.shape[0] <= 6)
    if a is None or b is None:
        return None
    text = w.one_of(("{0}[:, :, None] * {1}[:, None, :]", "torch.bmm({0}.unsqueeze(2), {1}.unsqueeze(1))"))
    return w.emit("outer", text.format(w.text(a, 2), w.text(b, 2)), (*a.shape, *b.shape), bound=4)


def _bmm_vector(w: Writer) -> Term | None:
    m = _matrix(w)
    if m is None:
        return None
    v = w.pick(lambda t: len(t.shape) == 1)
    if v is None:
        return None
    left = w.chance(2)
    n, k = m.shape
    vector = w.fit(v, (n,) if left else (k,), 2)
    if left:
        return w.emit("bmm_vector", f"torch.bmm({vector}.unsqueeze(1), {w.text(m, 2)}).squeeze(1)", (k,), bound=4)
    text = w.one_of(("torch.bmm({0}, {1}.unsqueeze(2)).squeeze(2)", "torch.matmul({0}, {1}.unsqueeze(-1))[:, :, 0]"))
    return w.emit("bmm_vector", text.format(w.text(m, 2), vector), (n,), bound=4)


def _bmm(w: Writer) -> Term | None:
    m = _matrix(w)
    if m is None:
        return None
    other = w.pick(lambda t: len(t.shape) == 2 and t.shape[0] == m.shape[1])
    if other is None:
        text, shape = f"torch.bmm({w.text(m, 1)}, {w.text(m, 1)}.transpose(1, 2))", (m.shape[0], m.shape[0])
    else:
        text, shape = f"torch.bmm({w.text(m, 1)}, {w.text(other, 1)})", (m.shape[0], other.shape[1])
    if w.chance(4):
        text = f"torch.baddbmm({w.parameter((1, *shape), plain=True)}, {text.removeprefix('torch.bmm(')}"
    return w.emit("bmm", text, shape, bound=4)


def _shared_product(w: Writer) -> Term | None:
    """A matrix with rows times a parameter, from either side."""
    m = _matrix(w)
    if m is None:
        return None
    k = w.integer(1, 6)
    if w.chance(2):
        text, shape = f"torch.matmul({w.parameter((k, m.shape[0]), plain=True)}, {w.text(m)})", (k, m.shape[1])
    else:
        text, shape = f"{w.text(m)} @ {w.parameter((m.shape[1], k), plain=True)}", (m.shape[0], k)
    return w.emit("shared_product", text, shape, bound=4)


def _reduce(name: str) -> Operation:
    def write(w: Writer) -> Term | None:
        a = w.pick(lambda t: bool(t.shape))
        if a is None:
            return None
        dim = w.integer(1, len(a.shape))
        keep = w.chance(2)
        shape = (*a.shape[: dim - 1], *((1,) if keep else ()), *a.shape[dim:])
        written = dim if w.chance(2) else dim - len(a.shape) - 1
        limit = 4.0 if name != "sum" else 4.0 / a.shape[dim - 1] ** 0.5
        if name in ("max", "min"):
            return w.emit(name, f"{w.text(a)}.{name}({written}, keepdim={keep})[0]", shape, bound=4)
        if name in ("var", "std") and a.shape[dim - 1] < 2:
            return None
        extra = " + 0.05" if name == "std" else ""
        return w.emit(name, _REDUCTIONS[name].format(w.text(a, limit), written, keep) + extra, shape, bound=4)

    return write


_REDUCTIONS = {
    "sum": "{0}.sum({1}, keepdim={2})",
    "mean": "{0}.mean({1}, keepdim={2})",
    "amax": "torch.amax({0}, {1}, keepdim={2})",
    "amin": "{0}.amin({1}, keepdim={2})",
    "logsumexp": "torch.logsumexp({0}, {1}, keepdim={2})",
    "var": "{0}.var({1}, keepdim={2})",
    "std": "torch.sqrt({0}.var({1}, unbiased=False, keepdim={2}) + 0.1)",
    "norm": "torch.linalg.vector_norm({0}, dim={1}, keepdim={2})",
    "max": "",
    "min": "",
}


def _softmax(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    dim = w.integer(1, len(a.shape))
    text = w.one_of((f"torch.softmax({w.text(a)}, {dim})", f"F.softmax(2 * {w.text(a)}, dim={dim - len(a.shape) - 1})"))
    return w.emit("softmax", text, a.shape)


def _log_softmax(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    return w.emit("log_softmax", f"torch.log_softmax({w.text(a)}, {w.integer(1, len(a.shape))})", a.shape, bound=5)


def _layer_norm(w: Writer) -> Term | None:
    """Over a vector, or over the last dimension of a matrix; epsilon is large, so that nothing is blown up."""
    a = w.pick(lambda t: bool(t.shape) and t.shape[-1] > 1)
    if a is None:
        return None
    n = a.shape[-1]
    kind = w.integer(0, 3)
    if kind == 0:
        text = f"{w.module('norm', f'nn.LayerNorm({n}, eps=0.01)')}({w.text(a)})"
    elif kind == 1:
        text = f"F.layer_norm({w.text(a)}, ({n},), {w.parameter((n,), plain=True)}, None, 0.01)"
    elif kind == 2:
        text = f"{w.module('norm', f'nn.RMSNorm({n}, eps=0.01)')}({w.text(a)})"
    else:
        sizes = ", ".join(map(str, a.shape))
        text = f"F.layer_norm({w.text(a)}, ({sizes},), eps=0.01)"
    return w.emit("layer_norm", text, a.shape, bound=2.5)


def _attention(w: Writer) -> Term | None:
    """A softmax over the rows of a matrix, and their weighted mean."""
    m = _matrix(w)
    if m is None:
        return None
    q = w.pick(lambda t: len(t.shape) == 1)
    if q is None:
        return None
    n, k = m.shape
    query, memory = w.fit(q, (k,), 2), w.text(m, 2)
    weights = w.emit("softmax", f"torch.softmax(torch.bmm({memory}, {query}.unsqueeze(2)).squeeze(2), 1)", (n,))
    return w.emit("attention", f"torch.bmm({weights.name}.unsqueeze(1), {memory}).squeeze(1)", (k,), bound=2)


def _slice(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape) and t.shape[-1] > 1)
    if a is None:
        return None
    n = a.shape[-1]
    start = w.integer(0, n - 1)
    end = w.integer(start + 1, n)
    kind = w.integer(0, 2)
    if kind == 2 and n > 2:
        return w.emit("slice", f"{w.text(a)}[..., {start}::2]", (*a.shape[:-1], (n - start + 1) // 2), bound=a.bound)
    text = f"{w.text(a)}[..., {start}:{end}]" if kind == 0 else f"{w.text(a)}.narrow(-1, {start}, {end - start})"
    return w.emit("slice", text, (*a.shape[:-1], end - start), bound=a.bound)


def _parts(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape) and t.shape[-1] > 1)
    if a is None:
        return None
    n = a.shape[-1]
    kind = w.one_of(("chunk", "split", "split_sizes", "unbind"))
    if kind == "chunk":
        sizes = [-(-n // 2), n - -(-n // 2)]
        text = f"{w.text(a)}.chunk(2, -1)"
    elif kind == "split":
        sizes = [2] * (n // 2) + [1] * (n % 2)
        text = f"torch.split({w.text(a)}, 2, -1)"
    elif kind == "split_sizes":
        first = w.integer(1, n - 1)
        sizes = [first, n - first]
        text = f"{w.text(a)}.split([{first}, {n - first}], dim=-1)"
    else:
        made = w.emit_many(kind, f"{w.text(a)}.unbind(-1)", [a.shape[:-1]] * n, bound=a.bound)
        return made[w.integer(0, n - 1)]
    shapes: list[Shape] = [(*a.shape[:-1], size) for size in sizes]
    made = w.emit_many("split" if kind == "split_sizes" else kind, text, shapes, bound=a.bound)
    return made[w.integer(0, len(made) - 1)]


def _cat(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape) and t.shape[-1] < _MOST)
    if a is None:
        return None
    b = w.pick(lambda t: t.shape[:-1] == a.shape[:-1] and len(t.shape) == len(a.shape) and t.shape[-1] < _MOST)
    if b is None:
        return None
    n = a.shape[-1] + b.shape[-1]
    if a.shape == b.shape and w.chance(3):
        dim = w.integer(1, len(a.shape) + 1)
        shape = (*a.shape[: dim - 1], 2, *a.shape[dim - 1 :])
        return w.emit("stack", f"torch.stack([{w.text(a)}, {w.text(b)}], {dim})", shape, bound=4)
    return w.emit("cat", f"torch.cat([{w.text(a)}, {w.text(b)}], -1)", (*a.shape[:-1], n), bound=4)


def _select(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    dim = w.integer(1, len(a.shape))
    index = w.integer(-a.shape[dim - 1], a.shape[dim - 1] - 1)
    shape = (*a.shape[: dim - 1], *a.shape[dim:])
    return w.emit("select", f"{w.text(a)}.select({dim}, {index})", shape, bound=a.bound)


def _unsqueeze(w: Writer) -> Term | None:
    """A new dimension, along which another term or a parameter is spread out."""
    a = w.pick(lambda t: len(t.shape) == 1)
    if a is None:
        return None
    n, k = a.shape[0], w.integer(1, 4)
    if w.chance(2):
        return w.emit("unsqueeze", f"{w.text(a, 2)}.unsqueeze(1) + {w.parameter((k, n))}", (k, n), bound=3)
    return w.emit("unsqueeze", f"{w.text(a, 2)}[:, :, None] * {w.parameter((n, k))}", (n, k), bound=2)


def _expand(w: Writer) -> Term | None:
    a = w.pick(lambda t: len(t.shape) == 1)
    if a is None:
        return None
    n, k = a.shape[0], w.integer(2, 4)
    if w.chance(2):
        return w.emit("expand", f"{w.text(a)}.repeat(1, {k})", (n * k,), bound=a.bound)
    return w.emit("expand", f"{w.text(a)}.unsqueeze(1).expand(-1, {k}, -1)", (k, n), bound=a.bound)


def _permute(w: Writer) -> Term | None:
    m = _matrix(w)
    if m is None:
        return None
    text = w.one_of((f"{w.text(m)}.permute(0, 2, 1)", f"{w.text(m)}.transpose(-1, -2)", f"{w.text(m)}.mT"))
    return w.emit("permute", text, m.shape[::-1], bound=m.bound)


def _reshape(w: Writer) -> Term | None:
    a = w.pick(lambda t: count(t.shape) > 1)
    if a is None:
        return None
    n = count(a.shape)
    if len(a.shape) > 1:
        return w.emit("reshape", f"{w.text(a)}.flatten(1)", (n,), bound=a.bound)
    sizes = [k for k in range(1, n + 1) if n % k == 0]
    k = sizes[w.integer(0, len(sizes) - 1)]
    text = w.one_of(("{0}.reshape(x.shape[0], {1}, {2})", "{0}.unflatten(-1, ({1}, {2}))"))
    return w.emit("reshape", text.format(w.text(a), k, n // k), (k, n // k), bound=a.bound)


def _gather(w: Writer) -> Term | None:
    """Entries taken by constant numbers, perhaps some of them twice."""
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    n, k = a.shape[-1], w.integer(1, 6)
    index = w.buffer(f"torch.tensor([{', '.join(str(w.integer(0, n - 1)) for _ in range(k))}])")
    text = w.one_of((f"{w.text(a)}[..., {index}]", f"{w.text(a)}.index_select(-1, {index})"))
    return w.emit("gather", text, (*a.shape[:-1], k), bound=a.bound)


def _flip(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape))
    return None if a is None else w.emit("flip", f"{w.text(a)}.flip(-1)", a.shape, bound=a.bound)


def _roll(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    return w.emit("roll", f"torch.roll({w.text(a)}, {w.integer(-2, 3)}, -1)", a.shape, bound=a.bound)


def _pad(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape) and t.shape[-1] < _MOST - 3)
    if a is None:
        return None
    left, right = w.integer(0, 2), w.integer(0, 2)
    return w.emit(
        "pad", f"F.pad({w.text(a)}, ({left}, {right}))", (*a.shape[:-1], a.shape[-1] + left + right), bound=a.bound
    )


def _cumsum(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    return w.emit("cumsum", f"torch.cumsum({w.text(a, 1)}, -1)", a.shape, bound=4)


def _after(a: Term) -> float:
    return 1.5 * min(a.bound, 4.0) + 0.3


OPERATIONS: dict[str, Operation] = {
    "linear": _linear,
    "linear_sliced": _linear_sliced,
    "linear_function": _linear_function,
    "linear_joined": _linear_joined,
    "outer": _outer,
    "bmm": _bmm,
    "bmm_vector": _bmm_vector,
    "shared_product": _shared_product,
    **{name: _reduce(name) for name in _REDUCTIONS},
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
    "attention": _attention,
    "slice": _slice,
    "split": _parts,
    "chunk": _parts,
    "unbind": _parts,
    "cat": _cat,
    "stack": _cat,
    "select": _select,
    "unsqueeze": _unsqueeze,
    "expand": _expand,
    "permute": _permute,
    "reshape": _reshape,
    "gather": _gather,
    "flip": _flip,
    "roll": _roll,
    "pad": _pad,
    "cumsum": _cumsum,
}
