"""Operations on shapes, and reductions, for random cells."""

from __future__ import annotations

from random_cells.pointwise import Operation
from random_cells.products import matrix
from random_cells.writer import Shape, Term, Writer, count

__all__ = ["OPERATIONS"]

_MOST = 12
"""No dimension grows beyond this."""


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
    m = matrix(w)
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
    return w.emit("cumsum", f"torch.cumsum({w.text(a, 1)}, {w.integer(1, len(a.shape))})", a.shape, bound=4)


def _products(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    dim, text = w.integer(1, len(a.shape)), w.text(a, 1.1)
    if w.chance(2):
        return w.emit("cumprod", f"torch.cumprod({text}, {dim})", a.shape, bound=3)
    return w.emit("prod", f"{text}.prod({dim})", (*a.shape[: dim - 1], *a.shape[dim:]), bound=3)


def _unfold(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape) and t.shape[-1] > 2)
    if a is None:
        return None
    size, step = w.integer(1, 3), w.integer(1, 2)
    shape = (*a.shape[:-1], (a.shape[-1] - size) // step + 1, size)
    return w.emit("unfold", f"{w.text(a)}.unfold(-1, {size}, {step})", shape, bound=a.bound)


def _group_norm(w: Writer) -> Term | None:
    """Over groups of two channels or more; epsilon is large, so that nothing is blown up."""
    a = w.pick(lambda t: bool(t.shape) and t.shape[0] % 2 == 0)
    if a is None:
        return None
    channels = a.shape[0]
    weight = w.parameter((channels,), plain=True) if w.chance(2) else "None"
    text = f"F.group_norm({w.text(a)}, {channels // 2}, {weight}, eps=0.05)"
    return w.emit("group_norm", text, a.shape, bound=2.5)


def _scatter(w: Writer) -> Term | None:
    """A part written over."""
    a = w.pick(lambda t: bool(t.shape) and t.shape[-1] > 1)
    if a is None:
        return None
    n = a.shape[-1]
    b = w.pick(lambda t: t.shape == a.shape[:-1])
    if b is not None:
        text = f"torch.select_scatter({w.text(a)}, {w.text(b)}, -1, {w.integer(0, n - 1)})"
    else:
        start = w.integer(0, n - 1)
        text = f"torch.slice_scatter({w.text(a)}, 0.5 * {w.text(a)}[..., {start}:], -1, {start}, {n})"
    return w.emit("scatter", text, a.shape, bound=4)


OPERATIONS: dict[str, Operation] = {
    **{name: _reduce(name) for name in _REDUCTIONS},
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
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
    "flip": _flip,
    "roll": _roll,
    "pad": _pad,
    "cumsum": _cumsum,
    "cumprod": _products,
    "prod": _products,
    "unfold": _unfold,
    "group_norm": _group_norm,
    "scatter": _scatter,
}
