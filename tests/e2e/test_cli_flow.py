"""From a text to a model and back, as a new user goes: train, evaluate, generate, predict, resume, compare, demo."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from command import LEAKY, SMALL, call, refused, rows, spawn, text_file

import recurra
from recurra import cells
from recurra.core.errors import ArgumentError
from recurra.data import NGram, read_documents, split
from recurra.tasks.language_model import LanguageModel

TRAIN = ("train", "language-model")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_file(tmp_path_factory.mktemp("data") / "plays.txt")


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "model"
    code, stdout, stderr = call(*TRAIN, "--data", data, "--out", out, "--steps", 60, "--learning-rate", 0.03, *SMALL)
    assert code == 0, stderr
    assert "trained 60 steps" in stdout
    assert f"recurra generate {out}" in stdout
    return out


def loaded(folder: Path) -> LanguageModel:
    model = recurra.load(folder)
    assert isinstance(model, LanguageModel)
    return model


def test_a_model_folder_holds_what_is_promised(model: Path) -> None:
    names = {path.name for path in model.iterdir()}
    files = {"config.json", "model.safetensors", "vocabulary.json", "metrics.jsonl", "README.md", "learning-curve.svg"}
    assert names == {*files, "checkpoints"}
    readme = (model / "README.md").read_text(encoding="utf-8")
    assert "predicts the next character" in readme
    assert "1 layer of 8 units of the cell `lstm`" in readme
    assert "plays.txt: 3,000 characters" in readme


def test_evaluate_equals_the_best_validation_and_the_n_grams(model: Path, data: Path) -> None:
    code, stdout, _ = call("evaluate", model, "--json")
    metrics = json.loads(stdout)
    assert code == 0
    assert metrics["nats"] == min(row["val_loss"] for row in rows(model) if "val_loss" in row)
    assert metrics["perplexity"] == math.exp(metrics["nats"])
    assert metrics["bits"] == metrics["nats"] / math.log(2)
    assert metrics["bits_per_character"] == pytest.approx(metrics["bits"])
    parts, vocabulary = split(read_documents([data])), loaded(model).vocabulary
    for name, order in (("unigram", 1), ("bigram", 2)):
        counted = NGram(order, vocabulary.size).fit([vocabulary.encode(d.text) for d in parts.train])
        nats, tokens = counted.nats([vocabulary.encode(d.text) for d in parts.validation])
        assert metrics[f"{name}_nats"] == nats / tokens
        assert metrics["tokens"] == tokens
    assert "unigram perplexity" in call("evaluate", model)[1]


def test_generate_repeats_by_seed_and_greedy_is_the_likeliest(model: Path) -> None:
    def text(*words: object) -> str:
        code, stdout, stderr = call("generate", model, "--length", 60, *words)
        assert (code, stderr) == (0, "")
        return stdout

    assert text("--seed", 1) == text("--seed", 1) != text("--seed", 2)
    assert text("--temperature", 0) == text("--top-k", 1, "--seed", 5)
    assert text("--prompt", "ROMEO") == text("--prompt", "ROMEO", "--top-k", 10_000, "--top-p", 1.0)
    assert text("--prompt", "詩").startswith("詩")
    assert text("--temperature", 0, "--repetition-penalty", 1) == text("--temperature", 0)
    shunned = text("--length", 15, "--prompt", "RO", "--temperature", 0, "--repetition-penalty", 1e30)[:-1]
    assert len(set(shunned)) == len(shunned) == 17
    assert len(text()) == 61
    free = text("--seed", 3)[:-1]
    for stop in (free[10:13], free[20], free[:2]):
        assert text("--seed", 3, "--stop", stop) == free[: free.index(stop)] + "\n"


def test_streaming_equals_the_whole_text_read_anew_each_time(model: Path) -> None:
    language = loaded(model)
    ids = torch.as_tensor(language.vocabulary.encode("To be"))
    with torch.no_grad():
        for _ in range(30):
            outputs, _ = language.network(recurra.Batch(ids[None]))
            ids = torch.cat([ids, outputs[0, -1:].argmax(-1)])
    assert "To be" + "".join(language.generate("To be", 30, temperature=0)) == language.vocabulary.decode(ids)


def test_nothing_of_generating_leaks_to_its_caller(model: Path) -> None:
    pieces = loaded(model).generate(length=5)
    next(pieces)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_predict_adds_up_and_lines_stand_alone(model: Path, tmp_path: Path) -> None:
    language = loaded(model)
    line = "Go bid thy mistress"
    alone, among = language.predict(line), language.predict(["to", line, "be"])[1]
    assert alone.log_probabilities == among.log_probabilities
    assert "".join(alone.tokens) == line
    ids = torch.as_tensor(language.vocabulary.encode("\n" + line))
    with torch.no_grad():
        outputs, _ = language.network(recurra.Batch(ids[None, :-1]))
    loss = torch.nn.functional.cross_entropy(outputs[0], ids[1:], reduction="sum")
    assert alone.total == pytest.approx(-float(loss), abs=1e-4)
    (tmp_path / "lines").write_text(f"{line}\nto\n", encoding="utf-8")
    table = call("predict", model, tmp_path / "lines")[1].splitlines()
    assert table[0].split() == ["total", "a", "token", "line"]
    assert float(table[1].split()[0]) == pytest.approx(alone.total, abs=1e-3)
    found = json.loads(call("predict", model, "--text", line, "--json")[1])
    assert found["log_probabilities"] == alone.log_probabilities


@pytest.mark.parametrize(
    "words",
    [
        ["--level", "byte", "--cell", "gru", "--embedding", "one-hot"],
        ["--level", "word", "--cell", "elman", "--tie", "--embedding-size", "5"],
        ["--level", "char", "--cell", "jordan", "--backprop", "20", "--test", "0.1", "--layers", "2"],
    ],
    ids=lambda words: words[1],
)
def test_chinese_poems_at_every_level(tmp_path: Path, words: list[str]) -> None:
    folder = tmp_path / "poems"
    folder.mkdir()
    text_file(folder / "first.txt", 1500, "tang-poems")
    text_file(folder / "second.txt", 900, "tang-poems")
    extra, out = text_file(tmp_path / "third.txt", 700, "tang-poems"), tmp_path / "out"
    code, _, stderr = call(*TRAIN, "--data", folder, extra, "--out", out, "--steps", 3, *SMALL, *words)
    assert code == 0, stderr
    assert "first.txt, " not in stderr
    for command in (["evaluate", out], ["generate", out, "--prompt", "床前", "--length", 9], ["predict", out, extra]):
        code, stdout, stderr = call(*command)
        assert (code, stderr) == (0, "")
        assert stdout
    if "--test" in words:
        assert json.loads(call("evaluate", out, "--part", "test", "--json")[1])["tokens"] > 100


def test_a_cell_of_ones_own(data: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "leaky.py", tmp_path / "out"
    file.write_text(LEAKY)
    cell = ("--cell", f"{file}:Leaky")
    code, _, stderr = call(*TRAIN, "--data", data, "--out", out, "--steps", 3, *SMALL, *cell)
    assert code == 0, stderr
    assert "give --cell leaky.py:Leaky" in refused("evaluate", out)
    assert "give --cell leaky.py:Leaky" in refused(*TRAIN, "--out", out, "--resume", "--steps", 6)
    assert call("evaluate", out, *cell)[0] == 0
    assert call(*TRAIN, "--out", out, "--resume", "--steps", 6, *cell)[0] == 0
    with pytest.raises(ArgumentError, match="cells=\\[Leaky\\]"):
        recurra.load(out)
    namespace: dict[str, type[recurra.Cell]] = {"__name__": "notebook"}  # type: ignore[dict-item]
    exec(LEAKY, namespace)
    assert recurra.load(out, cells=[namespace["Leaky"]]).predict("To be").total < 0
    file.write_text(LEAKY + "\n# changed\n")
    done = spawn("generate", out, "--length", 3, *cell)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: leaky.py has changed since the model was trained")
    assert done.stderr.count("\n") == 1
    assert "cell.sha256" in refused(*TRAIN, "--out", out, "--resume", "--steps", 9, *cell)


def test_compare_gives_a_table_and_a_picture(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "compared"
    words = ("--data", data, "--out", out, "--cells", "elman,gru", "--seeds", 2, "--steps", 4, *SMALL)
    code, stdout, stderr = call("compare", "language-model", *words)
    assert code == 0, stderr
    table = (out / "comparison.md").read_text(encoding="utf-8")
    assert sorted(line.split()[1] for line in table.splitlines()[2:]) == ["elman", "gru"]
    assert "0: " in table
    assert "1: " in table
    assert (out / "comparison.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "parameters" in stdout
    runs = {f"{cell}-seed{seed}" for cell in ("elman", "gru") for seed in (0, 1)}
    assert {path.name for path in out.iterdir() if path.is_dir()} == runs
    assert call("evaluate", out / "gru-seed1")[0] == 0
    assert "already holds a model" in refused("compare", "language-model", *words)


def test_demo_shows_samples_as_they_improve(tmp_path: Path) -> None:
    code, stdout, stderr = call("demo", "--out", tmp_path / "demo", "--steps", 4)
    assert code == 0, stderr
    assert [f"after step {step}:" in stderr for step in (1, 2, 3, 4)] == [True] * 4
    assert "recurra generate" in stdout
    assert "--resume --steps 8" in stdout


def test_diagnose_says_prints_and_draws(model: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question. " * 30, encoding="utf-8")
    code, stdout, stderr = call("diagnose", model, text, "--steps", 12, "--out", tmp_path / "seen")
    assert code == 0, stderr
    assert "The gradient" in stdout
    assert "Lyapunov" in stdout
    names = {"diagnosis.json", "gradient.svg", "terms.svg", "decay.svg", "influence.svg"}
    assert {path.name for path in (tmp_path / "seen").iterdir()} == names
    found = json.loads(call("diagnose", model, text, "--steps", 12, "--json")[1])
    assert found == json.loads((tmp_path / "seen" / "diagnosis.json").read_text("utf-8"))


def test_doctor_and_cells_tell_what_there_is() -> None:
    assert "threads" in call("doctor")[1]
    table = call("cells", "--hidden-size", 4, "--input-size", 3)[1]
    assert all(name in table for name in cells.names())
    for words in (["--help"], ["train", "--help"], [*TRAIN, "--help"], ["generate", "-h"]):
        code, stdout, _ = call(*words)
        assert code == 0
        assert "Usage: recurra" in stdout
