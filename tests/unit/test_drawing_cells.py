"""Cell diagrams: everything that the step does is in them, and nothing covers anything else, for every cell."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations, pairwise
from typing import Any

import pytest
import torch
from drawn import FACTORIES, SVG, Box, Undrawable, boxes, parse, texts, wires

import recurra as rc
from random_cells.many import case
from recurra.compiler.errors import Unsupported
from recurra.compiler.ir import Value, topological
from recurra.compiler.stage import stage
from recurra.compiler.trace import Spec, trace
from recurra.core import TreeCell, split_shape
from recurra.core.errors import ArgumentError, UnknownNameError
from recurra.drawing.reading import read_step
from recurra.drawing.stages import stage_of, values_after
from recurra.drawing.step_graph import look_through

each_cell = pytest.mark.parametrize("name", FACTORIES)


@each_cell
def test_every_operation_of_the_step_is_in_the_picture(name: str) -> None:
    cell = FACTORIES[name](3, 4)
    graph = read_step(cell)
    drawn = {n for box in boxes(parse(rc.draw(cell))) for n in box.operations}
    assert set(range(graph.events)) - graph.idle <= drawn
    moves = {"t", "transpose", "view", "expand", "slice", "split", "select", "unsqueeze", "squeeze", "reshape", "clone"}
    moves |= {"alias", "detach", "_unsafe_view", "split_with_sizes", "unbind", "permute", "lift_fresh", "_to_copy"}
    moves |= {"zeros", "ones", "full", "new_zeros", "zeros_like", "ones_like", "scalar_tensor", "arange", "full_like"}
    assert {graph.described[k].split()[0] for k in graph.idle} <= moves


@each_cell
def test_no_box_covers_another_and_no_wire_runs_through_one(name: str) -> None:
    root = parse(rc.draw(FACTORIES[name](3, 4)))
    found = boxes(root)
    assert len(found) >= 3
    assert not [(a, b) for a, b in combinations(found, 2) if a.overlaps(b)]
    for wire in wires(root):
        for (x1, y1), (x2, y2) in pairwise(wire):
            piece = Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2), frozenset())
            assert not [b for b in found if piece.overlaps(b, -0.0) and not _touches(b, wire)], wire


def _touches(box: Box, wire: list[tuple[float, float]]) -> bool:
    """Tell whether a wire begins or ends at a box."""
    return any(
        box.left - 6 <= x <= box.right + 6 and box.top - 6 <= y <= box.bottom + 6 for x, y in (wire[0], wire[-1])
    )


@each_cell
def test_texts_stay_in_their_boxes_and_apart(name: str) -> None:
    picture = rc.draw(FACTORIES[name](3, 4))
    root = parse(picture)
    written, found = texts(root), boxes(root)
    for text, space in written:
        assert space.left >= 0, text
        assert space.right <= picture.width, text
        assert space.bottom <= picture.height, text
        for box in found:
            x, y = (space.left + space.right) / 2, (space.top + space.bottom) / 2
            if box.left < x < box.right and box.top < y < box.bottom:
                assert box.left - 1 <= space.left, text
                assert space.right <= box.right + 1, text
    assert not [(a, b) for (a, p), (b, q) in combinations(written, 2) if p.overlaps(q, 1.5)]


@each_cell
def test_the_picture_says_when_the_compiler_does_what(name: str) -> None:
    """Matrix products are coloured as the compiler's own staging puts them: before, in and after the loop."""
    cell = FACTORIES[name](3, 4)
    if isinstance(cell, TreeCell):
        return
    try:
        compiled = _compiled_stages(cell)
    except Unsupported:
        return
    graph = read_step(cell)
    after = values_after(graph)
    drawn: dict[str, set[str]] = {}
    for v in graph.order():
        if v.op == "matrix" and v.needs:
            for k in v.events:
                line = graph.described[k].partition("(")[2].rstrip(")")
                if graph.described[k].split()[0] in ("mm", "addmm"):
                    drawn.setdefault(line, set()).add(stage_of(v.needs, v in after))
                    if look_through(v.nodes[1]).op == "cat":
                        # Of a product of joined vectors, the compiler takes out what does not wait for the state.
                        drawn[line] |= compiled[line] & {"before"}
    assert drawn == compiled


def _compiled_stages(cell: rc.Cell) -> dict[str, set[str]]:
    per_call, per_step = cell.make_context((), 1, 2, torch.device("cpu"), torch.float32)
    specs = [Spec(tuple(c.tensor.shape), c.tensor.dtype, False) if isinstance(c, rc.Shared)
             else Spec(tuple(c.shape[1:]), c.dtype) for c in per_call]  # fmt: skip
    specs += [Spec(tuple(c.shape[2:]), c.dtype) for c in per_step]
    state = [Spec(s, own or torch.float32) for s, own in map(split_shape, cell.state_shapes())]
    traced = trace(cell, Spec(cell.input_shape, torch.float32), state, specs)
    staged = stage(traced, range(len(per_call), len(specs)), True)
    before = set(topological([*staged.before, *staged.once, *staged.per_call]))
    loop = set(topological([*staged.new, *staged.outputs], staged.leaves))
    found: dict[str, set[str]] = {}
    for v in topological([*traced.new, traced.y]):
        if v.op == "mm" and not _plain(v, traced.x, traced.state):
            place = "before" if v in before else "loop" if v in loop else "after"
            found.setdefault(v.where, set()).add(place)
    return found


