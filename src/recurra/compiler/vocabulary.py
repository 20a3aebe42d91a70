"""What torch's operations mean in the compiler's: one short rule each. This file is the list of what is supported."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import Arg, Dims, Graph, Value, has_rows
from recurra.compiler.template import Template

__all__ = ["RULES", "Event", "Rows", "Translator"]


@dataclass(frozen=True)
class Rows:
    """An integer that was `factor` times the batch in both runs."""

    factor: int


@dataclass
class Event:
    """One operation that the step did; tensors among the arguments are `("tensor", number)`."""

    function: Any
    name: str
    args: Any
    kwargs: Any
    results: list[int | None]
    shapes: list[Any]
    dtypes: list[torch.dtype | None]
    many: bool
    stopped: bool
    where: str


class Call:
    """One operation while it is translated: its arguments as values, its results' shapes, and the graph to build in."""

    def __init__(self, t: Translator, event: Event) -> None:
        self.graph = t.graph
        self.event = event
        self.args: list[Any] = t.arguments(event.args)
        self.kwargs: dict[str, Any] = t.arguments(event.kwargs)
        self.shape: Dims = event.shapes[0] or ()
        self.kind = t.kind_of(event.dtypes[0], event) if event.dtypes[0] else "real"

    def arg(self, k: int, default: Any = None, name: str = "") -> Any:
        """Return argument k, or the one called `name`, or the default."""
        return self.args[k] if len(self.args) > k else self.kwargs.get(name, default)

    def point(self, op: str, *args: Arg) -> Value:
        """Return a pointwise value, with integers made real where torch would promote them."""
        kinds = [a.kind if isinstance(a, Value) else "real" if isinstance(a, float) else "" for a in args]
        if op != "where" and "real" in kinds:
            args = tuple(self.real(a) if isinstance(a, Value) else a for a in args)
        return self.graph.point(op, *args)

    def real(self, a: Any) -> Any:
        """Return a value or number as real."""
        if not isinstance(a, Value):
            return float(a)
        return a if a.kind == "real" else self.graph.point("to_real", a)

    def refuse(self, reason: str) -> Unsupported:
        """Return the error that says why this operation cannot be compiled."""
        return Unsupported(self.event.name, reason, self.event.where)


class Translator:
    """Translates events, one after the other, into a graph."""

    def __init__(self, graph: Graph, real: torch.dtype) -> None:
        self.graph = graph
        self.values: dict[int, Any] = {}
        self.constants: dict[Value, Tensor] = {}
        self._real = real

    def leaf(self, number: int, name: str, shape: Dims, dtype: torch.dtype) -> Value:
        """Make a leaf of the graph."""
        # Parameters of other kinds of number may exist, as long as the step does not use them.
        kind = "real" if dtype == self._real else "bool" if dtype == torch.bool else "int"
        value = self.graph.input(name, shape, kind)
        usable = dtype in (self._real, torch.bool, torch.int64)
        self.values[number] = value if usable else Unsupported(name, f"a tensor of {dtype}, with inputs of {self._real}")
        return value

    def constant(self, number: int, tensor: Tensor) -> None:
        """Take a tensor that the step made from Python numbers."""
        if tensor.dim() == 0:
            self.values[number] = tensor.item()
            return
        if tensor.is_floating_point():
            tensor = tensor.to(self._real)
        name = f"constant.{len(self.constants)}"
        self.values[number] = self.leaf(number, name, tuple(tensor.shape), tensor.dtype)
        self.constants[self.values[number]] = tensor

    def event(self, event: Event) -> None:
        """Translate one operation."""
        self.graph.where = event.where
        call = Call(self, event)
        rule = RULES.get(event.name)
        known = None if rule is None else rule(call)
        results = list(known) if isinstance(known, tuple | list) else [known]
        if known is None:
            results = self._opaque(event)
        for number, result in zip(event.results, results, strict=True):
            if number is None:
                continue
            stop = event.stopped and isinstance(result, Value)
            self.values[number] = self.graph.stop(result) if stop else result

    def output(self, value: Any) -> Value:
        """Return what the step returned as a value."""
        if isinstance(value, Unsupported):
            raise value
        if not isinstance(value, Value):
            raise Unsupported("output", "the step returns a constant")
        return value

    def arguments(self, a: Any) -> Any:
        """Return arguments with values in place of tensors."""
        if isinstance(a, tuple) and len(a) == 2 and a[0] == "tensor":
            value = self.values[a[1]]
            if isinstance(value, Unsupported):
                raise value
            return value
        if isinstance(a, tuple | list):
            return [self.arguments(b) for b in a]
        if isinstance(a, dict):
            return {k: self.arguments(v) for k, v in a.items()}
        return a

    def kind_of(self, dtype: torch.dtype | None, event: Event) -> str:
        """Return the kind for a dtype."""
        kinds = {self._real: "real", torch.int64: "int", torch.bool: "bool"}
        # A number without dimensions has torch's default type, and takes the others' type where it is used.
        if dtype not in kinds and event.shapes[0] == () and dtype is not None and dtype.is_floating_point:
            return "real"
        if dtype not in kinds:
            raise Unsupported(event.name, f"gives {dtype}, with inputs of {self._real}", event.where)
        return kinds[dtype]

    def _opaque(self, event: Event) -> list[Value]:
        """Keep an operation that has no rule; it can run outside the loop if it keeps the rows apart."""
        template = Template(event.args, event.kwargs)
        args = [self.arguments(("tensor", n)) for n in template.tensors]
        rows = any(isinstance(a, Value) and has_rows(a.shape) for a in args) or any(map(has_rows, filter(None, event.shapes)))
        if rows and event.name not in _KEEPS_ROWS:
            raise Unsupported(event.name, "the compiler has no rule for this operation", event.where)
        made = [a if isinstance(a, Value) else self.graph.fill(a, (), "real") for a in args]
        kinds = [self.kind_of(d, event) if d else "real" for d in event.dtypes]
        if not event.many:
            return [self.graph.make("aten", made, (event.function, template), event.shapes[0], kinds[0])]
        whole = self.graph.make("aten", made, (event.function, template), (), "real")
        parts = zip(event.shapes, kinds, strict=True)
        return [self.graph.make("part", (whole,), (k,), s or (), kind) for k, (s, kind) in enumerate(parts)]


