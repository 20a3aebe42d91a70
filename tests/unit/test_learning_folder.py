"""The model folder: what it takes, what it refuses, and that no name in it is believed."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from recurra.core.errors import ArgumentError, BusyError, CorruptError, FolderError, MismatchError
from recurra.learning import Checkpoint, Counters, ModelFolder, restore_weights
from recurra.learning.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    restore_rng,
    rng_tensors,
    save_checkpoint,
)
from recurra.learning.files import write_json
from recurra.learning.metrics import MetricsFile
from recurra.learning.weights import load_tensors, save_tensors


def checkpoint(step: int = 0) -> Checkpoint:
    empty = hashlib.sha256(b"").hexdigest()
    model = {"weight": torch.ones(2)}
    return Checkpoint(Counters(step=step), model, {"0.exp_avg": torch.ones(2)}, rng_tensors(), {}, {}, 0, empty)


def test_a_new_folder_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with ModelFolder.create(path) as folder:
        folder.write_config("language-model", {"hidden_size": 8})
        folder.write_vocabulary({"tokens": ["a", "唐"]})
        folder.write_model({"weight": torch.ones(2)}, {"step": 3})
        folder.write_readme("# A model\n\nIt writes.")
    folder = ModelFolder.open(path)
    assert folder.read_config() == {"format_version": 1, "task": "language-model", "hidden_size": 8}
    assert folder.read_vocabulary() == {"tokens": ["a", "唐"]}
    assert folder.read_model()[1] == {"step": 3}
    body, _, end = (path / "README.md").read_text().rpartition("\n<!--")
    assert body == "# A model\n\nIt writes.\n"
    assert hashlib.sha256(body.encode()).hexdigest() in end


def test_what_is_in_use_is_refused(tmp_path: Path) -> None:
    with ModelFolder.create(tmp_path / "a") as folder:
        folder.write_config("t", {})
        with folder.locked(), pytest.raises(BusyError, match=r"process \d+ is training"):
            ModelFolder.resume(tmp_path / "a")
        with pytest.raises(FolderError, match="--resume to go on, or --overwrite"):
            ModelFolder.create(tmp_path / "a")
    with ModelFolder.resume(tmp_path / "a"):
        pass
    with ModelFolder.open(tmp_path / "a").locked(), pytest.raises(BusyError):
        ModelFolder.create(tmp_path / "a", overwrite=True)


def test_overwriting_removes_the_model_and_nothing_else(tmp_path: Path) -> None:
    with ModelFolder.create(tmp_path / "a") as folder:
        folder.write_config("t", {})
        folder.write_model({"w": torch.ones(1)})
        folder.save_checkpoint(checkpoint())
        (tmp_path / "a" / "learning-curve.svg").write_text("<svg/>")
        (tmp_path / "a" / "mine.txt").write_text("keep")
    with ModelFolder.create(tmp_path / "a", overwrite=True):
        pass
    left = sorted(p.relative_to(tmp_path / "a").as_posix() for p in (tmp_path / "a").rglob("*"))
    assert left == ["checkpoints", "checkpoints/lock", "mine.txt"]


def test_a_folder_with_other_files_is_never_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(FolderError, match=r"other files \('thesis.tex'\)"):
            ModelFolder.create(tmp_path, overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_start_that_was_killed_left_is_no_obstacle(tmp_path: Path) -> None:
    ModelFolder.create(tmp_path / "a").close()
    (tmp_path / "a" / ".config.json.part").write_text("{")
    with ModelFolder.create(tmp_path / "a"):
        assert [p.name for p in (tmp_path / "a").iterdir()] == ["checkpoints"]


def test_what_is_no_model_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="there is no folder"):
        ModelFolder.open(tmp_path / "none")
    with pytest.raises(FolderError, match=r"no model folder: it has no config\.json"):
        ModelFolder.resume(tmp_path)


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        ({"format_version": 2, "task": "t"}, MismatchError, "has format 2, this recurra reads format 1: upgrade"),
        ({"format_version": 0, "task": "t"}, MismatchError, "use the recurra it was trained with"),
        ({"format_version": True, "task": "t"}, CorruptError, "lacks format_version or task"),
        ({"format_version": 1, "task": ["../../x"]}, CorruptError, "lacks format_version or task"),
        ({"format_version": 1, "task": "other"}, MismatchError, "task 'other', expected 't'"),
    ],
)
def test_a_config_that_does_not_fit(tmp_path: Path, content: dict, error: type[Exception], reason: str) -> None:
    write_json(tmp_path / "config.json", content)
    with pytest.raises(error, match=re.escape(reason)):
        ModelFolder.open(tmp_path).read_config("t")


def test_links_in_a_folder_from_elsewhere_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("keep")
    (tmp_path / "elsewhere").mkdir()
    with ModelFolder.create(tmp_path / "a") as folder:
        folder.write_config("t", {})
        folder.metrics_path.symlink_to(tmp_path / "secret")
        with pytest.raises(FolderError, match=r"cannot write .*metrics\.jsonl"):
            MetricsFile(folder.metrics_path)
    assert (tmp_path / "secret").read_text() == "keep"
    (tmp_path / "a" / "checkpoints" / "lock").unlink()
    (tmp_path / "a" / "checkpoints" / "lock").symlink_to(tmp_path / "secret")
    with pytest.raises(FolderError, match=r"cannot write .*lock"):
        ModelFolder.resume(tmp_path / "a")
    assert (tmp_path / "secret").read_text() == "keep"
    (tmp_path / "a" / "checkpoints" / "lock").unlink()
    (tmp_path / "a" / "checkpoints").rmdir()
    (tmp_path / "a" / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderError, match="is a link, expected a folder"):
        ModelFolder.resume(tmp_path / "a")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_reserved_keys(tmp_path: Path) -> None:
    with ModelFolder.create(tmp_path / "a") as folder, pytest.raises(ArgumentError, match="'task'"):
        folder.write_config("t", {"task": "u"})


def test_the_last_two_checkpoints_are_kept_and_other_names_ignored(tmp_path: Path) -> None:
    with ModelFolder.create(tmp_path / "a") as folder:
        assert folder.load_checkpoint() == (None, [])
        (tmp_path / "a" / "checkpoints" / "step-..%2f..%2fx.safetensors").write_bytes(b"")
        for step in (9, 10, 1_000_000_000):
            folder.save_checkpoint(checkpoint(step))
        names = sorted(p.name for p in (tmp_path / "a" / "checkpoints").glob("step-0*")) + sorted(
            p.name for p in (tmp_path / "a" / "checkpoints").glob("step-1*")
        )
        assert names == ["step-000000010.safetensors", "step-1000000000.safetensors"]
        found, damage = folder.load_checkpoint()
        assert found is not None
        assert (found.counters.step, damage) == (1_000_000_000, [])


def test_metrics_are_appended_cut_and_read(tmp_path: Path) -> None:
    with ModelFolder.create(tmp_path / "a") as folder:
        with MetricsFile(folder.metrics_path) as metrics:
            metrics.append({"step": 1, "loss": 0.1})
            size, digest = metrics.position()
            metrics.append({"step": 2, "loss": float("nan")})
        assert folder.read_metrics() == [{"step": 1, "loss": 0.1}, {"step": 2, "loss": None}]
        with MetricsFile(folder.metrics_path, size) as metrics:
            assert metrics.position() == (size, digest)
        assert hashlib.sha256(folder.metrics_path.read_bytes()).hexdigest() == digest
        with folder.metrics_path.open("ab") as file:
            file.write(b'{"step": 2, "lo')
        assert folder.read_metrics() == [{"step": 1, "loss": 0.1}]
        folder.metrics_path.write_bytes(b'{"step": 1, "step": 1}\n')
        with pytest.raises(CorruptError, match="line 1 of"):
            folder.read_metrics()


def test_a_checkpoint_comes_back_exactly(tmp_path: Path) -> None:
    counters = Counters(step=3, loss_sum=0.1 + 0.2, best_val_loss=1 / 3, elapsed_seconds=1e-300)
    given = dataclasses.replace(checkpoint(), counters=counters, fingerprint={"lr": 1 / 3}, environment={"torch": "2"})
    save_checkpoint(tmp_path / "a", given)
    found = load_checkpoint(tmp_path / "a")
    assert found.counters == counters
    assert (found.fingerprint, found.environment) == ({"lr": 1 / 3}, {"torch": "2"})
    assert torch.equal(found.optimizer["0.exp_avg"], torch.ones(2))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"counters": {"step": 1}}, "counters"),
        ({"counters": None}, "lacks 'counters'"),
        ({"metrics_bytes": "7"}, "lacks 'metrics_bytes'"),
        ({"fingerprint": []}, "lacks 'fingerprint'"),
    ],
)
def test_a_crafted_checkpoint_is_refused(tmp_path: Path, change: dict, reason: str) -> None:
    save_checkpoint(tmp_path / "a", checkpoint())
    tensors, metadata = load_tensors(tmp_path / "a")
    save_tensors(tmp_path / "a", tensors, metadata | change)
    with pytest.raises(CorruptError, match=reason):
        load_checkpoint(tmp_path / "a")


def test_crafted_counters_tensors_and_versions_are_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", checkpoint())
    tensors, metadata = load_tensors(tmp_path / "a")
    for wrong in ({"step": -1}, {"step": True}, {"step": 1.5}, {"batch": "0"}):
        save_tensors(tmp_path / "a", tensors, metadata | {"counters": metadata["counters"] | wrong})
        with pytest.raises(CorruptError, match="counters"):
            load_checkpoint(tmp_path / "a")
    save_tensors(tmp_path / "a", tensors | {"../evil": torch.ones(1)}, metadata)
    with pytest.raises(CorruptError, match="unknown tensor"):
        load_checkpoint(tmp_path / "a")
    save_tensors(tmp_path / "a", tensors | {"model.weight": torch.tensor(float("nan"))}, metadata)
    with pytest.raises(CorruptError, match="'weight' holds NaN"):
        load_checkpoint(tmp_path / "a")
    save_tensors(tmp_path / "a", tensors, metadata | {"checkpoint_version": 9})
    with pytest.raises(MismatchError, match="version 9"):
        load_checkpoint(tmp_path / "a")


def test_weights_must_fit_the_network() -> None:
    network = nn.Linear(2, 3)
    good = {name: t + 1 for name, t in network.state_dict().items()}
    restore_weights(network, good, "x")
    assert torch.equal(network.bias, good["bias"])
    with pytest.raises(MismatchError, match="they lack 'bias'"):
        restore_weights(network, {"weight": good["weight"]}, "x")
    with pytest.raises(MismatchError, match="they hold 'more'"):
        restore_weights(network, good | {"more": torch.ones(1)}, "x")
    with pytest.raises(MismatchError, match=r"'bias' is \(4,\), expected \(3,\)"):
        restore_weights(network, good | {"bias": torch.ones(4)}, "x")


def test_optimizer_and_random_state_that_do_not_fit_are_refused() -> None:
    network = nn.Linear(2, 3)
    optimizer = torch.optim.Adam(network.parameters())
    for memory in ({"9.step": torch.tensor(1.0)}, {"x.step": torch.tensor(1.0)}, {"0.exp_avg": torch.ones(7)}):
        with pytest.raises(CorruptError, match="optimizer memory"):
            restore_optimizer(optimizer, memory)
    with pytest.raises(CorruptError, match="random state 'cpu'"):
        restore_rng({"cpu": torch.zeros(3, dtype=torch.uint8)})


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_an_optimizer_goes_on_exactly(kind: type[torch.optim.Optimizer]) -> None:
    def step(network: nn.Linear, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        network(torch.ones(1, 2)).square().sum().backward()
        optimizer.step()

    extra = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    one, other = nn.Linear(2, 3), nn.Linear(2, 3)
    optimizer, fresh = kind(one.parameters(), lr=0.1, **extra), kind(other.parameters(), lr=0.1, **extra)
    step(one, optimizer)
    other.load_state_dict(one.state_dict())
    restore_optimizer(fresh, {name: t.clone() for name, t in optimizer_tensors(optimizer).items()})
    step(one, optimizer)
    step(other, fresh)
    assert torch.equal(one.weight, other.weight)
