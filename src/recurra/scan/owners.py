"""Modules whose cells are found again when a graph of `torch.compile` runs that they are part of."""

# What PyTorch dispatches to is told by nothing public.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from typing import Protocol
from weakref import WeakValueDictionary

import torch

from recurra.core import Cell

__all__ = ["USUAL_KEYS", "Owner", "adopt", "owner_of"]

USUAL_KEYS = (torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set())
"""What PyTorch dispatches to, and what not, where no operator is running."""


class Owner(Protocol):
    """A module with cells in a fixed order."""

    def bound_cells(self) -> list[Cell]:
        """Return its cells."""
        ...


def adopt(owner: Owner) -> None:
    """Let a module be found by its id, as long as it lives."""
    _owners[id(owner)] = owner


def owner_of(number: int) -> Owner | None:
    """Return the adopted module with that id."""
    return _owners.get(number)


_owners: WeakValueDictionary[int, Owner] = WeakValueDictionary()
