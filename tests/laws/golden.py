"""Writes the missing files of `tests/golden/parameters`; see the README there."""

from __future__ import annotations

import json
from pathlib import Path

from recurra import cells
from recurra.core import Cell

FOLDER = Path(__file__).parents[1] / "golden" / "parameters"


def parameters_of(cell: type[Cell]) -> dict[str, list[int]]:
    """Return `{name: shape}` of everything in the state_dict, in its order."""
    return {name: list(value.shape) for name, value in cell(3, 4).state_dict().items()}


def main() -> None:
    """Write a file for each cell that has none."""
    for name in cells.names():
        file = FOLDER / f"{name}.json"
        if not file.exists():
            lines = (
                f"  {json.dumps(key)}: {json.dumps(shape)}" for key, shape in parameters_of(cells.get(name)).items()
            )
            file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
