"""What torch's pointwise operations mean in the compiler's: one short rule each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from recurra.compiler.ir import Value
from recurra.compiler.vocabulary import RULES, Call, rule

__all__ = []


def _same_name(*names: str) -> None:
    for name in names:
        RULES[name] = lambda c, name=name: c.point(name, *c.args)


_same_name("maximum", "minimum", "lt", "le", "gt", "ge", "eq", "ne", "neg", "abs", "floor", "ceil", "trunc")
for _name in ("exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "tanh", "sigmoid", "erf"):
    RULES[_name] = lambda c, name=_name: c.point(name, c.real(c.args[0]))
for _name, _op in {"logical_and": "and", "bitwise_and": "and", "__and__": "and", "logical_or": "or",
                   "bitwise_or": "or", "__or__": "or", "logical_xor": "xor", "bitwise_xor": "xor"}.items():  # fmt: skip
    RULES[_name] = lambda c, op=_op: c.point(op, *(_bool(c, a) for a in c.args))


def _bool(c: Call, a: Any) -> Any:
    if not isinstance(a, Value):
        return bool(a)
    if a.kind != "bool" and not c.event.name.startswith("logical"):
        raise c.refuse("works on the bits of integers")
    return a if a.kind == "bool" else c.graph.point("to_bool", a)


@rule("logical_not", "bitwise_not")
def _not(c: Call) -> Value:
    return c.point("not", _bool(c, c.args[0]))


@rule("add", "sub")
def _add(c: Call) -> Value:
    a, b, alpha = c.args[0], c.args[1], c.arg(2, 1, "alpha")
    return c.point(
        c.event.name, a, b if alpha == 1 else c.point("mul", b, alpha) if isinstance(b, Value) else b * alpha
    )


@rule("rsub")
def _rsub(c: Call) -> Value:
    return c.point("sub", c.args[1], c.args[0])


@rule("mul")
def _mul(c: Call) -> Value:
    if c.kind == "bool":
        return c.point("and", *c.args)
    return c.point("mul", *c.args)


@rule("div")
def _div(c: Call) -> Value:
    mode = c.kwargs.get("rounding_mode")
    if mode is None:
        return c.point("div", c.real(c.args[0]), c.real(c.args[1]))
    if c.kind == "int":
        if mode != "floor":
            raise c.refuse("integer division that rounds to zero")
        return c.point("floor_divide", *c.args)
    quotient = c.point("div", c.real(c.args[0]), c.real(c.args[1]))
    return c.point("floor" if mode == "floor" else "trunc", quotient)


@rule("floor_divide", "remainder")
def _integer_division(c: Call) -> Value:
    if isinstance(c.args[1], Value) and c.args[1].kind == "real":
        raise c.refuse("by a real tensor")
    return c.point(c.event.name, *c.args)


@rule("pow")
def _pow(c: Call) -> Value:
    base, power = c.args
    if c.kind != "real":
        raise c.refuse("of integers")
    if isinstance(power, Value):
        return c.point("pow", c.real(base), c.real(power))
    base = c.real(base)
    if power == 0:
        return c.graph.fill(1.0, c.shape, "real")
    if power in (1, 2, 3):
        return [base, c.point("mul", base, base), c.point("mul", c.point("mul", base, base), base)][int(power) - 1]
    if power == 0.5:
        return c.point("sqrt", base)
    return c.point("pow", base, float(power))


@rule("square")
def _square(c: Call) -> Value:
    return c.point("mul", c.args[0], c.args[0])


@rule("reciprocal")
def _reciprocal(c: Call) -> Value:
    return c.point("div", 1.0, c.real(c.args[0]))


@rule("sign", "sgn")
def _sign(c: Call) -> Value:
    return c.point("sign", c.args[0])


@rule("round")
def _round(c: Call) -> Value:
    if c.kwargs.get("decimals"):
        raise c.refuse("to decimals")
    return c.point("round", c.args[0])


@rule("where")
def _where(c: Call) -> Value:
    mask, a, b = c.args
    if c.kind == "real":
        a, b = c.real(a), c.real(b)
    return c.graph.point("where", _bool_of(c, mask), a, b, kind=c.kind)


def _bool_of(c: Call, a: Value) -> Value:
    return a if a.kind == "bool" else c.graph.point("to_bool", a)


@rule("masked_fill")
def _masked_fill(c: Call) -> Value:
    x, mask, number = c.args
    return c.graph.point("where", mask, c.real(number) if x.kind == "real" else number, x, kind=x.kind)


@rule("clamp", "hardtanh")
def _clamp(c: Call) -> Value:
    defaults = (-1.0, 1.0) if c.event.name == "hardtanh" else (None, None)
    x, low, high = c.args[0], c.arg(1, defaults[0], "min"), c.arg(2, defaults[1], "max")
    for op, bound in (("clamp_min", low), ("clamp_max", high)):
        if isinstance(bound, Value):
            x = c.point("maximum" if op == "clamp_min" else "minimum", x, bound)
        elif bound is not None:
            x = c.point(op, x, float(bound) if x.kind == "real" else bound)
    return x


@rule("clamp_min", "clamp_max")
def _clamp_one(c: Call) -> Value:
    x, bound = c.args
    if isinstance(bound, Value):
        return c.point("maximum" if c.event.name == "clamp_min" else "minimum", x, bound)
    return c.point(c.event.name, x, float(bound) if x.kind == "real" else bound)


@rule("addcmul", "addcdiv")
def _addcmul(c: Call) -> Value:
    base, a, b = c.args
    product = c.point("mul" if c.event.name == "addcmul" else "div", a, b)
    return c.point("add", base, c.point("mul", product, float(c.kwargs.get("value", 1.0))))


@rule("isnan")
def _isnan(c: Call) -> Value:
    return c.point("ne", c.args[0], c.args[0])


@rule("isinf", "isfinite")
def _isinf(c: Call) -> Value:
    return c.point("eq" if c.event.name == "isinf" else "lt", c.point("abs", c.args[0]), math.inf)


@rule("log2", "log10")
def _log(c: Call) -> Value:
    return c.point("mul", c.point("log", c.real(c.args[0])), 1 / math.log(2.0 if c.event.name == "log2" else 10.0))


@rule("tan")
def _tan(c: Call) -> Value:
    return c.point("div", c.point("sin", c.real(c.args[0])), c.point("cos", c.real(c.args[0])))


@rule("sinh", "cosh")
def _sinh(c: Call) -> Value:
    x = c.real(c.args[0])
    op, join = ("expm1", "sub") if c.event.name == "sinh" else ("exp", "add")
    return c.point("mul", c.point(join, c.point(op, x), c.point(op, c.point("neg", x))), 0.5)


@rule("frac")
def _frac(c: Call) -> Value:
    return c.point("sub", c.args[0], c.point("trunc", c.args[0]))


@rule("logaddexp")
def _logaddexp(c: Call) -> Value:
    a, b = c.real(c.args[0]), c.real(c.args[1])
    # Two equal infinities differ by NaN; they stay as they are.
    apart = c.point("neg", c.point("abs", c.point("sub", a, b)))
    total = c.point("add", c.point("maximum", a, b), c.point("log1p", c.point("exp", apart)))
    endless = c.point("and", c.point("eq", a, b), c.point("eq", c.point("abs", a), math.inf))
    return c.point("where", endless, a, total)


@rule("lerp")
def _lerp(c: Call) -> Value:
    a, b, weight = c.args
    return c.point("add", a, c.point("mul", c.point("sub", b, a), weight))


@rule("_to_copy")
def _to_copy(c: Call) -> Value:
    x = c.args[0]
    return x if x.kind == c.kind else c.graph.point(f"to_{c.kind}", x)


@rule("detach")
def _detach(c: Call) -> Value:
    return c.graph.stop(c.args[0]) if isinstance(c.args[0], Value) else c.args[0]


@rule("alias", "clone", "lift_fresh", "lift_fresh_copy", "conj", "_conj", "contiguous", "positive")
def _identity(c: Call) -> Any:
    return c.args[0]


@rule("full", "full_like", "new_full")
def _full(c: Call) -> Value:
    number = c.args[2] if c.event.name == "new_full" else c.args[1]
    if isinstance(number, Value):
        raise c.refuse("filled with the value of a tensor")
    return _filled(c, number)


@rule("zeros", "zeros_like", "new_zeros")
def _zeros(c: Call) -> Value:
    return _filled(c, 0)


@rule("ones", "ones_like", "new_ones")
def _ones(c: Call) -> Value:
    return _filled(c, 1)


@rule("scalar_tensor")
def _scalar(c: Call) -> Any:
    return c.args[0]


def _filled(c: Call, number: Any) -> Value:
    convert: dict[str, Callable[[Any], Any]] = {"real": float, "int": int, "bool": bool}
    return c.graph.fill(convert[c.kind](number), c.shape, c.kind)
