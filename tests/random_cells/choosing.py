"""Operations that choose among entries for random cells: the largest, those of some numbers, any and all."""

from __future__ import annotations

from random_cells.pointwise import Operation
from random_cells.writer import Term, Writer

__all__ = ["OPERATIONS"]


def _gather(w: Writer) -> Term | None:
    """Entries taken by constant numbers, perhaps some of them twice."""
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    n, k = a.shape[-1], w.integer(1, 6)
    numbers = f"[{', '.join(str(w.integer(0, n - 1)) for _ in range(k))}]"
    if w.chance(2):
        return w.emit("gather", f"{w.text(a)}[..., {numbers}]", (*a.shape[:-1], k), bound=a.bound)
    index = w.buffer(f"torch.tensor({numbers})")
    text = w.one_of((f"{w.text(a)}[..., {index}]", f"{w.text(a)}.index_select(-1, {index})"))
    return w.emit("gather", text, (*a.shape[:-1], k), bound=a.bound)


def _gather_rows(w: Writer) -> Term | None:
    """Entries taken by numbers of each row's own, which depend on the reals."""
    a = w.pick(lambda t: len(t.shape) == 1 and t.shape[0] > 1)
    if a is None:
        return None
    n = a.shape[0]
    index = w.emit("to_int", f"({w.text(a)} > 0.19).long() * {w.integer(1, n - 1)}", a.shape, "int")
    k = w.integer(1, n)
    return w.emit("gather_rows", f"{w.text(a)}.gather(1, {index.name}[:, :{k}])", (k,), bound=4)


def _extreme(name: str) -> Operation:
    """The largest or smallest entry, often of several equal ones, of which the first gets the gradient."""

    def write(w: Writer) -> Term | None:
        a = w.pick(lambda t: bool(t.shape))
        if a is None:
            return None
        dim, keep = w.integer(1, len(a.shape)), w.chance(2)
        shape = (*a.shape[: dim - 1], *((1,) if keep else ()), *a.shape[dim:])
        text = w.one_of((w.text(a), f"{w.text(a)}.clamp(-0.31, 0.29)"))
        return w.emit(name, f"{text}.{name}({dim}, keepdim={keep})[0]", shape, bound=4)

    return write


def _argument(w: Writer) -> Term | None:
    """The number of the largest entry; a slope is added, so that rounding does not choose among equal ones."""
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    way, slope = w.one_of(("argmax", "argmin")), w.buffer(f"0.1 * torch.rand({a.shape[-1]})")
    made = w.emit("argument", f"({w.text(a)} + {slope}).{way}(-1)", a.shape[:-1], "int")
    return w.emit("clock_to_real", f"torch.cos(0.7 * {made.name}.to(x.dtype))", a.shape[:-1])


def _any(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    way = w.one_of((
        "({0} > 0.41).any({1}, keepdim=True)", "({0} > -0.63).all({1}, keepdim=True)",
        "(({0} > 0.13).sum({1}, keepdim=True) > 1)", "(torch.count_nonzero({0} > 0.13, {1}) == 2).unsqueeze({1})",
    ))  # fmt: skip
    dim = w.integer(1, len(a.shape))
    shape = (*a.shape[: dim - 1], 1, *a.shape[dim:])
    made = w.emit("any", way.format(w.text(a), dim), shape, "bool")
    return w.emit("where", f"torch.where({made.name}, {w.text(a)}, 0.3 * {w.text(a)})", a.shape, bound=4)


def _index_fill(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    index = w.buffer(f"torch.tensor([{w.integer(0, a.shape[-1] - 1)}])")
    return w.emit("index_fill", f"{w.text(a)}.index_fill(-1, {index}, 0.4)", a.shape, bound=4)


OPERATIONS: dict[str, Operation] = {
    "gather": _gather,
    "gather_rows": _gather_rows,
    "max": _extreme("max"),
    "min": _extreme("min"),
    "argument": _argument,
    "any": _any,
    "index_fill": _index_fill,
}
