"""Matrix products for random cells: with weights, with matrices of each row, from either side."""

from __future__ import annotations

from random_cells.pointwise import Operation
from random_cells.writer import Term, Writer

__all__ = ["OPERATIONS", "matrix"]


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


def matrix(w: Writer) -> Term | None:
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
    m = matrix(w)
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
    m = matrix(w)
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
    m = matrix(w)
    if m is None:
        return None
    k = w.integer(1, 6)
    if w.chance(2):
        text, shape = f"torch.matmul({w.parameter((k, m.shape[0]), plain=True)}, {w.text(m)})", (k, m.shape[1])
    else:
        text, shape = f"{w.text(m)} @ {w.parameter((m.shape[1], k), plain=True)}", (m.shape[0], k)
    return w.emit("shared_product", text, shape, bound=4)


def _attention(w: Writer) -> Term | None:
    """A softmax over the rows of a matrix, and their weighted mean."""
    m = matrix(w)
    if m is None:
        return None
    q = w.pick(lambda t: len(t.shape) == 1)
    if q is None:
        return None
    n, k = m.shape
    query, memory = w.fit(q, (k,), 2), w.text(m, 2)
    weights = w.emit("softmax", f"torch.softmax(torch.bmm({memory}, {query}.unsqueeze(2)).squeeze(2), 1)", (n,))
    return w.emit("attention", f"torch.bmm({weights.name}.unsqueeze(1), {memory}).squeeze(1)", (k,), bound=2)


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
    "attention": _attention,
}
