"""Every example and the benchmark run as a reader would run them, and print what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
QUICK = {
    "automaton": [],
    "bare_unit": [],
    "drop_in": ["--steps", "3"],
    "from_scratch": [],
    "i_love_china": ["--seeds", "1", "--updates", "150"],
    "own_cell": [],
    "sin_to_cos": [],
    "python_functions": ["--steps", "4", "--functions", "3", "--hidden-size", "8", "--files", "30"],
    "turing_machine": ["11+111"],
    "word_order": ["--epochs", "10"],
    "words_and_names": [],
}


def run(*words: str | Path) -> str:
    """Run Python on the words, in the repository; return what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def example(name: str) -> str:
    """Run an example with its quick settings."""
    return run(ROOT / "examples" / f"{name}.py", *QUICK[name])


def test_every_example_is_tested() -> None:
    assert [path.stem for path in EXAMPLES] == sorted(QUICK)


def test_from_scratch_checks_its_gradients_and_learns_to_spell() -> None:
    printed = example("from_scratch")
    found = re.search(r"gradients differ from numerical ones by at most (\S+)", printed)
    assert found is not None
    assert float(found[1]) < 1e-7
    assert printed.splitlines()[-1].endswith("recurrence")


def test_the_bare_unit_prints_the_tutorials_numbers() -> None:
    lines = example("bare_unit").splitlines()
    assert lines == [
        "我  隐藏层的值 2  输出层的值 4",
        "爱  隐藏层的值 4  输出层的值 8",
        "中国  隐藏层的值 7  输出层的值 14",
    ]


def test_an_automaton_becomes_a_network_exactly() -> None:
    printed = example("automaton")
    assert "agrees with the automaton on all 8,190 strings" in printed
    assert re.findall(r"divisible by 3: (\w+)", printed) == ["yes", "no", "yes", "yes"]


def test_a_turing_machine_adds() -> None:
    lines = example("turing_machine").splitlines()
    assert lines[0] == "state 0  [1]1+111__"
    assert lines[-1] == "11+111 = 11111"


def test_word_order_is_read_where_a_bag_of_words_guesses() -> None:
    lines = example("word_order").splitlines()
    scores = {name: re.findall(r"([\d.]+)%", line) for line in lines for name in [line.partition(":")[0]]}
    for name in ("negation", "order"):
        recurrent, counted = map(float, scores[name])
        assert recurrent > 90
        assert counted < 60
    assert [line.split()[1] for line in lines[1:5]] == ["for", "against", "against", "for"]
    assert [line.split()[1] for line in lines[6:8]] == ["forwards", "backwards"]


def test_words_are_cut_in_the_best_ways_and_names_are_listed() -> None:
    lines = [line.split("\t") for line in example("words_and_names").splitlines()]
    cuts = {cut: float(p) for p, cut in lines[:3]}
    assert next(iter(cuts)) == "他 说 的 确实 在理"
    assert "他 说 的确 实在 理" in cuts
    assert list(cuts.values()) == sorted(cuts.values(), reverse=True)
    assert [(name, kind) for name, kind, _ in lines[3:]] == [("雷军", "PERSON"), ("2015年", "TIME"), ("小米", "BRAND")]


def test_i_love_china_is_translated_and_each_word_looks_at_its_characters() -> None:
    printed = example("i_love_china")
    assert "528 sentences" in printed
    assert "我爱中国: I love China" in printed
    rows = {line.split()[0]: [float(w) for w in re.findall(r"[01]\.\d\d", line)] for line in printed.splitlines()[2:]}
    assert rows["I"][0] > 0.5
    assert rows["love"][1] > 0.5
    assert sum(rows["China"][2:]) > 0.5


def test_own_cell_keeps_the_laws() -> None:
    printed = example("own_cell")
    assert "Leaky keeps every law of behaviour" in printed
    assert "(4, 7, 3) -> (4, 7, 10)" in printed


