"""The pointwise operations: one row each, with its C++, its PyTorch, its cost and its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from recurra.compiler.ir import Graph, Value

__all__ = ["POINTWISE", "Derivative", "Pointwise"]

Derivative: TypeAlias = Callable[[Graph, Any, Value, Value], tuple[Value | None, ...]]
"""`(graph, args, out, grad) -> the gradient of every argument`, None where there is none."""


@dataclass(frozen=True)
class Pointwise:
    """What the compiler knows of one pointwise operation.

    cpp: an expression over vectors, `{0}` being the first argument; run: the same in PyTorch; kind: of the result, None
    for that of the arguments; costly: never computed twice to save memory; derivative: None if piecewise constant.
    """

    arity: int
    cpp: str
    run: Callable[..., Any]
    kind: str | None = None
    costly: bool = False
    derivative: Derivative | None = None


def _scaled(factor: Callable[[Graph, Any, Value], Value]) -> Derivative:
    """Derivative of a function of one argument: the gradient times `factor(graph, x, out)`."""
    return lambda b, a, out, grad: (b.point("mul", grad, factor(b, a[0], out)),)


def _square(b: Graph, x: Value) -> Value:
    return b.point("mul", x, x)


def _mul(b: Graph, a: Any, out: Value, grad: Value) -> tuple[Value | None, ...]:
    return b.point("mul", grad, a[1]), b.point("mul", grad, a[0])


def _div(b: Graph, a: Any, out: Value, grad: Value) -> tuple[Value | None, ...]:
    first = b.point("div", grad, a[1])
    return first, b.point("neg", b.point("mul", first, out))


def _select(mask: str, ties: bool) -> Derivative:
    """Derivative of maximum and minimum: ties share the gradient, as in torch."""

    def derivative(b: Graph, a: Any, out: Value, grad: Value) -> tuple[Value | None, ...]:
        half = b.point("mul", grad, 0.5)
        shared = b.point("where", b.point("eq", a[0], a[1]), half, grad)
        left, right = b.point(mask, a[1], a[0]), b.point(mask, a[0], a[1])
        return b.point("where", left, 0.0, shared), b.point("where", right, 0.0, shared)

    return derivative


def _where(b: Graph, a: Any, out: Value, grad: Value) -> tuple[Value | None, ...]:
    return None, b.point("where", a[0], grad, 0.0), b.point("where", a[0], 0.0, grad)


def _clamp(keep: str) -> Derivative:
    return lambda b, a, out, grad: (b.point("where", b.point(keep, a[0], a[1]), grad, 0.0), None)


def _relu(b: Graph, a: Any, out: Value, grad: Value) -> tuple[Value | None, ...]:
    return (b.point("where", b.point("le", out, 0.0), 0.0, grad),)


def _pow(b: Graph, a: Any, out: Value, grad: Value) -> tuple[Value | None, ...]:
    if not isinstance(a[1], Value):
        slope = b.point("mul", b.point("pow", a[0], a[1] - 1.0), a[1])
        return b.point("mul", grad, slope), None
    # A power of 0 is flat in its base even at 0, and 0 to a positive power in that power.
    slope = b.point("mul", b.point("pow", a[0], b.point("sub", a[1], 1.0)), a[1])
    slope = b.point("where", b.point("eq", a[1], 0.0), 0.0, slope)
    base = b.point("log", a[0]) if isinstance(a[0], Value) else math.log(a[0]) if a[0] > 0 else math.nan
    growth = b.point("mul", out, base)
    flat = b.point("ge", a[1], 0.0)
    if isinstance(a[0], Value):
        flat = b.point("and", b.point("eq", a[0], 0.0), flat)
    if isinstance(a[0], Value) or a[0] == 0:
        growth = b.point("where", flat, 0.0, growth)
    return b.point("mul", grad, slope), b.point("mul", grad, growth)


def _tanh_slope(b: Graph, x: Value, out: Value) -> Value:
    return b.point("sub", 1.0, _square(b, out))


def _sigmoid_slope(b: Graph, x: Value, out: Value) -> Value:
    return b.point("mul", out, b.point("sub", 1.0, out))


def _erf_slope(b: Graph, x: Value, out: Value) -> Value:
    return b.point("mul", b.point("exp", b.point("neg", _square(b, x))), 1.1283791670955126)


def _rsqrt_slope(b: Graph, x: Value, out: Value) -> Value:
    return b.point("mul", b.point("mul", _square(b, out), out), -0.5)


def _compare(cpp: str, run: Callable[..., Any]) -> Pointwise:
    return Pointwise(2, cpp, run, "bool")


POINTWISE: dict[str, Pointwise] = {
    "add": Pointwise(2, "({0} + {1})", torch.add, derivative=lambda b, a, out, grad: (grad, grad)),
    "sub": Pointwise(2, "({0} - {1})", torch.sub, derivative=lambda b, a, out, grad: (grad, b.point("neg", grad))),
    "mul": Pointwise(2, "({0} * {1})", torch.mul, derivative=_mul),
    "div": Pointwise(2, "({0} / {1})", torch.div, "real", True, _div),
    "remainder": Pointwise(2, "L::remainder({0}, {1})", torch.remainder, None, True,
                           lambda b, a, out, grad: (grad, None)),
    "floor_divide": Pointwise(2, "L::floor_divide({0}, {1})", torch.floor_divide, None, True),
    "maximum": Pointwise(2, "L::maximum({0}, {1})", torch.maximum, derivative=_select("gt", True)),
    "minimum": Pointwise(2, "L::minimum({0}, {1})", torch.minimum, derivative=_select("lt", True)),
    "clamp_min": Pointwise(2, "L::maximum({0}, {1})", torch.clamp_min, derivative=_clamp("ge")),
    "clamp_max": Pointwise(2, "L::minimum({0}, {1})", torch.clamp_max, derivative=_clamp("le")),
    "pow": Pointwise(2, "L::pow({0}, {1})", torch.pow, "real", True, _pow),
    "where": Pointwise(3, "L::where({0}, {1}, {2})", torch.where, derivative=_where),
    "lt": _compare("L::lt({0}, {1})", torch.lt),
    "le": _compare("L::le({0}, {1})", torch.le),
    "gt": _compare("L::gt({0}, {1})", torch.gt),
    "ge": _compare("L::ge({0}, {1})", torch.ge),
    "eq": _compare("L::eq({0}, {1})", torch.eq),
    "ne": _compare("L::ne({0}, {1})", torch.ne),
    "and": Pointwise(2, "({0} & {1})", torch.logical_and, "bool"),
    "or": Pointwise(2, "({0} | {1})", torch.logical_or, "bool"),
    "xor": Pointwise(2, "({0} ^ {1})", torch.logical_xor, "bool"),
    "not": Pointwise(1, "(~{0})", torch.logical_not, "bool"),
    "neg": Pointwise(1, "(-{0})", torch.neg, derivative=lambda b, a, out, grad: (b.point("neg", grad),)),
    "abs": Pointwise(1, "L::abs({0})", torch.abs, derivative=_scaled(lambda b, x, out: b.point("sign", x))),
    "sign": Pointwise(1, "L::sign({0})", torch.sign),
    "floor": Pointwise(1, "L::floor({0})", torch.floor),
    "ceil": Pointwise(1, "L::ceil({0})", torch.ceil),
    "round": Pointwise(1, "L::round({0})", torch.round),
    "trunc": Pointwise(1, "L::trunc({0})", torch.trunc),
    "exp": Pointwise(1, "L::exp({0})", torch.exp, None, True, _scaled(lambda b, x, out: out)),
    "expm1": Pointwise(1, "L::expm1({0})", torch.expm1, None, True, _scaled(lambda b, x, out: b.point("add", out, 1.0))),  # noqa: E501
    "log": Pointwise(1, "L::log({0})", torch.log, None, True, lambda b, a, out, grad: (b.point("div", grad, a[0]),)),
    "log1p": Pointwise(1, "L::log1p({0})", torch.log1p, None, True,
                       lambda b, a, out, grad: (b.point("div", grad, b.point("add", a[0], 1.0)),)),
    "sqrt": Pointwise(1, "L::sqrt({0})", torch.sqrt, None, True,
                      lambda b, a, out, grad: (b.point("div", grad, b.point("mul", out, 2.0)),)),
    "rsqrt": Pointwise(1, "L::rsqrt({0})", torch.rsqrt, None, True, _scaled(_rsqrt_slope)),
    "sin": Pointwise(1, "L::sin({0})", torch.sin, None, True, _scaled(lambda b, x, out: b.point("cos", x))),
    "cos": Pointwise(1, "L::cos({0})", torch.cos, None, True,
                     _scaled(lambda b, x, out: b.point("neg", b.point("sin", x)))),
    "tanh": Pointwise(1, "L::tanh({0})", torch.tanh, None, True, _scaled(_tanh_slope)),
    "sigmoid": Pointwise(1, "L::sigmoid({0})", torch.sigmoid, None, True, _scaled(_sigmoid_slope)),
    "erf": Pointwise(1, "L::erf({0})", torch.erf, None, True, _scaled(_erf_slope)),
    "softplus": Pointwise(1, "L::softplus({0})", torch.nn.functional.softplus, None, True,
                          _scaled(lambda b, x, out: b.point("sigmoid", x))),
    "relu": Pointwise(1, "L::relu({0})", torch.relu, derivative=_relu),
    "to_real": Pointwise(1, "L::to_real({0})", lambda x: x, "real"),
    "to_int": Pointwise(1, "L::to_int({0})", lambda x: x.long(), "int"),
    "to_bool": Pointwise(1, "L::to_bool({0})", lambda x: x.bool(), "bool"),
}  # fmt: skip
