"""What torch's activation functions mean in the compiler's operations."""

from __future__ import annotations

import math

from recurra.compiler.ir import Value
from recurra.compiler.vocabulary import Call, refuse_rows, rule

__all__ = []


@rule("relu")
def _relu(c: Call) -> Value:
    return c.point("relu", c.args[0])


@rule("leaky_relu")
def _leaky_relu(c: Call) -> Value:
    x, slope = c.args[0], c.arg(1, 0.01, "negative_slope")
    return c.point("where", c.point("gt", x, 0.0), x, c.point("mul", x, float(slope)))


@rule("elu")
def _elu(c: Call) -> Value:
    x, alpha, scale, inner = c.args[0], c.arg(1, 1.0), c.arg(2, 1.0), c.arg(3, 1.0)
    low = c.point("mul", c.point("expm1", c.point("mul", c.point("clamp_max", x, 0.0), float(inner))), float(alpha))
    return c.point("mul", c.point("where", c.point("gt", x, 0.0), x, low), float(scale))


@rule("celu")
def _celu(c: Call) -> Value:
    x, alpha = c.args[0], float(c.arg(1, 1.0, "alpha"))
    low = c.point("mul", c.point("expm1", c.point("div", c.point("clamp_max", x, 0.0), alpha)), alpha)
    return c.point("where", c.point("gt", x, 0.0), x, low)


@rule("silu")
def _silu(c: Call) -> Value:
    return c.point("mul", c.args[0], c.point("sigmoid", c.args[0]))


@rule("gelu")
def _gelu(c: Call) -> Value:
    x = c.args[0]
    if c.kwargs.get("approximate", "none") == "tanh":
        cube = c.point("mul", c.point("mul", c.point("mul", x, x), x), 0.044715)
        inner = c.point("tanh", c.point("mul", c.point("add", x, cube), math.sqrt(2.0 / math.pi)))
    else:
        inner = c.point("erf", c.point("mul", x, math.sqrt(0.5)))
    return c.point("mul", c.point("mul", x, 0.5), c.point("add", inner, 1.0))


@rule("softplus")
def _softplus(c: Call) -> Value:
    beta, threshold = float(c.arg(1, 1.0, "beta")), float(c.arg(2, 20.0, "threshold"))
    x = c.args[0]
    scaled = c.point("mul", x, beta)
    soft = c.point("div", c.point("softplus", scaled), beta)
    return c.point("where", c.point("gt", scaled, threshold), x, soft)


@rule("log_sigmoid_forward")
def _log_sigmoid(c: Call) -> tuple[Value, Value]:
    y = c.point("neg", c.point("softplus", c.point("neg", c.args[0])))
    return y, c.graph.fill(0.0, c.event.shapes[1] or (), "real")


@rule("mish")
def _mish(c: Call) -> Value:
    return c.point("mul", c.args[0], c.point("tanh", c.point("softplus", c.args[0])))


@rule("hardsigmoid", "hardswish")
def _hardsigmoid(c: Call) -> Value:
    x = c.args[0]
    gate = c.point("clamp_max", c.point("clamp_min", c.point("add", c.point("div", x, 6.0), 0.5), 0.0), 1.0)
    return gate if c.event.name == "hardsigmoid" else c.point("mul", x, gate)


@rule("glu")
def _glu(c: Call) -> Value:
    v = c.args[0]
    dim = c.arg(1, -1, "dim") % len(v.shape)
    refuse_rows(c, v, [dim])
    half = v.shape[dim] // 2
    value, gate = c.graph.slice(v, dim, 0, half), c.graph.slice(v, dim, half, half)
    return c.point("mul", value, c.point("sigmoid", gate))


@rule("_prelu_kernel")
def _prelu(c: Call) -> Value:
    x, slope = c.args
    return c.point("where", c.point("gt", x, 0.0), x, c.point("mul", x, slope))


@rule("threshold")
def _threshold(c: Call) -> Value:
    x, bound, number = c.args
    return c.point("where", c.point("le", x, float(bound)), float(number), x)


@rule("hardshrink")
def _hardshrink(c: Call) -> Value:
    x, width = c.args[0], float(c.arg(1, 0.5, "lambd"))
    return c.point("where", c.point("le", c.point("abs", x), width), 0.0, x)


@rule("softshrink")
def _softshrink(c: Call) -> Value:
    x, width = c.args[0], float(c.arg(1, 0.5, "lambd"))
    low = c.point("where", c.point("lt", x, -width), c.point("add", x, width), c.point("mul", x, 0.0))
    return c.point("where", c.point("gt", x, width), c.point("sub", x, width), low)
