"""Cells that a backend once got wrong, each made as small as it would go and named after what was wrong."""

from __future__ import annotations

__all__ = ["REGRESSIONS"]

REGRESSIONS: dict[str, str] = {}
"""Sources by name; see `strategy.random_cells` for what a source defines."""
