"""Regularisers and curricula as options: each does what it says, runs resume bit for bit, misfits are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.core import Counted
from recurra.core.errors import ArgumentError
from recurra.learning import ModelFolder, TrainerOptions
from recurra.learning.penalties import Penalties
from recurra.tasks.contract import train
from recurra.tasks.language_model import LanguageModel, LanguageModelOptions

SMALL: dict[str, Any] = {
    "hidden_size": 6,
    "layers": 1,
    "window": 8,
    "batch_size": 2,
    "validation": 0.2,
    "cell": "elman",
}
ALL: dict[str, Any] = {
    "l1": 1e-3,
    "activation_cost": 0.5,
    "temporal_cost": 0.5,
    "gradient_flow": 0.1,
    "weight_noise": 0.01,
}


def model(path: Path, **options: Any) -> LanguageModel:
    text = path / "text.txt"
    text.write_text("to be or not to be, that is the question. " * 12, encoding="utf-8")
    return LanguageModel.prepare(LanguageModelOptions(**(SMALL | options)), [text])


def test_each_penalty_is_its_formula(tmp_path: Path) -> None:
    made = model(tmp_path)
    network = made.network

    def added(**options: Any) -> Tensor:
        trainable = made.trainable()
        loss, whole, tokens = Penalties(trainable, TrainerOptions(**options)).loss(next(trainable.batches(0)))
        assert tokens == 16
        return (whole - loss).detach()

    batch = next(made.trainable().batches(0))
    with torch.no_grad():
        y, _ = network.recurrent(network.embed(batch.inputs))
    assert added() == 0
    torch.testing.assert_close(added(l1=0.1), 0.1 * sum(p.detach().abs().sum() for p in network.parameters()))
    torch.testing.assert_close(added(activation_cost=0.1), 0.1 * y.square().mean())
    torch.testing.assert_close(added(temporal_cost=0.1), 0.1 * y.diff(dim=1).square().mean())
    assert 0 < float(added(gradient_flow=0.1)) < 1


def test_noise_is_gone_after_the_pass(tmp_path: Path) -> None:
    trainable = model(tmp_path).trainable()
    before = [p.detach().clone() for p in trainable.network.parameters()]
    with Penalties(trainable, TrainerOptions(weight_noise=0.1)).noisy():
        assert not any(torch.equal(p, q) for p, q in zip(trainable.network.parameters(), before, strict=True))
    assert all(torch.equal(p, q) for p, q in zip(trainable.network.parameters(), before, strict=True))


@pytest.mark.parametrize(
    ("options", "training"),
    [({}, ALL | {"average_after": 1}), ({"window_from": 4, "sampled_inputs": 0.5}, {})],
    ids=["regularised", "curriculum"],
)
def test_a_run_resumes_bit_for_bit(options: dict[str, Any], training: dict[str, Any], tmp_path: Path) -> None:
    made = LanguageModelOptions(**(SMALL | options))
    model(tmp_path)
    steps = 60 if options else 12  # the curriculum needs a second epoch
    training = {"validate_every": 2, "learning_rate": 0.5 if training else 0.01, **training}

    def run(out: str, steps: int, resume: bool = False) -> dict[str, Tensor]:
        task = train(
            LanguageModel, "language-model", made, TrainerOptions(steps=steps, **training), [tmp_path / "text.txt"],
            tmp_path / out, resume=resume,
        )  # fmt: skip
        assert task.result.step == steps
        found, _ = ModelFolder.open(tmp_path / out).load_checkpoint()
        assert found is not None
        assert any(name.startswith("average.mean") for name in found.carried) == ("average_after" in training)
        return {**found.model, **found.best, **found.carried}

    whole = run("whole", steps)
    run("parts", steps - 6)
    parts = run("parts", steps, resume=True)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(parts[name], value) for name, value in whole.items())


def test_windows_grow_and_epochs_are_counted(tmp_path: Path) -> None:
    trainable = model(tmp_path, window_from=2).trainable()
    assert isinstance(trainable, Counted)
    for epoch, window in ((0, 2), (1, 4), (2, 8), (7, 8)):
        batches = list(trainable.batches(epoch))
        assert batches[0].inputs.shape[1] == window
        assert trainable.count(epoch) == len(batches)


@pytest.mark.parametrize(
    ("options", "training", "message"),
    [
        (
            {"learning": "rtrl"},
            {"activation_cost": 1.0, "weight_noise": 0.1},
            "activation_cost, weight_noise goes with learning by backward",
        ),
        ({"learning": "dekf"}, {"l1": 1.0}, "the Kalman filters have none"),
    ],
)
def test_what_does_not_fit_is_refused(options: Any, training: Any, message: str, tmp_path: Path) -> None:
    trainable = model(tmp_path, **options).trainable()
    with pytest.raises(ArgumentError, match=message):
        Penalties(trainable, TrainerOptions(**training))
    with pytest.raises(ArgumentError, match="scheduled sampling"):
        model(tmp_path, sampled_inputs=0.5, learning="rtrl").trainable()
    with pytest.raises(ArgumentError, match="window_from must be at most"):
        LanguageModelOptions(window=5, window_from=6)
    with pytest.raises(ArgumentError, match="temporal_cost must be zero or above"):
        TrainerOptions(temporal_cost=-1.0)
