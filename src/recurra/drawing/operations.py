"""From the operations that torch recorded to those of a formula: one short rule each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from recurra.compiler.vocabulary import Event
from recurra.drawing.step_graph import ELEMENTWISE, INPUT, STATE, Argument, Builder, Node

__all__ = ["translate"]

_Rule: TypeAlias = Callable[[Builder, Sequence[Any], Mapping[str, Any], tuple[int, ...]], Any]
_RULES: dict[str, _Rule] = {}

_SAME = {
    "logical_and": "and", "bitwise_and": "and", "__and__": "and", "logical_or": "or", "bitwise_or": "or",
    "__or__": "or", "logical_xor": "xor", "bitwise_xor": "xor", "logical_not": "not", "bitwise_not": "not",
    "log_sigmoid_forward": "log_sigmoid", "sgn": "sign", "true_divide": "div", "_softmax": "softmax",
    "_log_softmax": "log_softmax", "native_layer_norm": "layer_norm", "_fused_rms_norm": "rms_norm",
    "linalg_vector_norm": "norm", "_to_copy": "convert",
}  # fmt: skip


def translate(builder: Builder, event: Event, values: Mapping[int, Node | float]) -> list[Node | float | None]:
    """Return what an operation's results are, given what its arguments are."""

    def known(a: Any) -> Any:
        if isinstance(a, tuple) and len(a) == 2 and a[0] == "tensor":
            return values[a[1]]
        return [known(b) for b in a] if isinstance(a, tuple | list) else a

    args = [known(a) for a in event.args]
    kwargs = {k: known(v) for k, v in event.kwargs.items()}
    shape = event.shapes[0] or ()
    rule = _RULES.get(event.name)
    if rule is not None:
        made = rule(builder, args, kwargs, shape)
        return list(made) if isinstance(made, list) else [made]
    op = _SAME.get(event.name, event.name)
    given = [*args, *kwargs.values()]
    nodes = [a for group in given for a in (group if isinstance(group, list) else [group]) if isinstance(a, Node)]
    # What is no tensor tells operations apart: a shift, a dimension.
    rest = tuple(repr(a) for a in given if not isinstance(a, Node) and not (isinstance(a, list) and a[:1] == nodes[:1]))
    if op in ELEMENTWISE:
        plain = tuple(f"{k}={v!r}" for k, v in kwargs.items() if not isinstance(v, Node) and op != "convert")
        return [builder.make(op, [a for a in args if isinstance(a, Node | float | int)], shape, plain)]
    if "zeros" in event.name or "ones" in event.name:
        return [_filled(builder, float("ones" in event.name), shape)]
    if event.name in ("full", "new_full", "full_like"):
        return [_filled(builder, args[2] if event.name == "new_full" else args[1], shape)]
    whole = builder.make(op, nodes, shape, rest)
    more = [
        builder.make("result", (whole,), s or (), (k,)) if s is not None else None
        for k, s in enumerate(event.shapes[1:], 1)
    ]
    return [whole, *more]


def _filled(builder: Builder, number: Any, shape: tuple[int, ...]) -> Node | float:
    return builder.make("number", (number,), shape) if shape else number


def _rule(*names: str) -> Callable[[_Rule], _Rule]:
    def register(rule: _Rule) -> _Rule:
        _RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


