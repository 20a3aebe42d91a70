"""Pointwise operations for random cells: functions of one and two arguments, comparisons, masks, clocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from random_cells.writer import Shape, Term, Writer

__all__ = ["OPERATIONS", "Operation"]

Operation: TypeAlias = Callable[[Writer], Term | None]
"""Writes one statement (and what it needs); returns its result, or None where no term fits."""

_UNARY: dict[str, tuple[str, float, float]] = {
    "tanh": ("torch.tanh({0})", 4, 1),
    "sigmoid": ("torch.sigmoid({0})", 4, 1),
    "exp": ("torch.exp({0})", 1.2, 3.4),
    "expm1": ("torch.expm1({0})", 1.2, 2.4),
    "log": ("torch.log(1.3 + {0} * {0})", 4, 2.9),
    "log1p": ("torch.log1p({0}.square())", 4, 2.9),
    "softplus": ("F.softplus({0})", 4, 4.1),
    "softplus_beta": ("F.softplus({0}, beta=1.7, threshold=3.0)", 4, 4.1),
    "relu": ("torch.relu({0})", 4, 4),
    "leaky_relu": ("F.leaky_relu({0}, 0.2)", 4, 4),
    "elu": ("F.elu({0})", 4, 4),
    "silu": ("F.silu({0})", 4, 4),
    "mish": ("F.mish({0})", 4, 4),
    "gelu": ("F.gelu({0})", 4, 4),
    "gelu_tanh": ('F.gelu({0}, approximate="tanh")', 4, 4),
    "logsigmoid": ("F.logsigmoid({0})", 4, 4.1),
    "hardtanh": ("F.hardtanh({0})", 4, 1),
    "erf": ("torch.erf({0})", 4, 1),
    "abs": ("torch.abs({0})", 4, 4),
    "sqrt": ("torch.sqrt(1 + {0} * {0})", 4, 4.2),
    "rsqrt": ("torch.rsqrt(1 + {0} * {0})", 4, 1),
    "sin": ("torch.sin(1.5 * {0})", 4, 1),
    "cos": ("torch.cos(1.5 * {0})", 4, 1),
    "neg": ("-{0}", 4, 4),
    "pow2": ("{0} ** 2", 2, 4),
    "pow3": ("{0} ** 3", 1.6, 4.1),
    "pow_real": ("(1.1 + {0} * {0}) ** 0.7", 4, 7),
    "pow_negative": ("(1.1 + {0} * {0}) ** -1.5", 4, 1),
    "square": ("torch.square({0})", 2, 4),
    "reciprocal": ("torch.reciprocal(1 + {0} * {0})", 4, 1),
    "scalar": ("0.5 * (1 - {0}) + {0} / 3 - 0.25", 4, 3),
    "scalar_over": ("2 / (1.5 + torch.tanh({0}))", 4, 4),
    "clamp": ("torch.clamp({0}, -0.57, 0.61)", 4, 0.61),
    "clamp_min": ("{0}.clamp(min=-0.33)", 4, 4),
    "clamp_max": ("{0}.clamp(max=0.43)", 4, 4),
    "floor": ("0.4 * torch.floor(2.3 * {0}) + 0.1 * {0}", 4, 5),
    "ceil": ("0.4 * torch.ceil(2.3 * {0}) + 0.1 * {0}", 4, 5),
    "round": ("0.4 * torch.round(2.3 * {0}) + 0.1 * {0}", 4, 5),
    "trunc": ("0.4 * torch.trunc(2.3 * {0}) + 0.1 * {0}", 4, 5),
    "sign": ("0.3 * torch.sign({0} - 0.13) + 0.1 * {0}", 4, 1),
    "remainder": ("torch.remainder({0}, 0.73)", 4, 0.73),
    "log2": ("torch.log2(1.3 + {0} * {0})", 4, 4.2),
    "log10": ("torch.log10(1.3 + {0} * {0})", 4, 2),
    "tan": ("torch.tan(0.3 * {0})", 4, 3),
    "sinh": ("torch.sinh({0})", 1.5, 2.2),
    "cosh": ("torch.cosh({0})", 1.5, 2.4),
    "frac": ("torch.frac(1.3 * {0})", 4, 1),
    "celu": ("F.celu({0})", 4, 4),
    "selu": ("F.selu({0})", 3, 4),
    "softsign": ("F.softsign({0})", 4, 1),
    "threshold": ("F.threshold({0}, 0.13, 0.2)", 4, 4),
    "hardshrink": ("F.hardshrink({0}, 0.31)", 4, 4),
    "softshrink": ("F.softshrink({0}, 0.31)", 4, 4),
    "finite": ("torch.where(torch.isfinite({0}) & ~torch.isnan({0}), {0}, 0.0)", 4, 4),
    "power_of_number": ("1.7 ** {0}", 2, 3),
    "clone": ("{0}.clone()", 4, 4),
}
"""The expression, the largest argument it should get, and the largest result.

