"""Why a cell cannot be compiled."""

from __future__ import annotations

__all__ = ["Unsupported"]


class Unsupported(Exception):  # noqa: N818  (a finding about a cell, not a fault)
    """An operation that the compiler does not know, or that it must refuse. Never reaches the user: `auto` runs the
    loop instead and `compile_report` shows the message; a forced backend turns it into a BackendError.

    operation: its name; reason: one line; where: the source line of the step that asked for it, or "".
    """

    def __init__(self, operation: str, reason: str, where: str = "") -> None:
        self.operation = operation
        self.reason = reason
        self.where = where
        super().__init__(f"{operation}: {reason}" + (f" ({where})" if where else ""))
