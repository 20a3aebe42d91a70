"""What the trainer does where training cannot go on, or need not."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor
from trainer_problem import OPTIONS, Problem, Talk, start, trainer

from recurra.core.errors import ArgumentError, DataError, DivergedError, FolderError
from recurra.learning import ModelFolder, Result, RichProgress, Trainer, TrainerOptions

PROGRAM = str(Path(__file__).with_name("trainer_problem.py"))
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_a_nan_loss_stops_with_step_norm_and_advice_and_is_never_the_best(tmp_path: Path) -> None:
    with start(tmp_path / "out") as folder:
        with pytest.raises(DivergedError) as caught:
            trainer(folder, Problem(fault="nan")).run()
        message = str(caught.value)
        assert re.search(
            r"loss became nan with a gradient norm of nan at step 6 \(gradient norm [\d.]+ at the", message
        )
        assert "--learning-rate (it was 0.02)" in message
        assert "--clip-norm (it was 0.5)" in message
        found, _ = folder.load_checkpoint()
        assert found is not None
        assert found.counters.step == 4
        weights, noted = folder.read_model()
        assert noted["step"] == 5
        assert all(bool(torch.isfinite(t).all()) for t in weights.values())
        assert [row["step"] for row in folder.read_metrics()] == [3, 5]


def test_a_nan_validation_loss_is_never_the_best(tmp_path: Path) -> None:
    with start(tmp_path / "out") as folder:
        with pytest.raises(DivergedError, match="validation loss became nan after step 5"):
            trainer(folder, Problem(fault="nan validation")).run()
        assert folder.read_model()[1] == {"step": 4}


def test_infinite_weights_are_never_saved(tmp_path: Path) -> None:
    with start(tmp_path / "out") as folder:
        with pytest.raises(DivergedError, match=r"the weight 'output.bias' is not finite after step 6"):
            trainer(folder, Problem(fault="infinite weights"), validate_every=50).run()
        assert folder.read_model()[1] == {"step": 4}


def test_patience_ends_training_and_a_resumed_run_knows(tmp_path: Path) -> None:
    with start(tmp_path / "out") as folder:
        result = trainer(folder, Problem(fault="no gain"), patience=2, epochs=9).run()
        assert (result.step, result.best_step, result.stopped_early, result.interrupted_by) == (15, 5, True, None)
        assert "no gain" in result.message
        again = trainer(folder, Problem(fault="no gain"), patience=2, epochs=9).run(resume=True)
        assert (again.step, again.stopped_early) == (15, True)
        assert folder.read_metrics()[-1]["accuracy"] == 0.5


def test_plateau_lowers_the_rate(tmp_path: Path) -> None:
    options = {"schedule": "plateau", "decay_patience": 0, "warmup_steps": 0, "validate_every": 1, "log_every": 1}
    with start(tmp_path / "out") as folder:
        trainer(folder, Problem(fault="no gain"), epochs=None, steps=4, **options).run()
        rates = [row["learning_rate"] for row in folder.read_metrics()]
    assert rates == [0.02, 0.02, 0.01, 0.005]


def test_validation_once_an_epoch_by_default(tmp_path: Path) -> None:
    with start(tmp_path / "out") as folder:
        trainer(folder, validate_every=None, epochs=None, steps=10).run()
        rows = folder.read_metrics()
    assert [(row["step"], row["epoch"]) for row in rows if "val_loss" in row] == [(7, 1), (10, 2)]


def test_validation_must_give_a_val_loss_and_data_a_batch(tmp_path: Path) -> None:
    class Without(Problem):
        def validate(self) -> dict[str, float]:
            return {"accuracy": 1.0}

    class Empty(Problem):
        def batches(self, epoch: int, start: int = 0):  # type: ignore[no-untyped-def]
            return iter(())

    with start(tmp_path / "out") as folder, pytest.raises(ArgumentError, match="'val_loss', got accuracy"):
        trainer(folder, Without()).run()
    with start(tmp_path / "empty") as folder, pytest.raises(DataError, match="no batch in epoch 1"):
        trainer(folder, Empty()).run()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_equals_a_loop_written_by_hand_which_validates_nothing(tmp_path: Path, optimizer: str) -> None:
    with start(tmp_path / "out") as folder:
        ours = Problem()
        options = {"optimizer": optimizer, "momentum": 0.9, "weight_decay": 0.01, "schedule": "constant"}
        trainer(folder, ours, epochs=2, warmup_steps=0, validate_every=3, **options).run()
    theirs = Problem()
    parameters = list(theirs.network.parameters())
    made = {
        "adam": lambda: torch.optim.Adam(parameters, lr=0.02, weight_decay=0.01, fused=True),
        "adamw": lambda: torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.01, fused=True),
        "sgd": lambda: torch.optim.SGD(parameters, lr=0.02, weight_decay=0.01, momentum=0.9),
    }[optimizer]()
    torch.manual_seed(OPTIONS["seed"])
    for epoch in range(2):
        for batch in theirs.batches(epoch):
            made.zero_grad()
            loss, _ = theirs.loss(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 0.5)
            made.step()
    for one, other in zip(ours.network.parameters(), parameters, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_outside_the_main_thread_no_handlers_are_set(tmp_path: Path) -> None:
    results: list[Result] = []

    def work() -> None:
        with start(tmp_path / "out") as folder:
            results.append(trainer(folder, epochs=None, steps=2).run())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results[0].step == 2


def test_without_a_terminal_progress_is_plain_lines(tmp_path: Path) -> None:
    text = io.StringIO()
    console = Console(file=text, width=300)
    with start(tmp_path / "out") as folder:
        options = TrainerOptions(steps=6, validate_every=3)
        Trainer(Problem(), folder, options, progress=RichProgress(console, keep_samples=True)).run()
    lines = text.getvalue().splitlines()
    assert re.fullmatch(r"step 3/6: loss [\d.]+, val_loss [\d.]+, [\d,]+ tokens/s", lines[0])
    assert lines[1:3] == ["after step 3:", "sample after 1 validations"]
    assert "\x1b" not in text.getvalue()


def test_at_a_terminal_there_is_a_bar_with_everything_and_the_sample(tmp_path: Path) -> None:
    text = io.StringIO()
    console = Console(file=text, width=160, force_terminal=True, legacy_windows=False)
    with start(tmp_path / "out") as folder:
        Trainer(Problem(), folder, TrainerOptions(steps=6, validate_every=3), progress=RichProgress(console)).run()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.getvalue())
    assert "sample after 2 validations" in plain
    assert re.search(r"epoch 1 .* 6/6 loss [\d.]+ val [\d.]+ \|g\| [\d.e+-]+ [\d,]+ tokens/s [\d:-]+", plain)


def test_progress_does_not_change_the_run(tmp_path: Path) -> None:
    weights: list[dict[str, Tensor]] = []
    for name, progress in (("a", None), ("b", RichProgress(Console(file=io.StringIO(), force_terminal=True)))):
        with start(tmp_path / name) as folder:
            Trainer(Problem(), folder, TrainerOptions(steps=9, validate_every=2), progress=progress).run()
            weights.append(folder.read_model()[0])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_file_size_limit_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with start(out) as folder:
        trainer(folder, epochs=None, steps=2).run()
    size = (out / "checkpoints" / "step-000000002.safetensors").stat().st_size
    limit = size - 1000
    program = (
        f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        f"sys.argv = [{PROGRAM!r}, {str(out)!r}, '--resume', '--options', '{{\"epochs\": null, \"steps\": 9}}']; "
        f"runpy.run_path({PROGRAM!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    found = re.search(
        r"FolderError: the disk is full: .* needs (\d+) bytes and (\d+) bytes are missing; .*--resume", done.stdout
    )
    assert found, done.stdout
    assert int(found[2]) == int(found[1]) - limit
    assert not list(out.rglob(".*.part"))
    loaded, damage = ModelFolder.open(out).load_checkpoint()
    assert loaded is not None
    assert loaded.counters.step == 2
    assert damage == []


def _can_mount() -> bool:
    test = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(test, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _can_mount(), reason="needs user namespaces for a small disk")
def test_a_full_disk_keeps_the_last_good_checkpoint_and_names_the_bytes(tmp_path: Path) -> None:
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=48k none {disk} && "
        f"{sys.executable} {PROGRAM} {disk}/out --options '{{\"log_every\": 1}}'; code=$?; "
        f"cp -r {disk}/out {copy}; exit $code"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert re.search(r"FolderError: the disk is full: .* needs \d+ bytes and [1-9]\d* bytes are missing; ", done.stdout)
    assert not list(copy.rglob(".*.part"))
    with ModelFolder.resume(copy) as folder:
        loaded, damage = folder.load_checkpoint()
        assert loaded is not None
        assert damage == []
        assert trainer(folder, Problem(), Talk(), log_every=1).run(resume=True).step == 21


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        with pytest.raises(FolderError) as caught:
            ModelFolder.create(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
