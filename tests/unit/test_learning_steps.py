"""What a step is made of: options, learning rates, clipping; and what a resumed run is compared by."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.learning import Counters, TrainerOptions, clip_gradients, gradient_norm, make_optimizer
from recurra.learning.fingerprint import describe_environment, differences, flatten
from recurra.learning.schedules import learning_rate, watch_plateau

TOTAL = 20


def ours(options: TrainerOptions, losses: list[float] | None = None) -> list[float]:
    counters, rates = Counters(), []
    for step in range(TOTAL):
        counters.step = step
        rates.append(learning_rate(options, counters, TOTAL))
        if losses:
            watch_plateau(options, counters, losses[step])
    return rates


def theirs(make: object, losses: list[float] | None = None) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)  # type: ignore[operator]
    rates = []
    for step in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if losses:
            scheduler.step(losses[step])
        else:
            scheduler.step()
    return rates


schedulers = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    ("options", "make"),
    [
        ({}, lambda o: schedulers.ConstantLR(o, 1.0)),
        (
            {"schedule": "cosine", "minimum_learning_rate": 0.01},
            lambda o: schedulers.CosineAnnealingLR(o, TOTAL, eta_min=0.01),
        ),
        ({"schedule": "linear"}, lambda o: schedulers.LinearLR(o, 1.0, 0.0, TOTAL)),
        ({"schedule": "step", "decay_every": 3, "decay_factor": 0.7}, lambda o: schedulers.StepLR(o, 3, 0.7)),
        (
            {"schedule": "cosine", "warmup_steps": 5},
            lambda o: schedulers.SequentialLR(
                o, [schedulers.LinearLR(o, 0.2, 1.0, 4), schedulers.CosineAnnealingLR(o, TOTAL - 5)], [5]
            ),
        ),
    ],
)
def test_schedules_equal_torchs(options: dict, make: object) -> None:
    rates = ours(TrainerOptions(learning_rate=0.1, **options))
    assert rates == pytest.approx(theirs(make), rel=1e-9)


def test_plateau_equals_torchs() -> None:
    losses = [3, 2, 2, 2, 2, 1.9999, 1.9, 2, 2, 2, 1.5, 1.6, 1.7, 1.8, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5]
    options = TrainerOptions(learning_rate=0.1, schedule="plateau", decay_factor=0.5, decay_patience=2)
    make = lambda o: schedulers.ReduceLROnPlateau(o, factor=0.5, patience=2, eps=0)  # noqa: E731
    rates = ours(options, losses)
    assert rates == pytest.approx(theirs(make, losses), rel=1e-12)
    assert len(set(rates)) == 5


def test_a_warm_up_grows_to_the_full_rate() -> None:
    assert ours(TrainerOptions(learning_rate=0.1, warmup_steps=4))[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])


def gradients(scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    parameters = [nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(2))]
    for p in parameters[:2]:
        p.grad = scale * torch.randn(p.shape, generator=generator)
    return parameters


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_clipping_equals_torchs(scale: float) -> None:
    mine, other = gradients(scale), gradients(scale)
    before = clip_gradients(mine, norm=1.5)
    assert torch.equal(before, nn.utils.clip_grad_norm_(other, 1.5))
    by_hand = math.sqrt(sum(float(p.grad.square().sum()) for p in gradients(scale) if p.grad is not None))
    assert float(before) == pytest.approx(by_hand, rel=1e-6)
    for a, b in zip(mine, other, strict=True):
        assert (a.grad is None and b.grad is None) or torch.equal(a.grad, b.grad)
    assert float(gradient_norm(mine)) == pytest.approx(min(1.5, by_hand), rel=1e-5)

    mine, other = gradients(scale), gradients(scale)
    assert float(clip_gradients(mine, value=0.5)) == pytest.approx(by_hand, rel=1e-6)
    nn.utils.clip_grad_value_(other, 0.5)
    assert torch.equal(mine[0].grad, other[0].grad)


def test_by_value_comes_before_by_norm_and_zero_is_off() -> None:
    mine, other = gradients(10), gradients(10)
    clip_gradients(mine, norm=1.0, value=0.5)
    nn.utils.clip_grad_value_(other, 0.5)
    nn.utils.clip_grad_norm_(other, 1.0)
    assert torch.equal(mine[0].grad, other[0].grad)
    clip_gradients(other)
    assert torch.equal(mine[0].grad, other[0].grad)
    assert float(gradient_norm([nn.Parameter(torch.zeros(1))])) == 0
    with pytest.raises(ArgumentError, match="norm=-1"):
        clip_gradients(mine, norm=-1)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"steps": 1, "epochs": 1}, "steps or epochs, got both"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"epochs": -1}, "epochs must be at least 1"),
        ({"checkpoint_every": 0}, "checkpoint_every must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be above zero"),
        ({"learning_rate": float("nan")}, "learning_rate must be above zero"),
        ({"clip_norm": -1.0}, "clip_norm must be zero or above"),
        ({"decay_factor": 2.0}, "decay_factor must be above 0 and at most 1"),
        ({"optimizer": "rmsprop"}, "optimizer must be one of adam, adamw, sgd, got 'rmsprop'"),
        ({"schedule": "x"}, "schedule must be one of"),
        ({"seed": -1}, "seed must be from 0"),
    ],
)
def test_wrong_options_are_refused_in_one_line(wrong: dict, reason: str) -> None:
    with pytest.raises(ArgumentError, match=reason) as caught:
        TrainerOptions(**wrong)
    assert "\n" not in str(caught.value)


def test_every_option_has_a_help_text() -> None:
    assert all(len(field.metadata["help"]) > 10 for field in dataclasses.fields(TrainerOptions))


def test_what_binds_a_resumed_run_is_all_but_what_only_ends_it() -> None:
    fields = {field.name for field in dataclasses.fields(TrainerOptions)}
    assert fields - TrainerOptions().binding().keys() == {"steps", "epochs", "patience", "checkpoint_every"}


def test_an_optimizer_needs_something_to_learn() -> None:
    network = nn.Linear(1, 1).requires_grad_(False)
    with pytest.raises(ArgumentError, match="no parameter that learns"):
        make_optimizer(network, TrainerOptions())


def test_differences_are_named_field_by_field() -> None:
    was = flatten({"size": 1, "data": {"sha256": "a" * 64, "files": ("x", "y")}, "gone": None})
    now = flatten({"size": 2, "data": {"sha256": "b" * 64, "files": ["x", "y"]}, "new": "z"})
    assert differences(was, now) == [
        "size: 1 → 2",
        f"data.sha256: {'a' * 37}... → {'b' * 37}...",
        "new: not there → z",
        "gone: None → not there",
    ]
    assert differences(was, was) == []


def test_the_environment_names_what_bits_depend_on() -> None:
    environment = describe_environment(nn.Linear(1, 1))
    assert environment["torch"] == torch.__version__
    assert environment["device"] == "cpu"
    assert set(environment) == {"torch", "threads", "device", "machine"}
