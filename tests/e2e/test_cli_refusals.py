"""What bad input gets: one line that says what to do, a non-zero exit, and nothing half written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command import LEAKY, SMALL, call, refused, spawn, text_file

from recurra.learning import load_tensors, save_tensors
from recurra.learning.files import read_json, write_json

TRAIN = ("train", "language-model")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_file(tmp_path_factory.mktemp("data") / "plays.txt")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "model"
    code, _, err = call(*TRAIN, "--data", data, "--out", out, "--steps", 4, *SMALL)
    assert code == 0, err
    return out


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "model"))


TEXTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty"),
    "only a byte order mark": (b"\xef\xbb\xbf", "nothing after the byte order mark"),
    "shorter than a window": (b"To be, or not to be", "expected at least one window of 10"),
    "latin-1": ("Où est la fenêtre à côté? ".encode("latin-1") * 40, "byte offset 1: it reads as cp1252"),
    "chinese": ("床前明月光疑是地上霜舉頭望明月低頭思故鄉\n".encode("gb18030") * 40, "it reads as gb18030"),
    "utf-16": (("To be, or not to be\n" * 40).encode("utf-16"), "it reads as utf-16"),
    "NUL bytes": (b"To be\0or not to be\n" * 40, "NUL byte at offset 5"),
    "lone surrogate": (b"To be \xed\xa0\x80 or not\n" * 40, "lone surrogate at byte offset 6"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    content, expected = TEXTS[name]
    (tmp_path / "text").write_bytes(content)
    assert expected in refused(*TRAIN, "--data", tmp_path / "text", "--out", tmp_path / "out", *SMALL)
    assert not (tmp_path / "out").exists()


def test_data_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "picture").write_bytes(b"\0\1\2")
    out = ("--out", tmp_path / "out")
    assert "nothing is there" in refused(*TRAIN, "--data", tmp_path / "none", *out)
    assert "a folder with text" in refused(*TRAIN, "--data", tmp_path / "folder", *out)
    assert "give --data" in refused(*TRAIN, *out)
    assert not (tmp_path / "out").exists()


WORDS: list[tuple[list[object], str]] = [
    (["--hidden-size", 0], "hidden_size must be at least 1 and at most 2,147,483,648, got 0"),
    (["--layers", -1], "layers must be at least 1 and at most 1,000, got -1"),
    (["--window", 0], "window must be at least 1"),
    (["--batch-size", 0], "batch_size must be at least 1"),
    (["--embedding-size", 0], "embedding_size must be at least 1"),
    (["--steps", 0], "steps must be at least 1"),
    (["--epochs", -3], "epochs must be at least 1"),
    (["--checkpoint-every", 0], "checkpoint_every must be at least 1"),
    (["--max-vocabulary", 1], "at least 2"),
    (["--min-count", 0], "min_count must be at least 1"),
    (["--min-count", 10**9], "give more text"),
    (["--steps", 2, "--epochs", 2], "expected steps or epochs, got both"),
    (["--dropout", 1], "dropout must be at least 0 and below 1"),
    (["--dropout", "nan"], "dropout must be at least 0 and below 1"),
    (["--learning-rate", 0], "learning_rate must be above zero"),
    (["--learning-rate", "nan"], "learning_rate must be above zero"),
    (["--seed", -1], "seed must be from 0"),
    (["--validation", 1], "validation must be a share"),
    (["--validation", 0], "validation part has 0 tokens"),
    (["--validation", 0.6, "--test", 0.6], "must stay below 1"),
    (["--backprop", 25], "multiple of the window 10"),
    (["--tie", "--embedding", "one-hot"], "tie needs a learned embedding"),
    (["--cell", "lstn"], "did you mean 'lstm'?"),
    (["--cell", "nowhere.py:Leaky"], "there is no file nowhere.py"),
    (["--hiden-size", 3], "did you mean --hidden-size?"),
    (["--level", "letter"], "'char', 'byte', 'word'"),
    (["--optimizer", "adamm"], "'adamw'"),
    (["--steps", "many"], "valid integer"),
    (["--resume", "--overwrite"], "got both"),
    (["--resume"], "there is no folder"),
]


@pytest.mark.parametrize(("words", "expected"), WORDS, ids=lambda value: " ".join(map(str, value)))
def test_an_option_that_cannot_be_used(data: Path, tmp_path: Path, words: list[object], expected: str) -> None:
    assert expected in refused(*TRAIN, "--data", data, "--out", tmp_path / "out", *SMALL, *words)
    assert not (tmp_path / "out").exists()


def test_a_command_that_does_not_exist() -> None:
    assert "Did you mean 'train'?" in refused("trian")
    assert "Did you mean 'language-model'?" in refused("train", "language-modell")
    assert "--out" in refused(*TRAIN)


def test_a_cell_file_without_the_cell(data: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(LEAKY)
    (tmp_path / "broken.py").write_text("import nothing_of_this_name")
    words = (*TRAIN, "--data", data, "--out", tmp_path / "out", "--cell")
    assert "it defines: Leaky" in refused(*words, f"{tmp_path}/own.py:Leakey")
    assert "ModuleNotFoundError" in refused(*words, f"{tmp_path}/broken.py:Leaky")
    assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_written(data: Path, model: Path, tmp_path: Path) -> None:
    words = (*TRAIN, "--data", data, *SMALL, "--steps", 2, "--out")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("mine")
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    assert "is a file" in refused(*words, tmp_path / "file")
    assert "choose" in refused(*words, tmp_path / "file" / "below")
    assert "cannot write" in refused(*words, "/proc/nowhere")
    assert "holds other files ('letter')" in refused(*words, tmp_path / "mine")
    assert "--resume to go on, or --overwrite" in refused(*words, model)
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter"]
    assert call(*words, model, "--overwrite")[0] == 0


def test_a_run_that_cannot_go_on(data: Path, model: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    resume = (*TRAIN, "--out", model, "--resume")
    assert "hidden_size: 8 → 9" in refused(*resume, "--hidden-size", 9)
    assert "learning_rate: 0.002 → 0.1" in refused(*resume, "--learning-rate", 0.1)
    assert "cell.name: lstm → gru" in refused(*resume, "--cell", "gru")
    other = text_file(tmp_path / "other.txt", 2000)
    assert "data.characters: 3000 → 2000" in refused(*resume, "--data", other)
    assert "nothing is there" in refused(*resume, "--data", tmp_path / "none")
    assert "no config.json" in refused(*TRAIN, "--out", tmp_path, "--resume", "--data", data)
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before


def test_a_loss_that_is_no_number(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = (*TRAIN, "--data", data, "--out", out, *SMALL, "--optimizer", "sgd", "--learning-rate", 1e38)
    code, _, err = call(*words, "--steps", 50, "--clip-norm", 0)
    assert code == 1
    assert "not finite" in err or "became" in err
    assert "try a smaller --learning-rate (it was 1e+38)" in err.splitlines()[-1]
    assert call("evaluate", out)[0] == 0


def config(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    """Make a change to config.json with a checksum that fits, as an attacker would."""

    def apply(model: Path) -> None:
        content = read_json(model / "config.json")
        change(content)
        write_json(model / "config.json", content)

    return apply


def options(**values: object) -> Callable[[Path], None]:
    return config(lambda content: content["options"].update(values))  # type: ignore[attr-defined]


def weights(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(model: Path) -> None:
        path = model / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))

    return apply


def not_a_number(model: Path) -> None:
    tensors, noted = load_tensors(model / "model.safetensors")
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_tensors(model / "model.safetensors", tensors, noted)


def other_vocabulary(model: Path) -> None:
    write_json(model / "vocabulary.json", {"level": "char", "size": 3, "symbols": ["a", "b"]})


def replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def apply(model: Path) -> None:
        (model / name).unlink()
        make(model / name)

    return apply


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo pwned",)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated weights": (weights(lambda data: data[:-5]), "truncated"),
    "a flipped bit": (weights(lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]), "checksum"),
    "a pickle": (weights(lambda _: pickle.dumps(Evil())), "pickle"),
    "an empty file": (weights(lambda _: b""), "truncated"),
    "a huge header": (weights(lambda data: (2**62).to_bytes(8, "little") + data[8:]), "header"),
    "NaN weights": (not_a_number, "NaN"),
    "weights are missing": (lambda model: (model / "model.safetensors").unlink(), "there is no file"),
    "weights are a pipe": (replaced("model.safetensors", os.mkfifo), "not a regular file"),
    "weights are a folder": (replaced("model.safetensors", Path.mkdir), "model.safetensors"),
    "vocabulary is missing": (lambda model: (model / "vocabulary.json").unlink(), "there is no file"),
    "another vocabulary": (other_vocabulary, "do not fit"),
    "no config": (lambda model: (model / "config.json").unlink(), "no config.json"),
    "config is a pipe": (replaced("config.json", os.mkfifo), "no config.json"),
    "config is no JSON": (lambda model: model.joinpath("config.json").write_text("{"), "not strict JSON"),
    "deep JSON": (lambda model: model.joinpath("config.json").write_text('{"a":' + "[" * 10**5), "nested too deeply"),
    "twice a key": (lambda model: model.joinpath("config.json").write_text('{"a":1,"a":2}'), "twice"),
    "edited config": (
        lambda model: model.joinpath("config.json").write_text(
            model.joinpath("config.json").read_text().replace('"hidden_size": 8', '"hidden_size": 9')
        ),
        "checksum",
    ),
    "another task": (config(lambda c: c.update(task="../../x")), "../../x"),
    "a newer format": (config(lambda c: c.update(format_version=99)), "upgrade recurra"),
    "a cell that is a path": (config(lambda c: c.update(cell={"name": "../../x"})), "no cell is called '../../x'"),
    "no cell": (config(lambda c: c.update(cell=[])), "names no cell"),
    "options are a list": (config(lambda c: c.update(options=[1])), "expected an object"),
    "an unknown option": (options(colour="red"), "'colour'"),
    "a size that is a text": (options(hidden_size="8"), "hidden_size cannot be '8'"),
    "a size that is a share": (options(hidden_size=8.5), "hidden_size cannot be 8.5"),
    "a size of zero": (options(hidden_size=0), "hidden_size must be at least 1"),
    "a gigantic size": (options(hidden_size=10**7), "do not fit"),
    "a size beyond all numbers": (options(hidden_size=10**30), "config.json"),
    "a billion layers": (options(layers=10**9), "at most 1,000"),
    "another size": (options(hidden_size=7), "do not fit"),
    "a level of its own": (options(level=["char"]), "level cannot be"),
    "no data": (config(lambda c: c.pop("data")), "what was learned from"),
    "files are no list": (config(lambda c: c.update(files={"a": 1})), "what was learned from"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_model_folder_that_cannot_be_trusted(model: Path, name: str) -> None:
    damage, expected = DAMAGE[name]
    damage(model)
    for verb in ("evaluate", "generate", "predict"):
        words = ["--text", "To be"] if verb == "predict" else []
        assert expected in refused(verb, model, *words)


@pytest.mark.parametrize("name", [name for name in DAMAGE if "onfig" in name or "JSON" in name or "size" in name])
def test_a_run_in_a_folder_that_cannot_be_trusted(model: Path, name: str) -> None:
    DAMAGE[name][0](model)
    refused(*TRAIN, "--out", model, "--resume", "--steps", 8)


def test_damaged_checkpoints_are_refused(model: Path) -> None:
    for path in (model / "checkpoints").glob("step-*"):
        path.write_bytes(pickle.dumps(Evil()))
    assert "no checkpoint of" in refused(*TRAIN, "--out", model, "--resume", "--steps", 8)


def test_a_folder_names_no_code_to_run(model: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil.py"
    evil.write_text(LEAKY + f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    before = read_json(model / "config.json")
    for change in (
        config(lambda c: c.update(cell={"name": f"{evil}:Leaky"})),
        config(lambda c: c.update(cell={"name": "Leaky", "file": str(evil), "sha256": "0"})),
        options(cell=f"{evil}:Leaky"),
    ):
        write_json(model / "config.json", before)
        change(model)
        for words in (("evaluate", model), (*TRAIN, "--out", model, "--resume", "--steps", 6)):
            call(*words)
        assert not (tmp_path / "ran").exists()


def test_lone_surrogates_on_the_command_line(model: Path) -> None:
    assert "lone surrogate U+DC80" in refused("generate", model, "--prompt", "a\udc80")
    assert "lone surrogate U+D800" in refused("predict", model, "--text", "\ud800")
    done = spawn("generate", model, "--prompt", b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


GENERATE: list[tuple[list[object], str]] = [
    (["--temperature", -1], "temperature must be above 0"),
    (["--temperature", "nan"], "temperature must be above 0"),
    (["--top-p", 0], "top-p must be above 0"),
    (["--top-p", 1.5], "top-p must be above 0"),
    (["--top-k", -1], "top-k must be at least 1"),
    (["--length", -1], "length must be zero or above"),
    (["--seed", 2**70], "seed"),
]


@pytest.mark.parametrize(("words", "expected"), GENERATE, ids=lambda value: " ".join(map(str, value)))
def test_generating_with_what_cannot_be_used(trained: Path, words: list[object], expected: str) -> None:
    assert expected in refused("generate", trained, *words)


def test_comparing_what_cannot_be_compared(data: Path, tmp_path: Path) -> None:
    words = ("compare", "language-model", "--data", data, "--out", tmp_path / "out", "--cells")
    assert "'gru' twice" in refused(*words, "gru,gru")
    assert "did you mean 'lstm'?" in refused(*words, "gru,lstn")
    assert "at least one cell" in refused(*words, ",")
    assert "seed" in refused(*words, "gru", "--seeds", 0)
    assert not (tmp_path / "out").exists()


def test_other_things_to_read(trained: Path, tmp_path: Path) -> None:
    assert "there is no folder" in refused("evaluate", tmp_path / "none")
    assert "no config.json" in refused("generate", tmp_path)
    assert "part must be train, validation or test" in refused("evaluate", trained, "--part", "all")
    assert "--test above zero" in refused("evaluate", trained, "--part", "test")
    (tmp_path / "one").write_text("a")
    assert "at least 2 tokens" in refused("evaluate", trained, "--data", tmp_path / "one")
    done = spawn("predict", trained, input="To be\udcff\n", errors="surrogateescape")
    assert "byte offset 5" in done.stderr
    assert done.returncode == 1


def test_text_that_was_moved_away(data: Path, tmp_path: Path) -> None:
    text, out = text_file(tmp_path / "text.txt", 2000), tmp_path / "out"
    assert call(*TRAIN, "--data", text, "--out", out, *SMALL, "--steps", 2)[0] == 0
    text.write_text(data.read_text())
    assert "changed since the model was trained" in refused("evaluate", out)
    text.unlink()
    assert "nothing is there" in refused("evaluate", out)
    assert "nothing is there" in refused(*TRAIN, "--out", out, "--resume")
    assert call("evaluate", out, "--data", data)[0] == 0
    assert json.loads(call("evaluate", out, "--data", data, "--json")[1])["tokens"] == 2999