@_rule("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "_reshape_alias", "expand")
def _view(b: Builder, args: Sequence[Any], _: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
    return b.view(args[0], shape) if isinstance(args[0], Node) else args[0]


@_rule("alias", "clone", "detach", "lift_fresh", "lift_fresh_copy", "contiguous", "positive", "scalar_tensor")
def _same(b: Builder, args: Sequence[Any], _: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
    return args[0]


@_rule("t", "transpose", "permute")
def _transpose(b: Builder, args: Sequence[Any], _: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
    v: Node = args[0]
    rank = len(v.shape)
    order = list(range(rank))
    if len(args) == 3:
        one, two = args[1] % rank, args[2] % rank
        order[one], order[two] = order[two], order[one]
    elif len(args) == 2:
        order = [d % rank for d in args[1]]
    else:
        order.reverse()
    if order == list(range(rank)):
        return v
    if order == [*range(rank - 2), rank - 1, rank - 2]:
        return b.transpose(v)
    return b.make("permute", (v,), shape, (tuple(order),))


@_rule("mm", "bmm", "mv", "dot")
def _mm(b: Builder, args: Sequence[Any], _: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    left, right = args
    if len(right.shape) == 1 and not left.needs & (INPUT | STATE):
        return b.make("matrix", (left, right), shape)
    if len(right.shape) == 1:
        return b.make("product", (left, right), shape)
    return b.product(left, right, shape)


@_rule("addmm", "baddbmm")
def _addmm(b: Builder, args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    bias, left, right = args
    made = _scaled(b, b.product(left, right, shape), kwargs.get("alpha", 1))
    return b.make("add", (made, _scaled(b, bias, kwargs.get("beta", 1))), shape)


@_rule("convolution")
def _convolution(b: Builder, args: Sequence[Any], _: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    x, weight, bias = args[:3]
    made = b.make("convolution", (weight, x), shape, tuple(map(repr, args[3:])))
    if bias is None:
        return made
    return b.make("add", (made, b.view(bias, (*bias.shape, *[1] * (len(shape) - 2)))), shape)


@_rule("split", "split_with_sizes", "unbind")
def _split(b: Builder, args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...]) -> list[Node]:
    v: Node = args[0]
    given: Any = args[1] if len(args) > 1 else None
    if len(shape) < len(v.shape):  # unbind
        dim = int(kwargs.get("dim", given or 0)) % len(v.shape) - len(v.shape)
        return [b.view(b.part(v, dim, k, 1), shape) for k in range(v.shape[dim])]
    dim = int(kwargs.get("dim", args[2] if len(args) > 2 else 0)) % len(v.shape) - len(v.shape)
    sizes: list[int] = given if isinstance(given, list) else _equal_sizes(v.shape[dim], int(given))
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    return [b.part(v, dim, start, size) for start, size in zip(starts, sizes, strict=True)]


def _equal_sizes(whole: int, size: int) -> list[int]:
    """Cut a whole into parts of one size, the last perhaps smaller."""
    return [min(size, whole - k) for k in range(0, whole, size)]


@_rule("slice")
def _slice(b: Builder, args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    v: Node = args[0]
    dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % len(v.shape)
    start = (args[2] if len(args) > 2 else kwargs.get("start")) or 0
    step = args[4] if len(args) > 4 else kwargs.get("step", 1)
    size = v.shape[dim]
    start = max(0, min(start + size if start < 0 else start, size))
    return b.part(v, dim - len(v.shape), start, shape[dim], step)


@_rule("select")
def _select(b: Builder, args: Sequence[Any], _: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    v, dim, index = args
    dim = dim % len(v.shape)
    return b.view(b.part(v, dim - len(v.shape), index % v.shape[dim], 1), shape)


@_rule("cat", "stack")
def _cat(b: Builder, args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    parts = [p if isinstance(p, Node) else b.make("number", (p,), ()) for p in args[0]]
    dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % len(shape)
    if len(parts[0].shape) < len(shape):
        parts = [b.view(p, (*shape[:dim], 1, *shape[dim + 1 :])) for p in parts]
    return b.make("cat", parts, shape, (dim - len(shape),))


@_rule("add")
def _add(b: Builder, args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    return b.make("add", (args[0], _scaled(b, args[1], kwargs.get("alpha", 1))), shape)


@_rule("sub")
def _sub(b: Builder, args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    return b.make("sub", (args[0], _scaled(b, args[1], kwargs.get("alpha", 1))), shape)


@_rule("rsub")
def _rsub(b: Builder, args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    return b.make("sub", (_scaled(b, args[1], 1), args[0]), shape)


@_rule("lerp")
def _lerp(b: Builder, args: Sequence[Any], _: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    first, second, weight = args
    moved = b.make("mul", (weight, b.make("sub", (second, first), shape)), shape)
    return b.make("add", (first, moved), shape)


@_rule("addcmul")
def _addcmul(b: Builder, args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    base, one, two = args
    return b.make("add", (base, _scaled(b, b.make("mul", (one, two), shape), kwargs.get("value", 1))), shape)


@_rule("clamp")
def _clamp(b: Builder, args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    v, *given = args
    low = given[0] if given else kwargs.get("min", kwargs.get("min_val"))
    high = given[1] if len(given) > 1 else kwargs.get("max", kwargs.get("max_val"))
    for op, bound in (("clamp_min", low), ("clamp_max", high)):
        v = v if bound is None else b.make(op, (v, bound), shape)
    return v


@_rule("div")
def _div(b: Builder, args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    quotient = b.make("div", args[:2], shape)
    mode = kwargs.get("rounding_mode")
    return quotient if mode is None else b.make("floor" if mode == "floor" else "trunc", (quotient,), shape)


@_rule("masked_fill")
def _masked_fill(b: Builder, args: Sequence[Any], _: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
    v, mask, number = args
    return b.make("where", (mask, number, v), shape)


def _reduction(name: str) -> _Rule:
    def reduce(b: Builder, args: Sequence[Any], kwargs: Mapping[str, Any], shape: tuple[int, ...]) -> Node:
        v: Node = args[0]
        given = args[1] if len(args) > 1 else kwargs.get("dim")
        dims = [given] if isinstance(given, int) else given or range(len(v.shape))
        return b.make(name, (v,), shape, (tuple(d % len(v.shape) - len(v.shape) for d in dims),))

    return reduce


_RULES.update({name: _reduction(name) for name in ("sum", "mean", "amax", "amin", "var", "std", "logsumexp", "cumsum")})


def _scaled(b: Builder, value: Any, factor: float) -> Argument:
    if factor == 1 or not isinstance(value, Node):
        return value * factor if factor != 1 else value
    return b.make("mul", (value, factor), value.shape)
