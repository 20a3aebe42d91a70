"""Rules over streams: the gradient of the carrier is the rule's, rows start anew alone, and runs go on exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra as rc
from recurra.core import Batch
from recurra.core.errors import ArgumentError
from recurra.heads import Softmax
from recurra.layers import Recurrent
from recurra.learning import BPTT, RTRL, RULES, ModelFolder, StreamRule, TrainerOptions
from recurra.networks import Embedding, Readout, Synchronous
from recurra.tasks.contract import train
from recurra.tasks.language_model import LanguageModel, LanguageModelOptions


def network() -> Synchronous:
    torch.manual_seed(0)
    recurrent = Recurrent("gru", 3, 4, batch_first=True)
    return Synchronous(Embedding(5, 3), recurrent, Readout(4, 5)).double()


def ids(steps: int, rows: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    x = torch.randint(0, 5, (rows, steps + 1), generator=torch.Generator().manual_seed(seed))
    return x[:, :-1], x[:, 1:]


def gradients(net: nn.Module) -> list[Tensor]:
    found = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    return found


def test_backward_gives_the_gradient_of_the_whole_stream() -> None:
    net, head = network(), Softmax()
    x, y = ids(9)
    BPTT().accumulate(net, x.T, y.T, head.loss)
    truth = gradients(net)
    stream = StreamRule(net, RTRL())
    for k in range(3):
        window = slice(3 * k, 3 * k + 3)
        resets = torch.tensor([k == 0] * 2)
        stream.loss(Batch(x[:, window], y[:, window], resets=resets), head.loss).backward()
    for a, b in zip(gradients(net), truth, strict=True):
        torch.testing.assert_close(a, b)


def test_a_row_that_starts_anew_forgets_alone() -> None:
    net, head = network(), Softmax()
    x, y = ids(6)
    for row, starts in ((0, (0, 3)), (1, (0,))):
        for start, end in zip(starts, (*starts[1:], 6), strict=True):
            BPTT().accumulate(net, x[row : row + 1, start:end].T, y[row : row + 1, start:end].T, head.loss)
    truth = gradients(net)
    stream = StreamRule(net, RTRL())
    for k, resets in enumerate(([True, True], [True, False])):
        window = slice(3 * k, 3 * k + 3)
        stream.loss(Batch(x[:, window], y[:, window], resets=torch.tensor(resets)), head.loss).backward()
    for a, b in zip(gradients(net), truth, strict=True):
        torch.testing.assert_close(a, b)


TEXT = "to be or not to be, that is the question. " * 12
SMALL: dict[str, Any] = {"hidden_size": 6, "layers": 1, "window": 8, "batch_size": 2, "validation": 0.2}


@pytest.mark.parametrize("rule", ["rtrl", "snap1", "uoro", "dekf"])
def test_a_run_by_any_rule_resumes_bit_for_bit(rule: str, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT, encoding="utf-8")
    options = LanguageModelOptions(learning=rule, cell="elman", **SMALL)  # type: ignore[arg-type]
    steps = 4 if rule == "dekf" else 30  # of 25 an epoch

    def run(out: str, steps: int, resume: bool = False) -> dict[str, Tensor]:
        made = train(
            LanguageModel, "language-model", options, TrainerOptions(steps=steps), [text], tmp_path / out, resume=resume
        )
        assert made.result.step == steps
        weights, _ = ModelFolder.open(tmp_path / out).read_model()
        return weights

    whole = run("whole", steps)
    run("parts", steps // 2)
    parts = run("parts", steps, resume=True)
    assert all(torch.equal(parts[name], value) for name, value in whole.items())


def test_bptt_wants_whole_documents(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT, encoding="utf-8")
    model = LanguageModel.prepare(LanguageModelOptions(learning="bptt", **SMALL), [text])
    with pytest.raises(ArgumentError, match=r"bptt needs whole documents: give --window \d+, or --learning tbptt"):
        model.trainable()
    with pytest.raises(ArgumentError, match="learning must be one of"):
        LanguageModelOptions(learning="magic")  # type: ignore[arg-type]
    assert set(RULES) == {"bptt", "tbptt", "rtrl", "snap1", "uoro", "ekf", "dekf"}
    assert rc.learning.StreamRule is StreamRule