def test_own_cell_trains_from_the_command_line(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a rose is a rose is a rose. " * 80, encoding="utf-8")
    spec = f"{ROOT / 'examples' / 'own_cell.py'}:Leaky"
    out = tmp_path / "model"
    run(
        Path(sys.executable).with_name("recurra"),
        "train", "language-model", "--cell", spec, "--data", text, "--out", out,
        "--steps", "3", "--hidden-size", "8", "--layers", "1", "--window", "10", "--batch-size", "4",
    )  # fmt: skip
    assert '"Leaky"' in (out / "config.json").read_text(encoding="utf-8")
    assert (out / "model.safetensors").exists()


def test_drop_in_gives_the_same_outputs_from_the_old_weights() -> None:
    found = re.search(r"outputs differ by at most (\S+)", example("drop_in"))
    assert found is not None
    assert float(found[1]) < 1e-5


def test_sin_to_cos_is_learned() -> None:
    found = re.search(r"mean of the last ten (\S+)", example("sin_to_cos"))
    assert found is not None
    assert float(found[1]) < 0.02


def test_python_functions_judges_both_models_alike() -> None:
    printed = example("python_functions")
    assert "of at most 600 characters" in printed
    rows = {line.split()[0]: line for line in printed.splitlines() if re.search(r"\d/3 = ", line)}
    assert set(rows) == {"lstm,", "5-gram"}


def test_the_ladder_shows_what_the_tutorials_claim(tmp_path: Path) -> None:
    out = tmp_path / "ladder.md"
    words = ["--steps", "2", "--seeds", "1", "--lags", "3", "--hidden-size", "8", "--batch-size", "2", "--out", out]
    run(ROOT / "benchmarks" / "ladder.py", *words)
    lines = [line.split(" | ") for line in out.read_text(encoding="utf-8").splitlines() if " | `" in line]
    rows = {line[0].strip("| "): line for line in lines}
    assert [rows[f"h + {g}"][2] for g in ("Wx + b", "tanh(Wx + b)", "sigmoid(Wx + b)")] == ["1"] * 3
    assert float(rows["h + sigmoid(Wx + b)"][3]) > 100
    assert rows["h + sigmoid(Uh + Wx + b)"][4] == "100 %"
    assert float(rows["GRU, reset after the product"][3]) < 1
    assert rows["h + tanh(Uh + b)"][4] == "never hears"


def test_the_diagnosis_shows_what_vanishes(tmp_path: Path) -> None:
    out = tmp_path / "diagnosis.md"
    run(ROOT / "benchmarks" / "diagnosis.py", "--lags", "3", "60", "--out", out)
    rows = [line for line in out.read_text(encoding="utf-8").splitlines() if line.startswith("| Elman, γ = 0.9 | 60 ")]
    assert len(rows) == 1
    assert "vanishes" in rows[0]
    assert out.with_suffix(".svg").exists()


@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before"])
def test_the_benchmark_measures_both_and_writes_its_table(cell: str, tmp_path: Path) -> None:
    out = tmp_path / "result.md"
    words = ["--epochs", "1", "--seeds", "1", "--steps", "2", "--cell", cell, "--out", out]
    assert run(ROOT / "benchmarks" / "language_model.py", *words).rstrip().endswith(out.read_text().rstrip())
    report = out.read_text(encoding="utf-8")
    assert "| 0 | " in report
    assert "Machine: " in report
    gap = re.search(r"differ by at most (\S+) in the first", report)
    if cell == "lstm":
        assert gap is not None
        assert float(gap[1]) < 1e-5
    else:
        assert gap is None


def test_the_reversal_writes_its_table_and_pictures(tmp_path: Path) -> None:
    words = ["--steps", "2", "--seeds", "2", "--batch-size", "4", "--strings", "4", "--out", tmp_path / "reversal.md"]
    run(ROOT / "benchmarks" / "reversal.py", *words)
    lines = (tmp_path / "reversal.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if re.match(r"\| (reversal|copying)", line)]
    assert len(rows) == 5
    assert sum(line.startswith("- ") for line in lines) == 3
    assert all(row.count("**") == 20 for row in rows)
    for name in ("accuracy", "attention"):
        assert (tmp_path / f"reversal_{name}.svg").read_text(encoding="utf-8").startswith("<svg")
