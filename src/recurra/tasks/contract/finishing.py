"""What a task offers that has something left to do when the weights are learned."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["Finishing"]


@runtime_checkable
class Finishing(Protocol):
    """A model that is finished with its best weights in place, before it is saved and measured: calibrated, say."""

    def finish(self) -> None:
        """Do it, by the validation part."""
        ...
