"""The laws: every public function of a module in this folder is one; to add a law, add a function or a file.

The first line of its docstring is the law. It takes a `Subject` and raises LawError where the law does not hold.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

import torch

from recurra.core.errors import LawError
from recurra.testing.subject import Subject

__all__ = ["LAWS", "Law"]


@dataclass(frozen=True)
class Law:
    """One law of behaviour: its name, what it says, and the function that tries it."""

    name: str
    says: str
    attempt: Callable[[Subject], None]

    def __call__(self, subject: Subject) -> None:
        """Try the law on a cell. Raises LawError in one line; a cell that fails in any other way breaks it as well."""
        try:
            with torch.random.fork_rng(devices=[]):
                self.attempt(subject)
        except Exception as error:
            detail = " ".join(str(error).split())
            if not isinstance(error, LawError):
                detail = f"expected a result, got {type(error).__name__}: {detail[:300]}"
            raise LawError(f"{subject.name} breaks the law {self.name}: {detail} (the law: {self.says})") from error


def _discover() -> dict[str, Law]:
    # What all other laws presuppose comes first, so that the first error is the one that explains the others.
    stems = [module.name for module in pkgutil.iter_modules(__path__)]
    stems.sort(key=lambda stem: (stem != "declaration", stem != "purity", stem))
    found: dict[str, Law] = {}
    for stem in stems:
        module = importlib.import_module(f"{__name__}.{stem}")
        for name in module.__all__:
            attempt = getattr(module, name)
            found[name] = Law(name, (inspect.getdoc(attempt) or "").split("\n")[0].rstrip("."), attempt)
    return found


LAWS: dict[str, Law] = _discover()
"""Every law by its name, in the order in which `check_cell` tries them."""