No hardsigmoid, and no celu with an alpha: torch's own slopes in float64 hold numbers rounded to float32.
"""

_BINARY: dict[str, tuple[str, float, float]] = {
    "add": ("{0} + {1}", 2.5, 5),
    "sub": ("{0} - {1}", 2.5, 5),
    "mul": ("{0} * {1}", 2, 4),
    "div": ("{0} / (1.2 + {1} * {1})", 4, 3.4),
    "minimum": ("torch.minimum({0}, {1})", 4, 4),
    "maximum": ("torch.maximum({0}, {1})", 4, 4),
    "lerp": ("torch.lerp({0}, {1}, 0.3)", 4, 4),
    "addcmul": ("torch.addcmul({0}, {1}, {0}, value=0.7)", 2, 5),
    "addcdiv": ("torch.addcdiv({0}, {1}, 1.2 + {0} * {0}, value=0.7)", 2, 4),
    "pow_tensor": ("(0.6 + {0} * {0}) ** {1}", 1.2, 3),
    "logaddexp": ("torch.logaddexp({0}, {1})", 4, 4.7),
    "add_alpha": ("torch.add({0}, {1}, alpha=0.6)", 2.5, 4),
    "gate": ("torch.sigmoid({0}) * {1} + (1 - torch.sigmoid({0})) * {0}", 4, 4),
}

_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")


def _unary(name: str) -> Operation:
    text, limit, bound = _UNARY[name]

    def write(w: Writer) -> Term | None:
        a = w.pick()
        return None if a is None else w.emit(name, text.format(w.text(a, limit)), a.shape, bound=bound)

    return write


def _binary(name: str) -> Operation:
    text, limit, bound = _BINARY[name]

    def write(w: Writer) -> Term | None:
        a = w.pick()
        if a is None:
            return None
        left, right = w.text(a, limit), _other(w, a, limit)
        if w.chance(3) and name not in ("lerp", "addcmul", "addcdiv", "pow_tensor"):
            left, right = right, left
        return w.emit(name, text.format(left, right), a.shape, bound=bound)

    return write


def _other(w: Writer, a: Term, limit: float) -> str:
    """Return a second argument for a: a term of its shape, one that is broadcast to it, or a parameter."""
    same = w.pick(lambda t: t.shape == a.shape and t is not a)
    thin = w.pick(lambda t: bool(a.shape) and t.shape == (*a.shape[:-1], 1) != a.shape)
    options = [w.text(t, limit) for t in (same, thin) if t is not None]
    if not options or w.chance(3):
        shapes: list[Shape] = [a.shape, a.shape[-1:], (), (1,)]
        # A parameter of more dimensions than one row has would meet the rows.
        return w.parameter(shapes[w.integer(0, 3 if a.shape else 2)] if a.shape else ())
    return w.one_of(options)


def _detach(w: Writer) -> Term | None:
    a = w.pick()
    if a is None:
        return None
    return w.emit("detach", f"{w.text(a, 2)}.detach() * {_other(w, a, 2)} + {w.text(a, 2)}", a.shape, bound=4)


def _condition(w: Writer, shape: Shape) -> str:
    """Return a condition that can be broadcast to a shape: between reals, of a clock, of a buffer, or several."""
    kind = w.integer(0, 4)
    clock = w.pick(lambda t: t.shape in ((), (1,), shape), "int")
    mask = w.pick(lambda t: t.shape == shape or (bool(shape) and t.shape == (*shape[:-1], 1)), "bool")
    if kind == 1 and mask is not None:
        return mask.name
    if kind == 2 and clock is not None and shape:
        name = f"{clock.name}.unsqueeze(-1)" if clock.shape == () else clock.name
        # More dimensions than the clock's own would meet the rows.
        if len(shape) == 1:
            periods = w.buffer(f"torch.randint(1, 5, ({shape[-1]},))")
            return f"({name} % {periods} == 0)"
    if kind == 3:
        return w.boolean(shape)
    a = w.pick(lambda t: t.shape == shape)
    if a is None:
        return w.boolean(shape)
    compare = w.one_of(("<", ">", "<=", ">="))
    if kind == 4:
        return f"(({a.name} {compare} 0.17) & ~({a.name} > 0.83))"
    return f"({a.name} {compare} 0.0713)"


def _where(w: Writer) -> Term | None:
    a = w.pick()
    if a is None:
        return None
    other = w.one_of((_other(w, a, 4), "0.25")) if w.chance(2) else _other(w, a, 4)
    condition = _condition(w, a.shape)
    return w.emit("where", f"torch.where({condition}, {w.text(a)}, {other})", a.shape, bound=4)


def _masked_fill(w: Writer) -> Term | None:
    a = w.pick()
    if a is None:
        return None
    return w.emit("masked_fill", f"{w.text(a)}.masked_fill({_condition(w, a.shape)}, -0.5)", a.shape, bound=4)


def _masked_product(w: Writer) -> Term | None:
    a = w.pick(lambda t: bool(t.shape))
    if a is None:
        return None
    return w.emit("mask", f"{w.text(a)} * {w.mask(a.shape)}", a.shape, bound=a.bound)


def _compare(w: Writer) -> Term | None:
    """A comparison of reals, its truth values made numbers, with a path for the gradient beside it."""
    a = w.pick()
    if a is None:
        return None
    sign = w.one_of(_COMPARISONS)
    made = w.emit("compare", f"{w.text(a)} {sign} {_other(w, a, 4)}", a.shape, "bool")
    return w.emit("to_real", f"{made.name}.to(x.dtype) * {w.text(a, 2)} + 0.5 * {w.text(a, 2)}", a.shape, bound=3)


def _logical(w: Writer) -> Term | None:
    a = w.pick()
    if a is None:
        return None
    first, second = (f"({w.text(a)} > {number})" for number in ("0.21", "-0.37"))
    text = w.one_of(("{0} & {1}", "{0} | ~{1}", "{0} ^ {1}", "torch.logical_and({0}, {1})", "torch.logical_not({0})"))
    made = w.emit("logical", text.format(first, second), a.shape, "bool")
    return w.emit("where", f"torch.where({made.name}, {w.text(a)}, 0.3 * {w.text(a)})", a.shape, bound=4)


def _clock(w: Writer) -> Term | None:
    """Arithmetic of a clock."""
    a = w.pick(kind="int")
    if a is None:
        return None
    text = w.one_of(("{0} % 3", "{0} + 2", "{0} // 2", "3 - {0} % 4", "({0} * 2) % 5", "torch.where({0} > 2, 1, {0})"))
    return w.emit("clock", text.format(a.name), a.shape, "int")


def _clock_compare(w: Writer) -> Term | None:
    clock = w.pick(kind="int")
    if clock is None:
        return None
    sign = w.one_of(_COMPARISONS)
    made = w.emit("clock_compare", f"{clock.name} % 3 {sign} 1", clock.shape, "bool")
    a = w.pick(lambda t: t.shape == clock.shape)
    if a is None:
        a = w.pick(lambda t: len(t.shape) == 1)
        if a is None:
            return None
        name = f"{made.name}.unsqueeze(-1)" if clock.shape == () else made.name
        if clock.shape not in ((), (1,), a.shape):
            return None
        return w.emit("where", f"torch.where({name}, {w.text(a)}, 0.4 * {w.text(a)})", a.shape, bound=4)
    return w.emit("where", f"torch.where({made.name}, {w.text(a)}, 0.4 * {w.text(a)})", a.shape, bound=4)


def _clock_to_real(w: Writer) -> Term | None:
    clock = w.pick(kind="int")
    if clock is None:
        return None
    real = w.emit("clock_to_real", f"torch.cos(0.7 * {clock.name}.to(x.dtype))", clock.shape)
    a = w.pick(lambda t: t.shape == clock.shape and t is not real)
    return real if a is None else w.emit("mul", f"{real.name} * {w.text(a)}", a.shape, bound=4)


def _integer_from_reals(w: Writer) -> Term | None:
    """A count that depends on the reals; no gradient flows through it."""
    a = w.pick(lambda t: len(t.shape) == 1)
    if a is None:
        return None
    made = w.emit("to_int", f"({w.text(a)} > 0.11).long()", a.shape, "int")
    return w.emit("clock_to_real", f"0.3 * {made.name}.to(x.dtype) + {w.text(a)}", a.shape, bound=4.3)


OPERATIONS: dict[str, Operation] = {
    **{name: _unary(name) for name in _UNARY},
    **{name: _binary(name) for name in _BINARY},
    "detach": _detach,
    "where": _where,
    "masked_fill": _masked_fill,
    "mask": _masked_product,
    "compare": _compare,
    "logical": _logical,
    "clock": _clock,
    "clock_compare": _clock_compare,
    "clock_to_real": _clock_to_real,
    "to_int": _integer_from_reals,
}
