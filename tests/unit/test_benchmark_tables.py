"""Tables of results: written whole, or with some rows measured anew."""

from __future__ import annotations

import pytest
from of_benchmarks import BENCHMARKS, load

tables, proving = load("tables"), load("proving")
HEADER = ["task", "cell", "wrong"]
ROWS = [["a", "Elman", "0.5"], ["a", "LSTM", "0.4"], ["b", "Elman", "0.3"]]
MADE_BY_WRITE = [
    "adding", "anbncn", "continual_reber", "learned_automaton", "long_gaps", "ntm_copy",
    "spike_distance", "temporal_order",
]  # fmt: skip


@pytest.fixture
def out(tmp_path):
    """A table that stands."""
    tables.write(tmp_path / "table.md", "A title", ["one note", "another"], HEADER, ROWS, keys=2)
    return tmp_path / "table.md"


def test_a_whole_table_replaces_what_stood_there(out):
    tables.write(out, "Anew", [], HEADER, ROWS[:1])
    assert tables.read(out) == (["# Anew"], HEADER, ROWS[:1])


def test_rows_measured_anew_take_their_places_and_new_ones_come_last(out):
    new = [["a", "GRU", "0.1"], ["a", "LSTM", "0.0"]]
    tables.write(out, "A title", ["one note", "another"], HEADER, new, only=["LSTM", "GRU"], keys=2)
    assert tables.read(out)[2] == [ROWS[0], new[1], ROWS[2], new[0]]


def test_rows_of_other_settings_are_not_mixed(out):
    before = out.read_text("utf-8")
    for notes, header in ((["one note"], HEADER), (["one note", "another"], [*HEADER, "seconds"])):
        with pytest.raises(ValueError, match="was made with other settings: run all contestants"):
            tables.write(out, "A title", notes, header, ROWS, only=["Elman"], keys=2)
    assert out.read_text("utf-8") == before


@pytest.mark.parametrize("name", MADE_BY_WRITE)
def test_every_result_is_as_its_script_wrote_it(name, tmp_path):
    result = BENCHMARKS / "results" / f"{name}.md"
    (title, *notes), header, rows = tables.read(result)
    tables.write(tmp_path / "again.md", title.removeprefix("# "), notes, header, rows)
    assert (tmp_path / "again.md").read_text("utf-8") == result.read_text("utf-8")


def test_a_name_that_is_no_contestants_is_refused():
    chosen = proving.Settings(steps=1, rows=1, seeds=1, rates=(0.1,), tests=1, only=["Elman", "GRU"])
    with pytest.raises(ValueError, match=r"expected names among \['Elman'\], got \['GRU'\]"):
        proving.taking_part([proving.Contestant("Elman", "elman")], chosen)
