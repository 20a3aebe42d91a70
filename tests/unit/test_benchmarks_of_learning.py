"""The scripts that measure the learning rules run, as small as can be, and write their tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from of_benchmarks import load

SMALL = {
    "rtrl": ("--sizes 3 --lstm 2 --steps 4 --long 200 --stale 10 --times 1", (2, 2, 4)),
    "kalman": ("--seeds 1 --most 50 --hidden-size 2 --updates 10", (4, 4)),
    "sin_to_cos": ("--seeds 1 --windows 3", (5, 4)),
    "diagnosis": ("--lags 3 4", (6, 4)),
    "bptt_memory": ("--steps 20", (1,)),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_small_run_writes_all_rows(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given, rows = SMALL[name]
    out = tmp_path / "table.md"
    monkeypatch.setattr("sys.argv", [f"{name}.py", *given.split(), "--out", str(out)])
    load(name).main()
    parts = out.read_text(encoding="utf-8").split("\n\n")
    tables = [part.strip().splitlines()[2:] for part in parts if part.startswith("| ")]
    assert tuple(map(len, tables)) == rows
    assert not any("nan" in line for table in tables for line in table)


def test_the_listing_rounds_as_torch_does_in_torchs_order() -> None:
    """The sum of the listing with our layer is torch's, and in float64 any order of adding is."""
    script = load("sin_to_cos")
    dtypes = script.torch.float32, script.torch.float64
    theirs = {dtype: script.losses(None, dtype, 0, 100) for dtype in dtypes}
    assert script.losses("hoisted", dtypes[0], 0, 100) == theirs[dtypes[0]]
    assert script.losses("auto", dtypes[1], 0, 100) == pytest.approx(theirs[dtypes[1]], abs=1e-11)
