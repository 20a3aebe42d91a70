"""A tiny learning problem with everything that makes resuming hard, and a program that trains it.

    python trainer_problem.py OUT [--resume] [--options JSON] [--pause SECONDS] [--fault NAME]
    python trainer_problem.py OUT --kill SEED      trains in child processes that are killed at random moments

Dropout draws random numbers, states are carried over windows, rows are reset at random places, the first state is
learned, and an epoch is longer than the distance between two checkpoints.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from recurra.core import Batch
from recurra.core.errors import BusyError, RecurraError
from recurra.learning import ModelFolder, SilentProgress, StreamBPTT, Trainer, TrainerOptions, make_optimizer

ROWS, WINDOW, BATCHES, TOKENS = 3, 4, 7, 6
OPTIONS = {
    "epochs": 3, "schedule": "cosine", "warmup_steps": 3, "learning_rate": 0.02, "clip_norm": 0.5,
    "checkpoint_every": 2, "log_every": 3, "validate_every": 5, "seed": 5,
}  # fmt: skip


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 8)
        self.first = nn.Parameter(torch.zeros(8))
        self.rnn = nn.GRU(8, 8, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.output = nn.Linear(8, TOKENS)

    def initial_state(self, batch: int) -> Tensor:
        return self.first.expand(1, batch, 8)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        y, state = self.rnn(self.dropout(self.embedding(batch.inputs)), batch.state.contiguous())
        return self.output(self.dropout(y)), state


class Problem:
    """A `Trainable`; `fault` makes it misbehave after some steps."""

    def __init__(self, seed: int = 5, fault: str = "", windows: int = 2) -> None:
        torch.manual_seed(seed)
        self.network = Network()
        self.bptt = StreamBPTT(self.network, windows)
        self.fault = fault
        self.losses = 0
        self.validations = 0

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(100 + epoch)
        tokens = torch.randint(TOKENS, (ROWS, BATCHES * WINDOW + 1), generator=generator).cumsum(1) % TOKENS
        resets = torch.rand(BATCHES, ROWS, generator=generator) < 0.3
        resets[0] = True
        for number in range(start, BATCHES):
            at = number * WINDOW
            yield Batch(tokens[:, at : at + WINDOW], tokens[:, at + 1 : at + WINDOW + 1], resets=resets[number])

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        self.losses += 1
        outputs = self.bptt.forward(batch)
        assert batch.targets is not None
        loss = nn.functional.cross_entropy(outputs.flatten(0, 1), batch.targets.flatten())
        if self.fault == "nan" and self.losses == 6:
            loss = loss * float("nan")
        if self.fault == "infinite weights" and self.losses == 6:
            with torch.no_grad():
                self.network.output.bias.fill_(float("inf"))
        return loss, batch.targets.numel()

    def validate(self) -> dict[str, float]:
        assert not self.network.training
        self.validations += 1
        torch.rand(7)  # Validation may draw random numbers: the run must not feel it.
        if self.fault == "nan validation":
            return {"val_loss": float("nan")}
        if self.fault == "no gain":
            return {"val_loss": 1.0 + self.validations, "accuracy": 0.5}
        batch = next(self.batches(99))
        assert batch.targets is not None
        state = self.network.initial_state(ROWS)
        outputs, _ = self.network(Batch(batch.inputs, state=state))
        return {"val_loss": float(nn.functional.cross_entropy(outputs.flatten(0, 1), batch.targets.flatten()))}

    def carried(self) -> dict[str, Tensor]:
        return self.bptt.carried()

    def restore(self, carried: Mapping[str, Tensor]) -> None:
        self.bptt.restore(carried)

    def sample(self) -> str | None:
        torch.rand(3)
        return f"sample after {self.validations} validations"


class Talk(SilentProgress):
    """Says every step on a line of its own, and the notes."""

    def __init__(self, pause: float = 0.0, each: Callable[[int], None] | None = None) -> None:
        self.pause = pause
        self.each = each
        self.notes: list[str] = []

    def stepped(self, step: int, epoch: int, loss: float, tokens: int, norm: float) -> None:
        if self.pause:
            print(f"step {step}", flush=True)
            time.sleep(self.pause)
        if self.each:
            self.each(step)

    def note(self, message: str) -> None:
        self.notes.append(message)
        if self.pause:
            print(f"note {message}", flush=True)


def trainer(
    folder: ModelFolder, problem: Problem | None = None, talk: Talk | None = None, **options: object
) -> Trainer:
    chosen = TrainerOptions(**{**OPTIONS, **options})  # type: ignore[arg-type]
    return Trainer(problem or Problem(), folder, chosen, fingerprint={"data": {"sha256": "abc"}}, progress=talk)


def start(out: Path) -> ModelFolder:
    folder = ModelFolder.create(out)
    folder.write_config("tiny", {"hidden_size": 8})
    return folder


def begin_or_resume(out: Path, resume: bool) -> ModelFolder:
    return ModelFolder.resume(out) if resume and (out / "config.json").exists() else start(out)


def train_while_being_killed(out: Path, seed: int) -> None:
    """Fork a child that trains; kill it at a random moment; again, until one comes to the end."""
    dice, kills = random.Random(seed), 0
    make_optimizer(
        Network(), TrainerOptions()
    )  # What torch imports at its first use, it shall not import in each child.
    while True:
        child = os.fork()
        if child == 0:
            with begin_or_resume(out, True) as folder:
                trainer(folder).run(resume=folder.metrics_path.exists())
            os._exit(0)
        # The moments grow, so that the run ends; many fall into the writing of a checkpoint.
        time.sleep(dice.uniform(0, 0.05 + 0.005 * kills))
        os.kill(child, signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            break
        kills += 1
    print(f"kills {kills}")


def main() -> int:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--pause", type=float, default=0.001)
    parser.add_argument("--fault", default="")
    parser.add_argument("--kill", type=int)
    given = parser.parse_args()
    if given.kill is not None:
        train_while_being_killed(given.out, given.kill)
        return 0
    try:
        with begin_or_resume(given.out, given.resume) as folder:
            result = trainer(folder, Problem(fault=given.fault), Talk(given.pause), **given.options).run(
                resume=given.resume
            )
    except BusyError as error:
        print(error)
        return 3
    except RecurraError as error:
        print(f"{type(error).__name__}: {error}")
        return 2
    print(result.message)
    return 0 if result.interrupted_by is None else 128 + result.interrupted_by


if __name__ == "__main__":
    sys.exit(main())
