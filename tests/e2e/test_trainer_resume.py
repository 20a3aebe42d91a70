"""A run that is interrupted, however, and resumed, ends bit for bit where an uninterrupted one ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trainer_problem import BATCHES, Problem, Talk, start, trainer

from recurra.core.errors import BusyError, CorruptError, FolderError, MismatchError
from recurra.learning import ModelFolder, load_tensors

PROGRAM = [sys.executable, str(Path(__file__).with_name("trainer_problem.py"))]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole") / "model"
    with start(out) as folder:
        trainer(folder).run()
    torch.set_num_threads(threads)
    return out


def end_of(out: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Tensor], list[dict[str, Any]]]:
    """All that a run leaves behind, but for what the clock measured."""
    newest = max((out / "checkpoints").glob("step-*.safetensors"))
    tensors, metadata = load_tensors(newest)
    del metadata["counters"]["elapsed_seconds"], metadata["metrics_bytes"], metadata["metrics_sha256"]
    model, noted = ModelFolder.open(out).read_model()
    rows = [
        {key: value for key, value in row.items() if not key.endswith("_seconds")}
        for row in ModelFolder.open(out).read_metrics()
    ]
    return tensors, {**metadata, "noted": noted}, model, rows


def assert_same_end(one: Path, other: Path) -> None:
    tensors, metadata, model, rows = end_of(one)
    tensors2, metadata2, model2, rows2 = end_of(other)
    assert rows2 == rows
    assert metadata2 == metadata
    for first, second in ((tensors, tensors2), (model, model2)):
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(first[name], second[name]), name


def test_the_run_itself_is_what_was_asked_for(whole: Path) -> None:
    rows = ModelFolder.open(whole).read_metrics()
    assert [row["step"] for row in rows] == [3, 5, 6, 9, 10, 12, 15, 18, 20, 21]
    assert [row["epoch"] for row in rows] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    assert [row["step"] for row in rows if "val_loss" in row] == [5, 10, 15, 20, 21]
    assert rows[-1]["tokens"] == 21 * 12
    expected = {"step", "epoch", "tokens", "loss", "learning_rate", "gradient_norm", "elapsed_seconds", "step_seconds"}
    assert set(rows[0]) == expected
    assert sorted(p.name for p in whole.iterdir()) == [
        "checkpoints",
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
    ]
    kept = sorted(p.name for p in (whole / "checkpoints").iterdir())
    assert kept == ["lock", "step-000000020.safetensors", "step-000000021.safetensors"]
    best = min((row for row in rows if "val_loss" in row), key=lambda row: row["val_loss"])
    _, noted = ModelFolder.open(whole).read_model()
    assert noted == {"step": best["step"], "val_loss": best["val_loss"]}


def test_the_same_seed_gives_the_same_bits_and_another_does_not(whole: Path, tmp_path: Path) -> None:
    torch.rand(5)
    with start(tmp_path / "again") as folder:
        trainer(folder).run()
    assert_same_end(whole, tmp_path / "again")
    with start(tmp_path / "other") as folder:
        trainer(folder, seed=6).run()
    assert end_of(tmp_path / "other")[3] != end_of(whole)[3]


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments(whole: Path, tmp_path: Path, seed: int) -> None:
    out = tmp_path / "killed"
    done = subprocess.run(
        [*PROGRAM, out, "--kill", str(seed)], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout.removeprefix("kills ")) >= 3
    assert_same_end(whole, out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, BATCHES, 9])
def test_a_signal_saves_and_says_how_to_go_on(whole: Path, tmp_path: Path, at: int, number: int) -> None:
    before = signal.getsignal(number)
    talk = Talk(each=lambda step: os.kill(os.getpid(), number) if step == at else None)
    with start(tmp_path / "out") as folder:
        result = trainer(folder, talk=talk).run()
    assert result.interrupted_by == number
    assert result.step == at
    assert f"after step {at}" in result.message
    assert "--resume" in result.message
    assert signal.getsignal(number) is before
    torch.rand(3)
    with ModelFolder.resume(tmp_path / "out") as folder:
        result = trainer(folder).run(resume=True)
    assert result.interrupted_by is None
    assert result.step == 21
    assert_same_end(whole, tmp_path / "out")


def test_a_signal_before_the_first_validation_leaves_a_model_too(tmp_path: Path) -> None:
    talk = Talk(each=lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 3 else None)
    problem = Problem()
    with start(tmp_path / "out") as folder:
        trainer(folder, problem, talk).run()
        weights, noted = folder.read_model()
    assert noted == {"step": 3}
    assert torch.equal(weights["output.bias"], problem.network.output.bias)


def test_a_second_signal_leaves_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*PROGRAM, tmp_path / "out", "--pause", "20"], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "step 1\n"
        process.send_signal(signal.SIGTERM)
        # The first is only taken note of: the step (which pauses for long) is not over.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130


def test_a_second_run_is_refused_with_the_firsts_number_and_a_stale_lock_is_not_in_the_way(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(
        [*PROGRAM, out, "--pause", "20"], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "step 1\n"
        with pytest.raises(BusyError, match=f"process {process.pid} is training in it"):
            ModelFolder.resume(out)
        with pytest.raises(BusyError, match=str(process.pid)):
            ModelFolder.create(out, overwrite=True)
        process.kill()
    assert (out / "checkpoints" / "lock").read_text() == f"{process.pid}\n"
    with ModelFolder.resume(out) as folder:
        assert (out / "checkpoints" / "lock").read_text() == f"{os.getpid()}\n"
        trainer(folder).run(resume=True)


def interrupted(out: Path, at: int) -> None:
    talk = Talk(each=lambda step: os.kill(os.getpid(), signal.SIGINT) if step == at else None)
    with start(out) as folder:
        trainer(folder, talk=talk).run()


@pytest.mark.parametrize("how", ["flipped", "truncated", "empty"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(whole: Path, tmp_path: Path, how: str) -> None:
    out = tmp_path / "out"
    interrupted(out, 9)
    old, newest = sorted((out / "checkpoints").glob("step-*"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 4
    newest.write_bytes({"flipped": bytes(data), "truncated": bytes(data[:-9]), "empty": b""}[how])
    (out / "checkpoints" / ".step-000000010.safetensors.part").write_bytes(b"half")
    talk = Talk()
    with ModelFolder.resume(out) as folder:
        assert not (out / "checkpoints" / ".step-000000010.safetensors.part").exists()
        trainer(folder, talk=talk).run(resume=True)
    assert len(talk.notes) == 1
    assert newest.name in talk.notes[0]
    assert "going on from the checkpoint before it" in talk.notes[0]
    assert old.name == "step-000000008.safetensors"
    assert_same_end(whole, out)


def test_a_damaged_checkpoint_is_not_counted_among_the_two_that_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(out, 9)
    (out / "checkpoints" / "step-000000009.safetensors").write_bytes(b"nothing")
    with ModelFolder.resume(out) as folder:
        trainer(folder, checkpoint_every=50, epochs=None, steps=10).run(resume=True)
    kept = sorted(path.name for path in (out / "checkpoints").glob("step-*"))
    assert kept == ["step-000000008.safetensors", "step-000000010.safetensors"]


def test_no_good_checkpoint_left_is_an_error(tmp_path: Path) -> None:
    interrupted(tmp_path / "out", 4)
    for path in (tmp_path / "out" / "checkpoints").glob("step-*"):
        path.write_bytes(b"nothing")
    with (
        ModelFolder.resume(tmp_path / "out") as folder,
        pytest.raises(CorruptError, match=r"no checkpoint .* --overwrite"),
    ):
        trainer(folder).run(resume=True)


def test_changed_metrics_are_noticed_and_later_lines_cut_off(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(out, 8)
    metrics = out / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes() + b'{"step": 99}\n{"ste')
    with ModelFolder.resume(out) as folder:
        trainer(folder).run(resume=True)
    assert_same_end(whole, out)
    metrics.write_bytes(metrics.read_bytes().replace(b'"loss": ', b'"loss": 1', 1))
    with ModelFolder.resume(out) as folder, pytest.raises(CorruptError, match=r"metrics.jsonl was changed"):
        trainer(folder).run(resume=True)


def test_a_best_model_from_the_future_is_put_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(out, 6)
    with ModelFolder.resume(out) as folder:
        good, noted = folder.read_model()
        folder.write_model({name: t + 1 for name, t in good.items()}, {"step": 7, "val_loss": 0.0})
        trainer(folder, Problem(fault="no gain"), epochs=None, steps=6).run(resume=True)
        again, noted_again = folder.read_model()
    assert noted_again == noted
    assert all(torch.equal(again[name], good[name]) for name in good)


def test_other_options_or_data_are_refused_with_the_difference(tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(out, 4)
    with ModelFolder.resume(out) as folder:
        with pytest.raises(MismatchError, match=r"learning_rate: 0.02 → 0.03 \(was → is\)"):
            trainer(folder, learning_rate=0.03).run(resume=True)
        with pytest.raises(MismatchError, match=r"learning_rate: 0\.02 → 0\.03"):
            trainer(folder, learning_rate=0.03).check()
        trainer(folder, epochs=9).check()
        other = trainer(folder)
        other._fingerprint["data.sha256"] = "def"
        with pytest.raises(MismatchError, match=r"data\.sha256: abc → def"):
            other.run(resume=True)
        with pytest.raises(FolderError, match="--resume"):
            trainer(folder).run()


def test_another_thread_count_is_reported_not_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(out, 4)
    torch.set_num_threads(2)
    talk = Talk()
    with ModelFolder.resume(out) as folder:
        assert trainer(folder, talk=talk).run(resume=True).step == 21
    assert len(talk.notes) == 1
    assert "threads: 1 → 2" in talk.notes[0]


def test_a_finished_run_stays_as_it_is_and_can_be_made_longer(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with start(out) as folder:
        trainer(folder, schedule="constant", epochs=2).run()
        lines = folder.metrics_path.read_bytes()
        assert trainer(folder, schedule="constant", epochs=2).run(resume=True).step == 14
        assert folder.metrics_path.read_bytes() == lines
        assert trainer(folder, schedule="constant", epochs=None, steps=30).run(resume=True).step == 30
    assert [row["step"] for row in folder.read_metrics()][-1] == 30


def test_resuming_before_the_first_checkpoint_begins_anew(whole: Path, tmp_path: Path) -> None:
    talk = Talk()
    with start(tmp_path / "out") as folder:
        trainer(folder, talk=talk).run(resume=True)
    assert "no checkpoint yet" in talk.notes[0]
    assert_same_end(whole, tmp_path / "out")


def test_metrics_are_strict_json_lines(whole: Path) -> None:
    for line in (whole / "metrics.jsonl").read_text().splitlines():
        assert isinstance(json.loads(line), dict)
