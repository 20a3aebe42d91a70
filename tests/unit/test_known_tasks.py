"""Every script of the known tasks runs in its quick form and writes its table."""

from __future__ import annotations

import re

import pytest
import torch
from of_benchmarks import BENCHMARKS, load

CONTESTANTS = {
    "long_gaps": 5,
    "adding": 6,
    "temporal_order": 5,
    "learned_automaton": 1,
    "anbncn": 4,
    "continual_reber": 3,
    "spike_distance": 4,
    "selective_copying": 1,
    "ntm_copy": 2,
}
ONLY = {"selective_copying": ["--only", "minGRU, 3 layers"]}  # its kernels are many


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Return a function that runs a script with `--quick` and gives the rows of its table."""
    threads = torch.get_num_threads()

    def run(name):
        out = tmp_path / f"{name}.md"
        monkeypatch.setattr("sys.argv", [f"{name}.py", "--quick", "--out", str(out), *ONLY.get(name, [])])
        load(name).main()
        lines = [line for line in out.read_text("utf-8").splitlines() if line.startswith("| ")]
        rows = [line.strip("| ").split(" | ") for line in lines]
        assert len({len(row) for row in rows}) == 1
        return rows[1:]

    yield run
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", CONTESTANTS)
def test_a_quick_run_has_a_row_for_every_contestant(name, quick, capsys):
    assert len(quick(name)) == CONTESTANTS[name]
    assert capsys.readouterr().out


def test_a_learned_automaton_is_the_true_one(quick, tmp_path):
    (row,) = quick("learned_automaton")
    assert row[5:10] == ["4", "4", "yes", "0", "0"]
    assert (tmp_path / "learned_automaton.svg").exists()
    assert (tmp_path / "learned_automaton_states.svg").exists()


def test_contestants_are_of_one_size():
    adding, proving = load("adding"), load("proving")
    problem = adding.problem(20)
    for contestant in adding.CONTESTANTS:
        network = proving.Network(contestant, problem, proving.units(contestant, problem))
        assert sum(p.numel() for p in network.parameters()) == pytest.approx(problem.weights, rel=0.05)


def test_every_result_says_which_script_made_it():
    for result in (BENCHMARKS / "results").glob("*.md"):
        named = re.findall(r"`(?:python )?(benchmarks/[a-z_]+\.py)", result.read_text("utf-8"))
        assert all((BENCHMARKS.parent / name).exists() for name in named), result
