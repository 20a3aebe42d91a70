"""What a task is: data, network, head, decoding and metrics under one name, saved in one folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from recurra.core import Cell, Trainable
from recurra.learning import ModelFolder

__all__ = ["Task"]


class Task(ABC):
    """A model for one kind of task, trained or about to be.

    A task is one file in `recurra.tasks`: a frozen dataclass of options, whose fields become the command line's flags,
    and a subclass of this, registered under the file's stem with hyphens.

    Attributes:
        options_type: the dataclass of options; every field has `metadata["help"]`.
        network: the network, a `torch.nn.Module`; config: what `config.json` holds.
    """

    options_type: ClassVar[type[Any]]
    network: Any
    config: dict[str, Any]

    @classmethod
    @abstractmethod
    def prepare(cls, options: Any, paths: Sequence[Path], *, seed: int = 0, cells: Sequence[type[Cell]] = ()) -> Self:
        """Read the data, and build a network for it with weights drawn from `seed`."""

    @classmethod
    @abstractmethod
    def restore(cls, folder: ModelFolder, *, cells: Sequence[type[Cell]] = ()) -> Self:
        """Rebuild a trained model; `cells` are the users' own, which a folder never brings along."""

    @abstractmethod
    def trainable(self) -> Trainable:
        """Return what the trainer needs; only after `prepare`."""

    @abstractmethod
    def save(self, folder: ModelFolder) -> None:
        """Write everything but weights, config and README (a vocabulary)."""

    @abstractmethod
    def predict(self, inputs: Any) -> Any:
        """Return the model's answer for some inputs."""

    @abstractmethod
    def evaluate(self, paths: Sequence[Path] | None = None, *, part: str = "validation") -> dict[str, float]:
        """Return the metrics on a part of the training data, or on other files, beside simple baselines."""

    @abstractmethod
    def describe(self, metrics: Mapping[str, float]) -> str:
        """Return the text of the model folder's README: what it is, how it was trained, how good it is."""
