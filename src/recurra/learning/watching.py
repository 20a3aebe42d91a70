"""What happens inside a step, seen from outside: products with weights, and squashing functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["Product", "Watch"]


@dataclass(frozen=True)
class Product:
    """`z = W heard (+ b)` inside a step: the parameter's name, what it was multiplied with, and z with its graph."""

    name: str
    heard: Tensor
    z: Tensor


class Watch(TorchFunctionMode):
    """Notes every product of a parameter with something that depends on `seen`, and every squashed value.

    weights: the parameters by name. A product is one by `torch.nn.functional.linear`, as `nn.Linear` makes them.
    products and squashed are in the order of the step's operations.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._names = {id(p): name for name, p in weights.items()}
        self.products: list[Product] = []
        self.squashed: list[tuple[str, Tensor]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        if func is F.linear and id(args[1]) in self._names and args[0].dim() == 2:
            self.products.append(Product(self._names[id(args[1])], args[0], result))
        kind = _SQUASHING.get(func)
        if kind is not None and isinstance(result, Tensor):
            self.squashed.append((kind, result))
        return result


_SQUASHING: dict[Any, str] = {
    torch.sigmoid: "sigmoid",
    Tensor.sigmoid: "sigmoid",
    F.sigmoid: "sigmoid",
    torch.tanh: "tanh",
    Tensor.tanh: "tanh",
    F.tanh: "tanh",
}
