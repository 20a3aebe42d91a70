"""Refusing a model folder whose files describe a network far larger than the weights they bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from recurra.core.errors import CorruptError, MismatchError

__all__ = ["check_size"]


def check_size(build: Callable[[], nn.Module], weights: Mapping[str, Tensor], path: Path) -> None:
    """Build a network without memory, and refuse it if it has more numbers than the weights of the folder `path`.

    A few bytes of configuration could otherwise take all memory there is. Raises MismatchError, or CorruptError where
    nothing can be built at all. Whether every tensor fits is for `restore_weights` to say.
    """
    held = sum(tensor.numel() for tensor in weights.values())
    try:
        with torch.device("meta"):
            wanted = sum(parameter.numel() for parameter in build().parameters())
    except (RuntimeError, TypeError, OverflowError) as error:
        raise CorruptError(f"{path}/config.json describes no network that could be built: it is damaged") from error
    if wanted > held:
        raise MismatchError(
            f"the weights of {path} do not fit the network: config.json and vocabulary.json describe {wanted} "
            f"numbers, model.safetensors holds {held}; take the files of one model"
        )
