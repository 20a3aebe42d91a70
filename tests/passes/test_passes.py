"""What each pass makes of a small step, beside what it made when somebody last looked; and every graph is legal."""

from __future__ import annotations

import pytest

from passes.shown import FOLDER, SHOWN, lowered, staged
from recurra import cells
from recurra.compiler.plan import plan


@pytest.mark.parametrize("name", SHOWN)
def test_a_pass_makes_what_it_made(name: str) -> None:
    file = FOLDER / f"{name}.txt"
    assert file.exists(), f"{file} is missing: make it by `python -m passes.shown` in tests/, look at it, and commit it"
    assert SHOWN[name]() == file.read_text()


def test_no_golden_text_is_left_over() -> None:
    assert {f.stem for f in FOLDER.glob("*.txt")} == set(SHOWN)


@pytest.mark.parametrize("name", cells.names())
def test_every_graph_between_the_passes_is_legal(name: str) -> None:
    made = staged(cells.get(name)(3, 4))
    if made.foreign is not None:
        pytest.skip(f"it runs by the hoisted loop: {made.foreign}")
    found = plan(made)
    for loop in (found.forward, found.backward):
        assert loop is not None
        inside = [*loop.constant, *loop.per_call, *loop.per_step, *loop.before, *loop.after.values()]
        inside += [c.before for c in (*loop.carried, *loop.histories)]
        outputs = [*loop.results, *(c.after for c in (*loop.carried, *loop.histories))]
        lowered(made.traced.graph, [v for v in outputs if v not in inside], inside)
