"""Which matrix products of a loop are not needed in a row where a condition is false, so that they need not run.

A cell may run only some of its units at a step, `torch.where(awake, new, old)`; what only `new` needs is then needed
where `awake` holds. A product sleeps with a condition, one truth for each row, if

    it goes through operations that keep finite numbers finite into the chosen side of such a `where`, and nowhere else
    that must be right (what the backward alone reads it multiplies by the gradient of `new`, which is 0 there), or
    its left side is 0 where the condition is false (the gradient of `new` times a slope).

A product that sleeps counts as 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from recurra.compiler.ir import MOVES, Arg, Value, has_rows, row_size, topological

__all__ = ["asleep"]

_FINITE = ("add", "sub", "mul", "neg", "abs", "maximum", "minimum", "tanh", "sigmoid", "relu", "clamp_min", "clamp_max")


def asleep(roots: Iterable[Value], inputs: Collection[Value], exact: Collection[Value]) -> dict[Value, Value]:
    """Return the condition of every value that sleeps: products, and what is computed of them up to the `where`.

    roots: what the loop writes; exact: those among them that must be right where nothing is awake, too.
    """
    order = [v for v in topological(roots, inputs) if v not in inputs]
    users: dict[Value, list[Value]] = {}
    for v in order:
        for a in v.values:
            users.setdefault(a, []).append(v)
    found: dict[Value, Value] = {}
    for v in order:
        if v.op != "mm" or v.shape[0] != -1 or v in found:
            continue
        condition = _of_lefts(v, inputs)
        if condition is not None:
            found[v] = condition
            continue
        chain, condition = _up_to_a_choice(v, users, inputs, exact)
        if condition is not None and all(found.get(c, condition) is condition for c in chain):
            found.update(dict.fromkeys(chain, condition))
    return found


def _of_lefts(v: Value, inputs: Collection[Value]) -> Value | None:
    conditions = {_zero_without(a, inputs) for a in v.values[::2]}
    return conditions.pop() if len(conditions) == 1 else None


def _zero_without(v: Value, inputs: Collection[Value]) -> Value | None:
    """Return the condition without which a value is 0, if there is one."""
    if v in inputs:
        return None
    if v.op == "where" and _is_zero(v.args[2]):
        return _truth_of_rows(v, inputs)
    if v.op in ("mul", "neg", "to_real", "reshape", "slice"):
        return next((c for a in v.values if (c := _zero_without(a, inputs)) is not None), None)
    return None


def _is_zero(a: Arg) -> bool:
    number = a.attrs[0] if isinstance(a, Value) and a.op == "fill" else a
    return not isinstance(number, Value) and number == 0


def _truth_of_rows(where: Value, inputs: Collection[Value]) -> Value | None:
    """Return what a `where` chooses by, if that is one truth for each row, perhaps one of several side by side."""
    v = where.values[0]
    while v not in inputs and v.op in ("expand", "reshape"):
        v = v.values[0]
    if row_size(v.shape) != 1 or not has_rows(v.shape) or v.kind != "bool":
        return None
    whole = v.values[0] if v.op == "slice" and v not in inputs else v
    return v if whole in inputs or whole.op not in MOVES else None


def _up_to_a_choice(
    product: Value, users: Mapping[Value, list[Value]], inputs: Collection[Value], exact: Collection[Value]
) -> tuple[set[Value], Value | None]:
    """Return everything made of a product, up to and with the `where`s that choose it, and the one condition of all."""
    chain: set[Value] = set()
    choices: dict[Value, Value | None] = {}
    waiting = [product]
    while waiting:
        v = waiting.pop()
        if v in chain:
            continue
        chain.add(v)
        if v in exact:
            return chain, None
        for user in users.get(v, ()):
            if user.op == "where" and user.args[1] is v:
                choices[user] = _truth_of_rows(user, inputs)
            elif user.op in _FINITE and user.shape == product.shape:
                waiting.append(user)
            else:
                return chain, None
    conditions = set(choices.values())
    if len(conditions) != 1 or any(choice.args[2] in chain for choice in choices):
        return chain, None
    return chain | set(choices), conditions.pop()