def _plain(v: Value, x: Value, state: list[Value]) -> bool:
    """Tell whether v is made of parameters alone."""
    return not {x, *state} & set(topological([v]))


@each_cell
def test_equal_cells_give_equal_bytes(name: str) -> None:
    one, other = FACTORIES[name](3, 4), FACTORIES[name](3, 4)
    assert rc.draw(one).svg == rc.draw(other).svg
    assert rc.draw(one, notation="uvw").svg == rc.draw(other, notation="uvw").svg


def test_bytes_do_not_depend_on_the_process() -> None:
    code = (
        "import hashlib, recurra as rc; from recurra import cells;"
        "names = ('lstm', 'neural_turing_machine');"
        "print(*(hashlib.sha256(rc.draw(cells.get(n)(3, 4)).svg.encode()).hexdigest() for n in names))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1
    assert seen != {b""}


@pytest.mark.parametrize("seed", range(4))
def test_random_cells_are_drawn_whole_too(seed: int) -> None:
    for number in range(10):
        made: dict[str, Any] = {}
        exec(case(seed, number)[0].source, made)
        if made["CONTEXT"]:
            continue
        cell = made["RandomCell"]()
        graph, found = read_step(cell), boxes(parse(rc.draw(cell)))
        assert set(range(graph.events)) - graph.idle <= {n for box in found for n in box.operations}
        assert not [(a, b) for a, b in combinations(found, 2) if a.overlaps(b)]


def test_a_step_that_cannot_be_told_gets_its_interface_and_the_reason() -> None:
    picture = rc.draw(Undrawable(3, 4))
    written = " ".join("".join(e.itertext()) for e in parse(picture).iter(f"{SVG}text"))
    assert "the step turns a tensor into a Python value; use torch.where (drawn.py:" in written
    assert "step(x, state)" in written
    with pytest.raises(rc.RecurraError, match=r"Undrawable cannot be told from its step.*use torch.where"):
        rc.equations(Undrawable(3, 4))


def test_a_step_that_fails_gets_its_interface_too() -> None:
    class Broken(rc.Cell):
        def step(self, x, state):
            return x @ x, state

    written = "".join("".join(e.itertext()) for e in parse(rc.draw(Broken(3, 4))).iter(f"{SVG}text"))
    assert "RuntimeError" in written


def test_what_users_write_is_escaped() -> None:
    class 门控(rc.Cell):  # noqa: N801
        def step(self, x, state):
            (旧,) = state
            return 旧, (torch.tanh(旧),)

    picture = rc.draw(门控(3, 4), title='<script>alert("1")</script> & 门控')
    assert "<script>" not in picture.svg
    written = ["".join(e.itertext()) for e in parse(picture).iter(f"{SVG}text")]
    assert written[0] == '<script>alert("1")</script> & 门控'
    assert "旧t−1" in written


def test_arguments_that_are_none_are_refused_in_one_line() -> None:
    with pytest.raises(ArgumentError, match=r"expected a recurra.Cell, a layer, .* got type: make an object"):
        rc.draw(FACTORIES["Leaky"])  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="no topology is called 'n-to-m'"):
        rc.draw("n-to-m")
    with pytest.raises(UnknownNameError, match="no notation is called 'q': the known ones are nndl, paper"):
        rc.draw(FACTORIES["lstm"](3, 4), notation="q")
    with pytest.raises(ArgumentError, match=r"ends in \.svg or \.png"):
        rc.draw(FACTORIES["lstm"](3, 4)).save("x.gif")


def test_a_picture_shows_itself_and_is_saved(tmp_path) -> None:
    picture = rc.draw(FACTORIES["lstm"](3, 4))
    assert picture._repr_svg_() == picture.svg
    assert picture.save(tmp_path / "p.svg").read_text("utf-8") == picture.svg
    resvg = pytest.importorskip("resvg_py")
    assert resvg
    assert picture.save(tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_one_size_for_all_is_no_trouble() -> None:
    """Sizes that are equal, or 1, tell nothing apart: gates must be cut rightly all the same."""
    for name in ("lstm", "gru", "gru_reset_before", "Leaky"):
        usual = rc.equations(FACTORIES[name](3, 4)).text
        for sizes in ((1, 1), (2, 2), (4, 4)):
            cell = FACTORIES[name](*sizes)
            assert boxes(parse(rc.draw(cell)))
            assert rc.equations(cell).text == usual


def test_importing_recurra_imports_no_pictures() -> None:
    code = "import sys, recurra; print([m for m in sys.modules if m.startswith('recurra.drawing')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