_KEEPS_ROWS = {"convolution", "embedding", "avg_pool2d", "max_pool2d_with_indices", "upsample_nearest2d"}

RULES: dict[str, Callable[[Call], Any]] = {}
"""The rule of every operation by its name in `torch.ops.aten`."""


def _rule(*names: str) -> Callable[[Callable[[Call], Any]], Callable[[Call], Any]]:
    def register(rule: Callable[[Call], Any]) -> Callable[[Call], Any]:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


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


@_rule("logical_not", "bitwise_not")
def _not(c: Call) -> Value:
    return c.point("not", _bool(c, c.args[0]))


@_rule("add", "sub")
def _add(c: Call) -> Value:
    a, b, alpha = c.args[0], c.args[1], c.arg(2, 1, "alpha")
    return c.point(c.event.name, a, b if alpha == 1 else c.point("mul", b, alpha) if isinstance(b, Value) else b * alpha)


@_rule("rsub")
def _rsub(c: Call) -> Value:
    return c.point("sub", c.args[1], c.args[0])


@_rule("mul")
def _mul(c: Call) -> Value:
    if c.kind == "bool":
        return c.point("and", *c.args)
    return c.point("mul", *c.args)


@_rule("div")
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


@_rule("floor_divide", "remainder")
def _integer_division(c: Call) -> Value:
    if isinstance(c.args[1], Value) and c.args[1].kind == "real":
        raise c.refuse("by a real tensor")
    return c.point(c.event.name, *c.args)


@_rule("pow")
def _pow(c: Call) -> Value:
    base, power = c.args
    if isinstance(power, Value) or not isinstance(base, Value) or base.kind != "real":
        raise c.refuse("only a real tensor to the power of a number is supported")
    if power in (1, 2, 3):
        return [base, c.point("mul", base, base), c.point("mul", c.point("mul", base, base), base)][int(power) - 1]
    if power == 0.5:
        return c.point("sqrt", base)
    return c.point("pow", base, float(power))


@_rule("square")
def _square(c: Call) -> Value:
    return c.point("mul", c.args[0], c.args[0])


@_rule("reciprocal")
def _reciprocal(c: Call) -> Value:
    return c.point("div", 1.0, c.real(c.args[0]))


@_rule("sign", "sgn")
def _sign(c: Call) -> Value:
    return c.point("sign", c.args[0])


@_rule("round")
def _round(c: Call) -> Value:
    if c.kwargs.get("decimals"):
        raise c.refuse("to decimals")
    return c.point("round", c.args[0])


@_rule("where")
def _where(c: Call) -> Value:
    mask, a, b = c.args
    if c.kind == "real":
        a, b = c.real(a), c.real(b)
    return c.graph.point("where", _bool_of(c, mask), a, b, kind=c.kind)


def _bool_of(c: Call, a: Value) -> Value:
    return a if a.kind == "bool" else c.graph.point("to_bool", a)


@_rule("masked_fill")
def _masked_fill(c: Call) -> Value:
    x, mask, number = c.args
    return c.graph.point("where", mask, c.real(number) if x.kind == "real" else number, x, kind=x.kind)


@_rule("clamp", "hardtanh")
def _clamp(c: Call) -> Value:
    defaults = (-1.0, 1.0) if c.event.name == "hardtanh" else (None, None)
    x, low, high = c.args[0], c.arg(1, defaults[0], "min"), c.arg(2, defaults[1], "max")
    for op, bound in (("clamp_min", low), ("clamp_max", high)):
        if isinstance(bound, Value):
            x = c.point("maximum" if op == "clamp_min" else "minimum", x, bound)
        elif bound is not None:
            x = c.point(op, x, float(bound) if x.kind == "real" else bound)
    return x


@_rule("clamp_min", "clamp_max")
def _clamp_one(c: Call) -> Value:
    x, bound = c.args
    if isinstance(bound, Value):
        return c.point("maximum" if c.event.name == "clamp_min" else "minimum", x, bound)
    return c.point(c.event.name, x, float(bound) if x.kind == "real" else bound)


@_rule("relu")
def _relu(c: Call) -> Value:
    return c.point("relu", c.args[0])


@_rule("leaky_relu")
def _leaky_relu(c: Call) -> Value:
    x, slope = c.args[0], c.arg(1, 0.01, "negative_slope")
    return c.point("where", c.point("gt", x, 0.0), x, c.point("mul", x, float(slope)))


@_rule("elu")
def _elu(c: Call) -> Value:
    x, alpha, scale, inner = c.args[0], c.arg(1, 1.0), c.arg(2, 1.0), c.arg(3, 1.0)
    low = c.point("mul", c.point("expm1", c.point("mul", c.point("clamp_max", x, 0.0), float(inner))), float(alpha))
    return c.point("mul", c.point("where", c.point("gt", x, 0.0), x, low), float(scale))


@_rule("silu")
def _silu(c: Call) -> Value:
    return c.point("mul", c.args[0], c.point("sigmoid", c.args[0]))


@_rule("gelu")
def _gelu(c: Call) -> Value:
    x = c.args[0]
    if c.kwargs.get("approximate", "none") == "tanh":
        cube = c.point("mul", c.point("mul", c.point("mul", x, x), x), 0.044715)
        inner = c.point("tanh", c.point("mul", c.point("add", x, cube), math.sqrt(2.0 / math.pi)))
    else:
        inner = c.point("erf", c.point("mul", x, math.sqrt(0.5)))
    return c.point("mul", c.point("mul", x, 0.5), c.point("add", inner, 1.0))


@_rule("softplus")
def _softplus(c: Call) -> Value:
    beta, threshold = float(c.arg(1, 1.0, "beta")), float(c.arg(2, 20.0, "threshold"))
    x = c.args[0]
    scaled = c.point("mul", x, beta)
    soft = c.point("div", c.point("softplus", scaled), beta)
    return c.point("where", c.point("gt", scaled, threshold), x, soft)


@_rule("log_sigmoid_forward")
def _log_sigmoid(c: Call) -> tuple[Value, Value]:
    y = c.point("neg", c.point("softplus", c.point("neg", c.args[0])))
    return y, c.graph.fill(0.0, c.event.shapes[1] or (), "real")


@_rule("mish")
def _mish(c: Call) -> Value:
    return c.point("mul", c.args[0], c.point("tanh", c.point("softplus", c.args[0])))


@_rule("hardsigmoid", "hardswish")
def _hardsigmoid(c: Call) -> Value:
    x = c.args[0]
    gate = c.point("clamp_max", c.point("clamp_min", c.point("add", c.point("div", x, 6.0), 0.5), 0.0), 1.0)
    return gate if c.event.name == "hardsigmoid" else c.point("mul", x, gate)


@_rule("addcmul")
def _addcmul(c: Call) -> Value:
    base, a, b = c.args
    return c.point("add", base, c.point("mul", c.point("mul", a, b), float(c.kwargs.get("value", 1.0))))


@_rule("lerp")
def _lerp(c: Call) -> Value:
    a, b, weight = c.args
    return c.point("add", a, c.point("mul", c.point("sub", b, a), weight))


@_rule("_to_copy")
def _to_copy(c: Call) -> Value:
    x = c.args[0]
    return x if x.kind == c.kind else c.graph.point(f"to_{c.kind}", x)


@_rule("detach")
def _detach(c: Call) -> Value:
    return c.graph.stop(c.args[0]) if isinstance(c.args[0], Value) else c.args[0]


@_rule("alias", "clone", "lift_fresh", "lift_fresh_copy", "conj", "_conj", "contiguous", "positive")
def _identity(c: Call) -> Any:
    return c.args[0]


@_rule("full", "full_like", "new_full")
def _full(c: Call) -> Value:
    number = c.args[2] if c.event.name == "new_full" else c.args[1]
    if isinstance(number, Value):
        raise c.refuse("filled with the value of a tensor")
    return _filled(c, number)


@_rule("zeros", "zeros_like", "new_zeros")
def _zeros(c: Call) -> Value:
    return _filled(c, 0)


@_rule("ones", "ones_like", "new_ones")
def _ones(c: Call) -> Value:
    return _filled(c, 1)


@_rule("scalar_tensor")
def _scalar(c: Call) -> Any:
    return c.args[0]


def _filled(c: Call, number: Any) -> Value:
    convert: dict[str, Callable[[Any], Any]] = {"real": float, "int": int, "bool": bool}
    return c.graph.fill(convert[c.kind](number), c.shape, c.kind)


def refuse_rows(c: Call, v: Value, dims: Sequence[int]) -> None:
    """Raise Unsupported if one of the dimensions holds the batch."""
    if any(v.shape[d] < 0 for d in dims):
        raise c.refuse("it mixes the batch's rows")
